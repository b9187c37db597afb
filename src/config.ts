// The one place settings are read: environment → one zod parse → frozen object. A bad value stops the start and
// names its key. The table in README.md and .env.example are generated from this schema (scripts/setup/docs.ts).
import { availableParallelism } from 'node:os';
import { z } from 'zod';

const flag = (fallback: 'true' | 'false') =>
  z
    .enum(['true', 'false'])
    .default(fallback)
    .transform((value) => value === 'true');
const integer = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const optionalUrl = (protocols: RegExp) => z.url({ protocol: protocols }).optional();

export const configSchema = z.object({
  PROFILE: z
    .enum(['development', 'production'])
    .default('development')
    .describe('`production` refuses embedded stores and a missing CURSOR_SECRET.'),
  HOST: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
  PORT: integer(0, 65_535).default(3000).describe('Port to listen on; 0 takes a free one.'),
  DATA_DIR: z.string().min(1).default('./data').describe('Embedded stores, published indexes, lock files.'),
  MODELS_DIR: z.string().min(1).default('./models').describe('Model folders `<name>/<version>/`.'),
  RULES_FILE: z
    .string()
    .min(1)
    .default('./config/rules.json')
    .describe('Re-ranking rules; reloaded when the file changes.'),
  RETRIEVAL_FILE: z.string().min(1).optional().describe('JSON with quotas, age window and source settings.'),
  VALUE_WEIGHTS: z
    .string()
    .optional()
    .describe('JSON: weight of each predicted probability, for example `{"like":3,"negative":-10}`.'),
  DATABASE_URL: optionalUrl(/^postgres(ql)?$/).describe('PostgreSQL. Absent: embedded PGlite in DATA_DIR.'),
  REDIS_URL: optionalUrl(/^rediss?$/).describe('Redis. Absent: embedded LMDB in DATA_DIR.'),
  DATABASE_POOL: integer(1, 200).default(10).describe('Connections to PostgreSQL.'),
  FEED_WORKERS: integer(1, 128)
    .default(availableParallelism())
    .describe('Feed workers (search, encode, rank, re-rank); one a core.'),
  EMBED_WORKERS: integer(1, 32).default(1).describe('Workers that embed new posts and users.'),
  EXECUTION_PROVIDER: z
    .enum(['cpu', 'cuda', 'webgpu'])
    .default('cpu')
    .describe('Where the ranker runs. A provider that cannot load is loud and named in /health/ready.'),
  FEED_DEADLINE_MS: integer(10, 60_000).default(300).describe('Time a feed request has in all.'),
  INGEST_DEADLINE_MS: integer(100, 120_000).default(10_000).describe('Time a write request has in all.'),
  CANDIDATES: integer(50, 5000).default(1000).describe('Candidates that are ranked, at most.'),
  SLATE_SIZE: integer(50, 1000)
    .default(300)
    .describe('Length of the re-ranked list that pages are cut from.'),
  EXPLORE_SHARE: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(0.02)
    .describe('Share of requests ordered by Plackett–Luce sampling, for off-policy evaluation.'),
  LIVE_CAPACITY: integer(1000, 20_000_000)
    .default(200_000)
    .describe('Posts that can arrive between two index builds.'),
  INDEX_POLL_MS: integer(100, 3_600_000)
    .default(2000)
    .describe('How often a new published index is looked for.'),
  CHANGES_POLL_MS: integer(10, 60_000).default(200).describe('How often committed changes are read.'),
  RATE_LIMIT_PER_MINUTE: integer(0, 10_000_000)
    .default(6000)
    .describe('Requests a minute of one address; 0 = no limit.'),
  USER_RATE_LIMIT_PER_MINUTE: integer(0, 10_000_000)
    .default(600)
    .describe('Feed pages a minute of one user; 0 = no limit.'),
  CURSOR_SECRET: z
    .string()
    .min(16)
    .optional()
    .describe(
      'Signs cursors and tracking tokens; replicas share it. Absent: made once and kept in DATA_DIR.',
    ),
  TRUST_PROXY: z.string().optional().describe('Comma-separated address ranges of trusted proxies.'),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('pino log level.'),
  DOCS: flag('true').describe('Serve the OpenAPI pages at /docs.'),
});

export type Config = Readonly<z.infer<typeof configSchema>>;

/**
 * Parses an environment; empty strings count as absent.
 * @throws Error whose message has one line per bad key.
 */
export function readConfig(environment: Record<string, string | undefined> = process.env): Config {
  const known = Object.keys(configSchema.shape);
  const given = Object.fromEntries(
    known.flatMap((key) => (environment[key] ? [[key, environment[key]]] : [])),
  );
  const parsed = configSchema.safeParse(given);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new Error(`bad configuration\n  ${lines.join('\n  ')}`);
  }
  const config = parsed.data;
  if (config.PROFILE === 'production') {
    const missing = (['DATABASE_URL', 'REDIS_URL', 'CURSOR_SECRET'] as const).filter((key) => !config[key]);
    if (missing.length > 0) {
      throw new Error(`bad configuration\n  ${missing.join(', ')}: required when PROFILE=production`);
    }
  }
  return Object.freeze(config);
}
