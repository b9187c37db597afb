// Every Redis connection of the process is made here: one server, a Cluster, or the master that Sentinels name, with or
// without TLS. Callers use keys whose parts in braces put what belongs together into one slot of a Cluster.
import { readFileSync } from 'node:fs';
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis';
import { invalid, messageOf } from '../../errors.ts';

export interface RedisNode {
  host: string;
  port: number;
}

/** Where Redis is. `redis-settings.ts` reads it from the configuration. */
export type RedisTarget =
  /** `redis://user:password@host:port/db`, `rediss://…` for TLS. */
  | { url: string; caFile?: string }
  | ({ cluster: readonly RedisNode[] } & RedisAccess)
  | ({ sentinels: readonly RedisNode[]; name: string } & RedisAccess);

export interface RedisAccess {
  username?: string;
  password?: string;
  tls?: boolean;
  /** PEM of the authority that signed the servers' certificates; absent: those that the system trusts. */
  caFile?: string;
}

/** What a connection is for decides its times: how long a command may take, and how often it is tried again. */
const PURPOSES = {
  /** Users' state and sessions: on the way of every feed. */
  state: {
    name: 'feedrank',
    commandTimeout: 2_000,
    connectTimeout: 1_500,
    retries: 1,
    longestRetryMs: 500,
  },
  /** Rate limits: a slow Redis is given up soon, the replica then counts for itself. */
  limits: {
    name: 'feedrank-limits',
    commandTimeout: 200,
    connectTimeout: 1_000,
    retries: 0,
    longestRetryMs: 1_000,
  },
  /** The change stream: its commands may be large and late, and nobody waits for them. */
  changes: {
    name: 'feedrank-changes',
    commandTimeout: 5_000,
    connectTimeout: 3_000,
    retries: 1,
    longestRetryMs: 2_000,
  },
} as const;

const FIRST_RETRY_MS = 25;
const KEEP_ALIVE_MS = 10_000;

/**
 * Does not connect: `connectOnce` does, or the first command. A Cluster has the methods of a single server that are
 * used here, and is given as one.
 * @throws FeedrankError(invalid_input) that names the setting.
 */
export function openRedis(target: RedisTarget, purpose: keyof typeof PURPOSES): Redis {
  const { name, commandTimeout, connectTimeout, retries, longestRetryMs } = PURPOSES[purpose];
  const retry = (attempt: number) =>
    Math.min(longestRetryMs, FIRST_RETRY_MS * 2 ** Math.min(attempt, 7)) * (0.5 + Math.random() / 2);
  const common: RedisOptions = {
    lazyConnect: true,
    enableAutoPipelining: purpose !== 'changes',
    enableOfflineQueue: false,
    maxRetriesPerRequest: retries,
    commandTimeout,
    connectTimeout,
    // A connection on which commands wait and nothing comes is given up: behind a partition that healed, a new one
    // is there long before TCP has sent the old one's bytes again.
    ...(purpose === 'state' ? { socketTimeout: commandTimeout } : {}),
    keepAlive: KEEP_ALIVE_MS,
    retryStrategy: retry,
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
    connectionName: name,
  };
  const redis = connect(target, common, retry);
  // Each failed call reports its own error; without a handler a lost connection would be logged at every retry.
  redis.on('error', () => {});
  return redis;
}

/** Tries to connect. When that fails, commands fail fast and the client goes on trying by itself. */
export async function connectOnce(redis: Redis): Promise<void> {
  await redis.connect().catch(() => {});
}

export async function closeRedis(redis: Redis): Promise<void> {
  if (redis.status === 'ready') await redis.quit().catch(() => {});
  redis.disconnect();
}

function connect(target: RedisTarget, common: RedisOptions, retry: (attempt: number) => number): Redis {
  if ('url' in target) {
    const protocol = URL.parse(target.url)?.protocol ?? '';
    if (!['redis:', 'rediss:', 'unix:'].includes(protocol)) {
      throw invalid('REDIS_URL', 'must be redis://host:port/db or rediss://…');
    }
    const tls = protocol === 'rediss:' ? { tls: trusted(target.caFile) } : {};
    return new Redis(target.url, { ...common, ...tls });
  }
  const { username, password, tls, caFile } = target;
  const secure = tls || caFile !== undefined ? { tls: trusted(caFile) } : {};
  if ('sentinels' in target) {
    return new Redis({
      ...common,
      ...secure,
      username,
      password,
      sentinels: target.sentinels.map(({ host, port }) => ({ host, port })),
      name: target.name,
      ...(secure.tls ? { sentinelTLS: secure.tls, enableTLSForSentinelMode: true } : {}),
      sentinelRetryStrategy: retry,
    });
  }
  const {
    lazyConnect,
    enableAutoPipelining,
    enableOfflineQueue,
    retryStrategy,
    maxRetriesPerRequest,
    ...node
  } = common;
  const options: ClusterOptions = {
    lazyConnect,
    enableAutoPipelining,
    enableOfflineQueue,
    clusterRetryStrategy: retry,
    slotsRefreshTimeout: common.connectTimeout,
    // A slot that moves is asked for at its new place; a node that fails is found out by the next refresh.
    slotsRefreshInterval: 5_000,
    redisOptions: { ...node, ...secure, maxRetriesPerRequest, username, password },
  };
  return new Cluster([...target.cluster], options) as unknown as Redis;
}

function trusted(caFile: string | undefined): { ca?: string } {
  if (caFile === undefined) return {};
  try {
    return { ca: readFileSync(caFile, 'utf8') };
  } catch (error) {
    throw invalid('REDIS_TLS_CA_FILE', `cannot be read: ${messageOf(error)}`);
  }
}
