// Where Redis is, from the configuration: one of a URL, the nodes of a Cluster, or Sentinels. Called by config.ts, which
// refuses what does not fit together, and by whatever opens Redis.
import type { Config } from './config.ts';
import type { RedisNode, RedisTarget } from './features/store/redis-client.ts';

type RedisConfig = Pick<
  Config,
  | 'REDIS_URL'
  | 'REDIS_CLUSTER_NODES'
  | 'REDIS_SENTINELS'
  | 'REDIS_SENTINEL_NAME'
  | 'REDIS_USERNAME'
  | 'REDIS_PASSWORD'
  | 'REDIS_TLS'
  | 'REDIS_TLS_CA_FILE'
>;

const PLACES = ['REDIS_URL', 'REDIS_CLUSTER_NODES', 'REDIS_SENTINELS'] as const;

/** What an embedded run sets, so that it finds no server in its caller's environment; empty counts as absent. */
export const EMBEDDED_STATE = {
  REDIS_URL: '',
  REDIS_CLUSTER_NODES: '',
  REDIS_SENTINELS: '',
  REDIS_SENTINEL_NAME: '',
};

/** undefined where the online state is embedded. */
export function redisTarget(config: RedisConfig): RedisTarget | undefined {
  const { REDIS_USERNAME: username, REDIS_PASSWORD: password } = config;
  const { REDIS_TLS: tls, REDIS_TLS_CA_FILE: caFile } = config;
  if (config.REDIS_URL) return { url: config.REDIS_URL, caFile };
  const access = { username, password, tls, caFile };
  if (config.REDIS_CLUSTER_NODES) return { cluster: redisNodes(config.REDIS_CLUSTER_NODES) ?? [], ...access };
  if (!config.REDIS_SENTINELS || !config.REDIS_SENTINEL_NAME) return undefined;
  const sentinels = redisNodes(config.REDIS_SENTINELS) ?? [];
  return { sentinels, name: config.REDIS_SENTINEL_NAME, ...access };
}

/** One line for each combination that must not start. */
export function redisProblems(config: RedisConfig): string[] {
  const problems: string[] = [];
  const given = PLACES.filter((key) => config[key] !== undefined);
  if (given.length > 1) problems.push(`${given.join(', ')}: give one of them`);
  if ((config.REDIS_SENTINELS === undefined) !== (config.REDIS_SENTINEL_NAME === undefined)) {
    problems.push('REDIS_SENTINELS, REDIS_SENTINEL_NAME: needed together');
  }
  const access = (['REDIS_USERNAME', 'REDIS_PASSWORD'] as const).filter((key) => config[key] !== undefined);
  if (config.REDIS_URL && access.length > 0) problems.push(`${access.join(', ')}: are part of REDIS_URL`);
  if (config.REDIS_URL && !config.REDIS_URL.startsWith('rediss:')) {
    if (config.REDIS_TLS_CA_FILE) problems.push('REDIS_TLS_CA_FILE: needs rediss:// in REDIS_URL');
    if (config.REDIS_TLS) problems.push('REDIS_TLS: write rediss:// in REDIS_URL');
  }
  return problems;
}

/** `host:port,host:port`, also `[::1]:port`; null when it is not that. */
export function redisNodes(text: string): RedisNode[] | null {
  const nodes: RedisNode[] = [];
  for (const part of text.split(',')) {
    const match = /^(?:\[([0-9a-f:.]+)\]|([\w.-]+)):(\d{1,5})$/i.exec(part.trim());
    const port = Number(match?.[3]);
    if (!match || port < 1 || port > 65_535) return null;
    nodes.push({ host: match[1] ?? match[2], port });
  }
  return nodes;
}
