// A generated world in PostgreSQL and Redis with its index, made once and kept in the cache folder as files that a
// scenario copies: the cluster's data folder, Redis's dump, the index. Called by site.ts.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { EmbedPool } from '../../src/features/embed-pool.ts';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';
import { openStateStore } from '../../src/features/store/state-store.ts';
import { promotedFolder } from '../../src/ranking/model-registry.ts';
import { runCommand } from '../../test/setup/child-process.ts';
import { startPostgres } from '../../test/setup/postgres-server.ts';
import { startRedis } from '../../test/setup/redis-server.ts';
import { runBuildIndex } from '../build-index/run.ts';
import { generateWorld } from '../generate/world.ts';
import { writeWorld } from '../generate/write-world.ts';
import { storeSink } from '../import/sink.ts';
import type { ScenarioContext } from './scenario.ts';

export interface FaultWorld {
  posts: number;
  users: number;
  /** Data folder of a stopped PostgreSQL cluster; copied with its owner and modes. */
  postgres: string;
  /** An RDB file. */
  redisDump: string;
  /** Folder with `index/`. */
  data: string;
}

export const REPOSITORY = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const MODELS_DIR = join(REPOSITORY, 'models');

const FULL = { posts: 30_000, users: 2000 };
const QUICK = { posts: 3000, users: 400 };
const EF_CONSTRUCTION = 80;

/** Takes seconds to a minute the first time of a day (posts must be young), a look-up after that. */
export async function faultWorld(context: ScenarioContext): Promise<FaultWorld> {
  const size = context.quick ? QUICK : FULL;
  const today = new Date().toISOString().slice(0, 10);
  const kept = join(context.cacheDir, 'faults');
  const name = `${size.posts}-${today}-${versionKey(await towers())}`;
  const folder = join(kept, name);
  if (!existsSync(join(folder, 'complete'))) {
    context.note(`making a world of ${size.posts} posts`);
    await make(folder, size, context.cacheDir);
  }
  return {
    ...size,
    postgres: join(folder, 'postgres'),
    redisDump: join(folder, 'dump.rdb'),
    data: join(folder, 'data'),
  };
}

async function towers(): Promise<string[]> {
  return Promise.all(['post-tower', 'user-tower'].map((name) => promotedFolder(MODELS_DIR, name)));
}

function versionKey(parts: string[]): string {
  const hash = createHash('sha256');
  const sources = ['sql-migrations', 'state-codec', 'state-fields'];
  for (const file of sources) {
    hash.update(readFileSync(join(REPOSITORY, 'src', 'features', 'store', `${file}.ts`)));
  }
  for (const part of parts) hash.update(part.slice(REPOSITORY.length));
  return hash.digest('hex').slice(0, 12);
}

async function make(folder: string, size: { posts: number; users: number }, cacheDir: string): Promise<void> {
  const draft = `${folder}.draft-${process.pid}`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true });
  const open = new AsyncDisposableStack();
  try {
    // PostgreSQL's user may not be able to reach the cache folder: its files are made elsewhere and copied.
    const work = mkdtempSync(join(tmpdir(), 'feedrank-world-'));
    open.defer(() => rmSync(work, { recursive: true, force: true }));
    await runCommand('chmod', ['755', work]);
    const cluster = join(work, 'postgres');
    mkdirSync(cluster);
    const postgres = await startPostgres(join(cacheDir, 'servers'), { data: cluster });
    open.defer(() => postgres.stop());
    const redis = await startRedis(join(cacheDir, 'servers'));
    open.defer(() => redis.stop());
    await fill({ databaseUrl: postgres.url, redisUrl: redis.url, dataDir: join(draft, 'data'), size });
    await saveDump(redis.url, join(draft, 'dump.rdb'));
    await postgres.stop();
    await runCommand('cp', ['-a', cluster, join(draft, 'postgres')]);
    writeFileSync(join(draft, 'complete'), '');
  } finally {
    await open.disposeAsync();
  }
  try {
    renameSync(draft, folder);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    // Another process was faster.
    if (!existsSync(join(folder, 'complete'))) throw error;
  }
}

interface Filling {
  databaseUrl: string;
  redisUrl: string;
  dataDir: string;
  size: { posts: number; users: number };
}

async function fill({ databaseUrl, redisUrl, dataDir, size }: Filling): Promise<void> {
  mkdirSync(dataDir, { recursive: true });
  const open = new AsyncDisposableStack();
  try {
    const sql = await openSqlStore({ databaseUrl, dataDir });
    open.defer(() => sql.close());
    const state = await openStateStore({ redis: { url: redisUrl }, dataDir });
    open.defer(() => state.close());
    const [postTowerDir, userTowerDir] = await towers();
    const workers = availableParallelism();
    const embedder = await EmbedPool.start({ postTowerDir, userTowerDir, workers });
    open.defer(() => embedder.close());
    const sink = storeSink(sql);
    await writeWorld(generateWorld({ ...size, seed: 1, now: Date.now(), eventsPerUser: 60 }), sink);
    await sink.close();
    await runBuildIndex({
      indexDir: join(dataDir, 'index'),
      sqlStore: sql,
      stateStore: state,
      embedder,
      targetRecall: 0.95,
      k: 1000,
      search: 'auto',
      m: 16,
      efConstruction: EF_CONSTRUCTION,
      keep: 1,
      inFlight: workers * 2 + 2,
    });
  } finally {
    await open.disposeAsync();
  }
}

async function saveDump(redisUrl: string, target: string): Promise<void> {
  const redis = new Redis(redisUrl);
  try {
    await redis.save();
    const [, dir] = (await redis.config('GET', 'dir')) as string[];
    await runCommand('cp', [join(dir, 'dump.rdb'), target]);
  } finally {
    redis.disconnect();
  }
}
