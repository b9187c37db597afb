// The manifest of an index version, as written and as checked: everything that must agree before a version serves.
import { z } from 'zod';
import { DIM } from '../../vocabulary.ts';
import { MAX_SHARDS } from './graph-shards.ts';
import { MAX_LISTS } from './inverted-lists.ts';

/** Grows when the layout of a file changes; another version is refused as foreign. */
export const FORMAT_VERSION = 1;

const fileSchema = z.strictObject({
  bytes: z.number().int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

const settingSchema = z.strictObject({
  kind: z.enum(['exact', 'hnsw', 'ivf']),
  /** Breadth of the graph's search, null for the others. */
  ef: z.number().int().positive().nullable(),
  /** Inverted lists that are read, null for the others. */
  probes: z.number().int().positive().nullable().default(null),
});

const measuredSchema = settingSchema.extend({
  /** Share of the true k nearest that it finds, mean over the queries. */
  recall: z.number().min(0).max(1),
  /** Median and 99th percentile of one query, milliseconds, one thread. */
  p50Ms: z.number().nonnegative(),
  p99Ms: z.number().nonnegative(),
});

const shortSearchSchema = z.strictObject({
  /** Neighbours that it is for, at most. */
  k: z.number().int().positive(),
  /** Lists that are read. */
  probes: z.number().int().positive(),
  /** Share of the true `k` nearest that it finds: the lower one of the readers' vectors and of the posts'. */
  recall: z.number().min(0).max(1),
});

const calibrationSchema = z.strictObject({
  k: z.number().int().nonnegative(),
  targetRecall: z.number(),
  queries: z.number().int().nonnegative(),
  /** `users` = held-out user vectors, `posts` = means of random posts where there are too few users. */
  queriesFrom: z.enum(['users', 'posts', 'none']),
  measured: z.array(measuredSchema),
  /** Searches for few neighbours by inverted lists, by rising k; none where another search serves. */
  short: z.array(shortSearchSchema).default([]),
});

export const manifestSchema = z.strictObject({
  format: z.literal(FORMAT_VERSION),
  version: z.string(),
  createdAt: z.iso.datetime(),
  space: z.literal('cosine'),
  dim: z.literal(DIM),
  /** `post-tower@1`. */
  tower: z.string().regex(/^[a-z0-9._-]+@[A-Za-z0-9._-]+$/),
  /** Change position that the posts and counters were read at; changes after it are replayed. */
  position: z.string(),
  rows: z.number().int().nonnegative(),
  /** Posts that the scan met twice. */
  skipped: z.number().int().nonnegative(),
  authors: z.number().int().nonnegative(),
  keyBytes: z.number().int().nonnegative(),
  events: z.number().int().nonnegative(),
  /** Null where no graph was built, with the reason. */
  graph: z
    .strictObject({
      m: z.number().int(),
      efConstruction: z.number().int(),
      /** Graphs over contiguous row ranges, one file each; versions from before there were shards have one. */
      shards: z.number().int().min(1).max(MAX_SHARDS).default(1),
      /** From the first insertion to the written files. */
      buildSeconds: z.number(),
    })
    .nullable(),
  graphAbsent: z.string().nullable(),
  /** Inverted lists over the base rows; null where none were made. */
  lists: z
    .strictObject({ count: z.number().int().min(4).max(MAX_LISTS), buildSeconds: z.number() })
    .nullable()
    .default(null),
  /** Item graph over the base rows, from what the same users engaged with; null where no two posts share a user. */
  neighbours: z
    .strictObject({ edges: z.number().int().positive(), buildSeconds: z.number() })
    .nullable()
    .default(null),
  /** The cheapest search that reaches the target. */
  search: settingSchema,
  calibration: calibrationSchema,
  files: z.record(z.string(), fileSchema),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type Calibration = z.infer<typeof calibrationSchema>;
export type Measured = z.infer<typeof measuredSchema>;
export type ShortSearch = z.infer<typeof shortSearchSchema>;
export type SearchSetting = z.infer<typeof settingSchema>;
