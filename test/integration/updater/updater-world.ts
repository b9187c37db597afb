// A database of its own with a replication slot, a Redis, and updater processes over them: what the tests of the change
// capture share. Online states are compared with what a full rebuild from PostgreSQL gives.
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import pg from 'pg';
import { expect } from 'vitest';
import { runBuildIndex } from '../../../scripts/build-index/run.ts';
import type { UserState } from '../../../src/contracts.ts';
import { EmbedPool } from '../../../src/features/embed-pool.ts';
import { openSqlStore, type SqlStore } from '../../../src/features/store/postgres-store.ts';
import { type OnlineStore, openStateStore } from '../../../src/features/store/state-store.ts';
import { setUpReplication } from '../../../src/features/stream/replication-slot.ts';
import { streamKeys } from '../../../src/features/stream/stream-keys.ts';
import { promotedFolder } from '../../../src/ranking/model-registry.ts';
import { freshDatabase, freshFolder, REDIS_URL, soon, unique } from '../../setup/test-servers.ts';

const UPDATER = fileURLToPath(new URL('../../../src/updater.ts', import.meta.url));
const START_MS = 30_000;

export interface UpdaterProcess {
  child: ChildProcess;
  url: string;
  /** Resolves when it leads. */
  leads: Promise<void>;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

export class UpdaterWorld {
  readonly databaseUrl: string;
  readonly slot: string;
  readonly sql: SqlStore;
  readonly state: OnlineStore;
  readonly redis: Redis;
  readonly #drop: () => Promise<void>;
  readonly #folder = freshFolder();
  readonly #updaters: UpdaterProcess[] = [];

  private constructor(databaseUrl: string, sql: SqlStore, state: OnlineStore, drop: () => Promise<void>) {
    this.databaseUrl = databaseUrl;
    this.slot = unique('test').replaceAll('-', '_');
    this.sql = sql;
    this.state = state;
    this.redis = new Redis(REDIS_URL as string);
    this.#drop = drop;
  }

  /** @param given a database of a server of its own; default: a fresh one on the test server */
  static async open(given?: { url: string; drop(): Promise<void> }): Promise<UpdaterWorld> {
    const database = given ?? (await freshDatabase());
    const sql = await openSqlStore({ databaseUrl: database.url, dataDir: '' });
    const state = await openStateStore({ redis: { url: REDIS_URL as string }, dataDir: '' });
    const world = new UpdaterWorld(database.url, sql, state, database.drop);
    const report = await setUpReplication(sql.client, world.slot, 1024, soon());
    expect(report).toMatchObject({ unavailable: null, warnings: [] });
    return world;
  }

  get dataDir(): string {
    return this.#folder.path;
  }

  get keys(): ReturnType<typeof streamKeys> {
    return streamKeys(this.slot);
  }

  /** Starts an updater and waits until it listens. */
  async start(environment: Record<string, string> = {}): Promise<UpdaterProcess> {
    const child = spawn(process.execPath, ['--no-warnings', UPDATER], {
      env: {
        ...process.env,
        DATABASE_URL: this.databaseUrl,
        REDIS_URL,
        DATA_DIR: this.dataDir,
        REPLICATION_SLOT: this.slot,
        UPDATER_PORT: '0',
        LOG_LEVEL: 'info',
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const lines: string[] = [];
    let leading = () => {};
    const leads = new Promise<void>((resolve) => {
      leading = resolve;
    });
    const url = await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no updater: ${lines.at(-1)}`)), START_MS);
      for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream as NodeJS.ReadableStream }).on('line', (line) => {
          lines.push(line);
          if (process.env.UPDATER_TEST_LOG) console.error(line);
          if (line.includes('this updater leads')) leading();
          const found = /"url":"(http:[^"]+)"/.exec(line);
          if (!found) return;
          clearTimeout(timer);
          resolve(found[1]);
        });
      }
      child.once('exit', (code) => reject(new Error(`the updater ended with ${code}: ${lines.at(-1)}`)));
    });
    const updater: UpdaterProcess = {
      child,
      url,
      leads,
      kill: async (signal = 'SIGKILL') => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = new Promise((resolve) => child.once('exit', resolve));
        child.kill(signal);
        await ended;
      },
    };
    this.#updaters.push(updater);
    return updater;
  }

  /** Waits until everything committed by now is applied and published. */
  async settled(timeoutMs = 30_000): Promise<void> {
    const since = Date.now();
    while (Date.now() - since < timeoutMs) {
      const completeAt = Number((await this.redis.get(this.keys.live)) ?? 0);
      if (completeAt > since) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`the updater was not up to date within ${timeoutMs} ms`);
  }

  /** What a build from nothing writes for these users, and the counters of its table. */
  async rebuilt(userIds: readonly string[]): Promise<{ states: (UserState | null)[]; events: number }> {
    const folder = freshFolder();
    const state = await openStateStore({ dataDir: folder.path });
    const models = process.env.MODELS_DIR ?? 'models';
    const embedder = await EmbedPool.start({
      postTowerDir: await promotedFolder(models, 'post-tower'),
      userTowerDir: await promotedFolder(models, 'user-tower'),
      workers: 1,
    });
    try {
      const { manifest } = await runBuildIndex({
        indexDir: join(folder.path, 'index'),
        sqlStore: this.sql,
        stateStore: state,
        embedder,
        search: 'exact',
      });
      const states = await Promise.all(
        userIds.map((userId) => state.getState(userId, embedder.postTower, soon())),
      );
      return { states, events: manifest.events };
    } finally {
      await embedder.close();
      await state.close();
      folder.remove();
    }
  }

  /** Online states equal those of a full rebuild: histories, seen posts, profiles, edges exactly; vectors but for time. */
  async expectStatesOfRebuild(userIds: readonly string[], tower: string): Promise<void> {
    const { states } = await this.rebuilt(userIds);
    const online = await Promise.all(userIds.map((userId) => this.state.getState(userId, tower, soon())));
    userIds.forEach((userId, i) => {
      expect({ userId, ...comparable(online[i]) }).toEqual({ userId, ...comparable(states[i]) });
      const [a, b] = [online[i]?.embedding ?? null, states[i]?.embedding ?? null];
      expect(a === null, `vector of ${userId}`).toBe(b === null);
      if (a && b) expect(dot(a, b)).toBeGreaterThan(0.9999);
    });
  }

  async stopUpdaters(): Promise<void> {
    await Promise.all(this.#updaters.map((updater) => updater.kill()));
  }

  async close(): Promise<void> {
    await this.stopUpdaters();
    await this.state.close();
    await this.sql.close();
    await this.dropSlot();
    await this.redis.unlink(...Object.values(this.keys));
    await this.redis.quit();
    await this.#drop();
    this.#folder.remove();
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  /** Drops the slot, ending whoever reads it. */
  async dropSlot(): Promise<void> {
    const client = new pg.Client({ connectionString: this.databaseUrl });
    await client.connect();
    try {
      for (let i = 0; i < 50; i++) {
        const { rows } = await client.query<{ pid: number | null }>(
          'select active_pid as pid from pg_replication_slots where slot_name = $1',
          [this.slot],
        );
        if (rows.length === 0) return;
        if (rows[0].pid !== null) await client.query('select pg_terminate_backend($1)', [rows[0].pid]);
        else {
          const dropped = await client
            .query('select pg_drop_replication_slot($1)', [this.slot])
            .catch(() => null);
          if (dropped) return;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      throw new Error('the slot cannot be dropped');
    } finally {
      await client.end();
    }
  }
}

function comparable(state: UserState | null) {
  const seen: string[] = [];
  for (let i = 0; state && i < state.seen.length; i += 2) seen.push(`${state.seen[i]}:${state.seen[i + 1]}`);
  return {
    history: state?.history ?? [],
    seen: seen.sort(),
    topics: state?.user?.topics ?? [],
    edges: [...(state?.edges ?? [])].sort((a, b) => (a.kind + a.target < b.kind + b.target ? -1 : 1)),
  };
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}
