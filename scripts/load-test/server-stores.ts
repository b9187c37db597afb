// Redis and Postgres for a load test: those of DATABASE_URL and REDIS_URL, used as they are, or throw-away servers
// filled from the embedded stores of a data folder. Called by service-under-test.ts.
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readConfig } from '../../src/config.ts';
import { EmbedPool } from '../../src/features/embed-pool.ts';
import { openSqlStore, type SqlStore } from '../../src/features/store/postgres-store.ts';
import { openStateStore } from '../../src/features/store/state-store.ts';
import { promotedFolder } from '../../src/ranking/model-registry.ts';
import type { RunningServer } from '../../test/setup/child-process.ts';
import { startPostgres } from '../../test/setup/postgres-server.ts';
import { startRedis } from '../../test/setup/redis-server.ts';
import { runBuildIndex } from '../build-index/run.ts';
import { storeSink } from '../import/sink.ts';

export interface ServerStores {
  databaseUrl: string;
  redisUrl: string;
  /** Where the index for these stores lies. */
  dataDir: string;
  origin: string;
  stop(): Promise<void>;
}

const CACHE_DIR = fileURLToPath(new URL('../../.cache/servers', import.meta.url));
const BATCH = 2000;

/** @throws Error when only one of the URLs is set, or a server cannot be had here. */
export async function startServerStores(options: {
  dataDir: string;
  note(text: string): void;
}): Promise<ServerStores> {
  const { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl } = process.env;
  if (Boolean(databaseUrl) !== Boolean(redisUrl)) {
    throw new Error('--start servers needs both DATABASE_URL and REDIS_URL, or neither');
  }
  if (databaseUrl && redisUrl) {
    const { dataDir } = options;
    return { databaseUrl, redisUrl, dataDir, origin: 'DATABASE_URL and REDIS_URL', stop: async () => {} };
  }
  return startThrowAway(options.dataDir, options.note);
}

async function startThrowAway(from: string, note: (text: string) => void): Promise<ServerStores> {
  const running: RunningServer[] = [];
  const dataDir = mkdtempSync(join(tmpdir(), 'feedrank-load-test-'));
  const stop = async () => {
    await Promise.all(running.splice(0).map((server) => server.stop()));
    rmSync(dataDir, { recursive: true, force: true });
  };
  try {
    running.push(await startPostgres(CACHE_DIR), await startRedis(CACHE_DIR));
    const [postgres, redis] = running;
    note('filling Postgres and Redis from the embedded stores');
    await fill({ from, dataDir, databaseUrl: postgres.url, redisUrl: redis.url });
    const origin = `Postgres (${postgres.origin}), Redis (${redis.origin})`;
    return { databaseUrl: postgres.url, redisUrl: redis.url, dataDir, origin, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The index is built anew: its position is a position of the store that it was built from. */
async function fill(folders: Filling): Promise<void> {
  const open = new AsyncDisposableStack();
  try {
    await fillWith(folders, open);
  } finally {
    await open.disposeAsync();
  }
}

interface Filling {
  from: string;
  dataDir: string;
  databaseUrl: string;
  redisUrl: string;
}

async function fillWith({ from, dataDir, databaseUrl, redisUrl }: Filling, open: AsyncDisposableStack) {
  const keep = <T extends { close(): Promise<unknown> }>(store: T): T =>
    open.adopt(store, async (kept) => void (await kept.close()));
  const source = keep(await openSqlStore({ dataDir: from }));
  const target = keep(await openSqlStore({ dataDir, databaseUrl }));
  await copy(source, target);
  const stateStore = keep(await openStateStore({ dataDir, redis: { url: redisUrl } }));
  const models = readConfig().MODELS_DIR;
  const workers = availableParallelism();
  const towers = {
    postTowerDir: await promotedFolder(models, 'post-tower'),
    userTowerDir: await promotedFolder(models, 'user-tower'),
  };
  const embedder = keep(await EmbedPool.start({ ...towers, workers }));
  await runBuildIndex({
    indexDir: join(dataDir, 'index'),
    sqlStore: target,
    stateStore,
    embedder,
    targetRecall: 0.95,
    k: 1000,
    search: 'auto',
    m: 16,
    efConstruction: 100,
    keep: 1,
    inFlight: workers * 2 + 2,
  });
}

async function copy(source: SqlStore, target: SqlStore): Promise<void> {
  const sink = storeSink(target);
  for await (const posts of source.scanPosts(BATCH)) await sink.write({ posts });
  for await (const users of source.scanUsers(BATCH)) {
    const profiles = users.flatMap(({ user }) => (user ? [user] : []));
    await sink.write({ users: profiles, edges: users.flatMap(({ edges }) => edges) });
  }
  for await (const events of source.scanEvents(BATCH)) await sink.write({ events });
  await sink.close();
}
