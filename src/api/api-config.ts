// Settings of the HTTP layer with their defaults and ranges. compose fills them from the process configuration;
// tests parse `{ cursorSecret }` and take the rest.
import { z } from 'zod';

const ms = (min: number, max: number) => z.number().int().min(min).max(max);
const count = (min: number, max: number) => z.number().int().min(min).max(max);

export const apiConfigSchema = z.strictObject({
  /** Posts on a page when the request names no limit, and at most. */
  defaultLimit: count(1, 1000).default(20),
  maxLimit: count(1, 1000).default(100),
  /** Length of the re-ranked list that pages are cut from. */
  slateSize: count(1, 5000).default(150),
  /** Share of slates ordered by Plackett–Luce sampling. */
  exploreShare: z.number().min(0).max(1).default(0.02),
  /** How long a cursor stays good after the page that carried it. */
  sessionTtlMs: ms(1000, 86_400_000).default(30 * 60_000),
  /** Time one feed page has in all. */
  feedDeadlineMs: ms(10, 60_000).default(300),
  /** At most so much of it goes into the texts of a page's posts; without them the page is answered all the same. */
  textsWaitMs: ms(1, 60_000).default(100),
  /** Time a write or a look-up has in all. */
  ingestDeadlineMs: ms(100, 120_000).default(5000),
  /** How long the answer to an Idempotency-Key is kept. */
  idempotencyTtlMs: ms(1000, 7 * 86_400_000).default(86_400_000),
  bodyLimitBytes: count(1024, 64 << 20).default(1 << 20),
  bulkBodyLimitBytes: count(1024, 256 << 20).default(8 << 20),
  /** Posts or events in one bulk request. */
  maxBatch: count(1, 100_000).default(1000),
  /** Posts and events worked on at once, and waiting; a request beyond is refused with `overloaded`. */
  ingestConcurrency: count(1, 100_000).default(4_000),
  ingestQueue: count(0, 1_000_000).default(20_000),
  /** Requests a minute of one address, and feed pages a minute of one user; 0 = no limit. */
  rateLimitPerMinute: count(0, 100_000_000).default(6000),
  userRateLimitPerMinute: count(0, 100_000_000).default(600),
  /** Requests a minute of one key or token subject that names no limit of its own; 0 = no limit. */
  keyRateLimitPerMinute: count(0, 100_000_000).default(0),
  /** Whether /metrics and /docs are open to this machine itself although credentials are asked of others. */
  opsOnLoopback: z.boolean().default(false),
  /** A request's headers, and the whole request, must have arrived by then. */
  headersTimeoutMs: ms(100, 120_000).default(10_000),
  requestTimeoutMs: ms(100, 600_000).default(30_000),
  /** Signs cursors and tracking tokens; every replica has the same. */
  cursorSecret: z.string().min(16),
  /** Address ranges whose X-Forwarded-For is believed. */
  trustProxy: z.array(z.string().min(1)).default([]),
  /** Whether /docs is served. */
  docs: z.boolean().default(true),
  /** Posts whose text is kept in memory, and a quarter as many ids without a post. */
  postCacheSize: count(0, 10_000_000).default(50_000),
  /** Serving records that wait for the store; more are lost, and counted. */
  servingLogQueue: count(1, 1_000_000).default(10_000),
});

export type ApiConfig = Readonly<z.infer<typeof apiConfigSchema>>;
