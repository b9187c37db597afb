// The one place settings are read: environment → one zod parse → frozen object. A bad value stops the start and
// names its key. The table in README.md and .env.example are generated from this schema (scripts/setup/docs.ts).
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { authProblems } from './auth-settings.ts';
import { areProxyRanges } from './proxy-ranges.ts';
import { redisNodes, redisProblems, redisTarget } from './redis-settings.ts';
import { webhookProblems } from './webhook-settings.ts';

const flag = (fallback: 'true' | 'false') =>
  z
    .enum(['true', 'false'])
    .default(fallback)
    .transform((value) => value === 'true');
const integer = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const nodeList = () =>
  z
    .string()
    .refine((text) => redisNodes(text) !== null, 'must be host:port,host:port')
    .optional();
const optionalText = () => z.string().min(1).optional();
const optionalUrl = (protocols: RegExp) => z.url({ protocol: protocols }).optional();

export const configSchema = z.object({
  PROFILE: z
    .enum(['development', 'production'])
    .default('development')
    .describe(
      '`production` refuses embedded stores, a missing CURSOR_SECRET and a service without keys or tokens.',
    ),
  HOST: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
  PORT: integer(0, 65_535).default(3000).describe('Port to listen on; 0 takes a free one.'),
  DATA_DIR: z.string().min(1).default('./data').describe('Embedded stores, published indexes, lock files.'),
  MODELS_DIR: z.string().min(1).default('./models').describe('Model folders `<name>/<version>/`.'),
  MODEL_ROLLOUT: z
    .enum(['auto', 'manual'])
    .optional()
    .describe(
      '`auto`: a new ranker goes through shadow and canaries to promotion by itself; `manual`: an operator moves it. A changed rules file or a new index: `auto` tries it on a share of the users, `manual` takes it over at once. Absent: auto in production.',
    ),
  ROLLOUT_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('JSON with gates and schedule of the life of models and rules.'),
  EXPERIMENTS_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('JSON with the arms of an experiment: share, ranker version, value weights; reloaded.'),
  MODELS_POLL_MS: integer(50, 3_600_000).default(2000).describe('How often the models folder is looked at.'),
  RULES_FILE: z
    .string()
    .min(1)
    .default('./config/rules.json')
    .describe(
      'Re-ranking rules; a change is taken over, or tried first, without a restart (docs/MODELS.md).',
    ),
  RETRIEVAL_FILE: z.string().min(1).optional().describe('JSON with quotas, age window and source settings.'),
  VALUE_WEIGHTS: z
    .string()
    .optional()
    .describe('JSON: weight of each predicted probability, for example `{"like":3,"negative":-10}`.'),
  DATABASE_URL: optionalUrl(/^postgres(ql)?$/).describe('PostgreSQL. Absent: embedded PGlite in DATA_DIR.'),
  DATABASE_READ_URL: optionalUrl(/^postgres(ql)?$/).describe(
    'A read replica: post contents and the scans of the offline jobs are read there.',
  ),
  REDIS_URL: optionalUrl(/^rediss?$/).describe(
    'Redis; `rediss://` is TLS. Without it, a Cluster or Sentinels: embedded LMDB in DATA_DIR.',
  ),
  REDIS_CLUSTER_NODES: nodeList().describe('Some nodes of a Redis Cluster, `host:port,host:port`.'),
  REDIS_SENTINELS: nodeList().describe('Sentinels that know the Redis master, `host:port,host:port`.'),
  REDIS_SENTINEL_NAME: z.string().min(1).optional().describe('The master’s name among the Sentinels.'),
  REDIS_USERNAME: z.string().min(1).optional().describe('User of the Cluster or of the master.'),
  REDIS_PASSWORD: z.string().min(1).optional().describe('Password of the Cluster or of the master.'),
  REDIS_TLS: flag('false').describe('TLS to the Cluster, or to Sentinels and master.'),
  REDIS_TLS_CA_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('PEM of the authority that signed Redis’s certificates. Absent: those the system trusts.'),
  DATABASE_POOL: integer(1, 200).default(10).describe('Connections to PostgreSQL.'),
  FEED_WORKERS: integer(1, 128)
    .default(availableParallelism())
    .describe('Feed workers (search, encode, rank, re-rank); one a core.'),
  FEED_WORKER_HEAP_MB: integer(64, 65_536)
    .default(1024)
    .describe(
      'JavaScript heap of a feed worker; one that needs more is replaced. Posts and graph are not in it.',
    ),
  EMBED_WORKERS: integer(1, 32).default(1).describe('Workers that embed new posts and users.'),
  EXECUTION_PROVIDER: z
    .enum(['cpu', 'cuda', 'webgpu'])
    .default('cpu')
    .describe(
      'Where the main ranker runs (docs/GPU.md). A provider that cannot load is named in /health/ready and in answers.',
    ),
  RANKER_INT8: z
    .enum(['manifest', 'on', 'off'])
    .default('manifest')
    .describe(
      'The ranker’s int8 form on the CPU: `manifest` where its trainer found it worth it, `on` wherever there is one; only where it measures faster.',
    ),
  PRE_RANK: integer(0, 5000)
    .optional()
    .describe(
      'Candidates that the light ranker leaves to the main one; 0 = all. Absent: as the main one’s manifest says.',
    ),
  FORK_JOIN: flag('true').describe(
    'Lets idle feed workers take part of a request’s ranking where that is long.',
  ),
  FEED_DEADLINE_MS: integer(10, 60_000).default(300).describe('Time a feed request has in all.'),
  INGEST_DEADLINE_MS: integer(100, 120_000).default(10_000).describe('Time a write request has in all.'),
  CANDIDATES: integer(50, 5000).default(1000).describe('Candidates that are ranked, at most.'),
  SLATE_SIZE: integer(50, 1000)
    .default(150)
    .describe('Length of the re-ranked list that pages are cut from.'),
  POST_CACHE_POSTS: integer(0, 10_000_000)
    .default(50_000)
    .describe('Texts of posts kept in memory, about 1 kB each; a miss asks the SQL store.'),
  STATE_CACHE_MS: integer(0, 1000)
    .default(250)
    .describe('How long a replica believes a user state that it read, unless it hears of a change. 0 = off.'),
  SLATE_CACHE_MS: integer(0, 10_000)
    .default(1000)
    .describe(
      'How long what is left of a slate serves the same user’s next first page, nothing else being new. 0 = off.',
    ),
  FEED_SESSION_MS: integer(1000, 86_400_000)
    .default(1_800_000)
    .describe('How long a feed can be paged on after its last page.'),
  EXPLORE_SHARE: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(0.02)
    .describe('Share of requests ordered by Plackett–Luce sampling, for off-policy evaluation.'),
  RECALL_SHARE: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(0.005)
    .describe('Share of requests whose search is compared with the exact scan, on an idle worker.'),
  FEATURE_LOG_SHARE: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(0.001)
    .describe('Share of requests whose features go to the serving log, for `npm run features -- diff`.'),
  LIVE_CAPACITY: integer(1000, 20_000_000)
    .default(200_000)
    .describe('Posts that can arrive between two index builds.'),
  INDEX_POLL_MS: integer(100, 3_600_000)
    .default(2000)
    .describe('How often a new published index is looked for.'),
  INDEX_CANARY_MAX_MB: integer(0, 10_000_000)
    .default(8192)
    .describe(
      'Size of an index up to which a new one is tried beside the one that serves where MODEL_ROLLOUT is auto; a larger one serves at once, on probation. 0 = every one.',
    ),
  CHANGES_POLL_MS: integer(10, 60_000).default(200).describe('How often committed changes are read.'),
  CHANGES_LAG_ALERT_MS: integer(100, 3_600_000)
    .default(10_000)
    .describe('Age of the changes from which health and metrics say that they are late.'),
  REPLICATION_SLOT: z
    .string()
    .regex(/^[a-z0-9_]{1,63}$/, 'must be 1 to 63 of a–z, 0–9 and _')
    .default('feedrank')
    .describe('Slot that the updater reads, one a database; names the change stream in Redis too.'),
  CHANGE_STREAM_LENGTH: integer(100, 100_000_000)
    .default(50_000)
    .describe('Entries kept in the change stream, of up to 100 changes each.'),
  UPDATER_PORT: integer(0, 65_535)
    .default(3001)
    .describe('Port of the updater’s /health/ready and /metrics; 0 takes a free one.'),
  EVENTS_RETENTION_DAYS: integer(0, 36_500)
    .default(400)
    .describe('Days that events are kept after they arrived, in whole months; 0 = for ever.'),
  RATE_LIMIT_PER_MINUTE: integer(0, 10_000_000)
    .default(6000)
    .describe('Requests a minute of one address; 0 = no limit. Keys that act for all users are exempt.'),
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
  API_KEYS_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('JSON with hashed API keys (`npm run keys`); reloaded when it changes.'),
  JWT_ISSUER: z.string().min(1).optional().describe('`iss` of accepted tokens; needs JWT_AUDIENCE and keys.'),
  JWT_AUDIENCE: z.string().min(1).optional().describe('`aud` of accepted tokens.'),
  JWT_JWKS_URL: optionalUrl(/^https?$/).describe(
    'Where the issuer publishes its signing keys; http only on this machine.',
  ),
  JWT_JWKS_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('Signing keys as a JSON Web Key Set; reloaded when it changes.'),
  JWT_SECRET: z.string().min(32).optional().describe('Shared secret of HS256 tokens.'),
  AUTH_OPEN: flag('false').describe(
    'Lets a service without keys or tokens listen beyond this machine, in development only.',
  ),
  OPS_ON_LOOPBACK: flag('false').describe(
    '/metrics and /docs without credentials for this machine; not behind a proxy on the same machine.',
  ),
  KEY_RATE_LIMIT_PER_MINUTE: integer(0, 10_000_000)
    .default(0)
    .describe('Requests a minute of one key or token subject without a limit of its own; 0 = no limit.'),
  REQUEST_TIMEOUT_MS: integer(100, 600_000)
    .default(30_000)
    .describe('Time in which a whole request must have arrived.'),
  HEADERS_TIMEOUT_MS: integer(100, 120_000)
    .default(10_000)
    .describe('Time in which the headers of a request must have arrived.'),
  DRAIN_DELAY_MS: integer(0, 120_000)
    .default(0)
    .describe('After SIGTERM: how long readiness says no while requests are still served, for the balancer.'),
  OTEL_EXPORTER_OTLP_ENDPOINT: optionalUrl(/^https?$/).describe(
    'OTLP/HTTP collector for traces. Absent: no tracing, at no cost.',
  ),
  OTEL_SERVICE_NAME: z.string().min(1).default('feedrank').describe('Name of the service in traces.'),
  OTEL_TRACES_SAMPLER_ARG: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(0.01)
    .describe('Share of requests that are traced when their sender has not decided it.'),
  TRUST_PROXY: z
    .string()
    .refine(areProxyRanges, 'must be comma-separated addresses or CIDR ranges, and not all addresses')
    .optional()
    .describe('Comma-separated address ranges of trusted proxies.'),
  PUBLIC_URL: optionalUrl(/^https?$/).describe(
    'Where clients reach the service: begins the links in answers and webhooks of feed jobs. Absent: paths alone.',
  ),
  FEED_JOB_PAGES: integer(0, 64)
    .default(1)
    .describe('Pages of feed jobs that a replica computes at once, when readers leave room; 0 = none.'),
  FEED_JOBS_OPEN: integer(1, 1000)
    .default(10)
    .describe('Feed jobs of one key that have not ended; ten times as many are kept in all.'),
  FEED_JOBS_KEPT_MS: integer(60_000, 7 * 86_400_000)
    .default(86_400_000)
    .describe('Time a feed job may take, and for which it is kept with its results when it has ended.'),
  WEBHOOK_HOSTS: optionalText().describe(
    'Where webhooks may go: names, `*.name`, `host:port`; also addresses and CIDR ranges of private networks they may lead to. Absent: none are sent.',
  ),
  WEBHOOK_SECRET: optionalText().describe(
    'Signs webhooks: `whsec_<base64 of 24 to 64 bytes>`; while it changes, both, with a space.',
  ),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('pino log level.'),
  DOCS: flag('true').describe('Serve the OpenAPI pages at /docs.'),
});

export type Config = Readonly<z.infer<typeof configSchema>>;

/** Who moves a new ranker on: the service by itself, or an operator. */
export function rolloutMode(config: Pick<Config, 'MODEL_ROLLOUT' | 'PROFILE'>): 'auto' | 'manual' {
  return config.MODEL_ROLLOUT ?? (config.PROFILE === 'production' ? 'auto' : 'manual');
}

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
  const problems = [...authProblems(config), ...redisProblems(config), ...webhookProblems(config)];
  if (config.PROFILE === 'production') {
    const missing = (['DATABASE_URL', 'REDIS_URL', 'CURSOR_SECRET'] as const).filter((key) =>
      key === 'REDIS_URL' ? !redisTarget(config) : !config[key],
    );
    if (missing.length > 0) problems.push(`${missing.join(', ')}: required when PROFILE=production`);
  }
  if (problems.length > 0) throw new Error(`bad configuration\n  ${problems.join('\n  ')}`);
  return Object.freeze(config);
}
