// PostgreSQL, Redis, replicas and an updater of their own for the benchmarks of live data. Real durability: fsync is on.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { deadlineIn } from '../../src/deadline.ts';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';
import { MAX_KEPT_WAL_MB, setUpReplication } from '../../src/features/stream/replication-slot.ts';
import type { RunningServer } from '../../test/setup/child-process.ts';
import { startPostgres } from '../../test/setup/postgres-server.ts';
import { startRedis } from '../../test/setup/redis-server.ts';
import { HttpClient } from '../load-test/http-client.ts';
import { type ServiceProcess, startService } from './service-process.ts';

const CACHE_DIR = fileURLToPath(new URL('../../.cache/servers', import.meta.url));
const UPDATER = fileURLToPath(new URL('../../src/updater.ts', import.meta.url));
const SETUP_MS = 60_000;
const SLOT = 'feedrank_bench';

export interface LiveStack {
  databaseUrl: string;
  redisUrl: string;
  /** PostgreSQL's main process. */
  databasePid: number;
  /** Null where none was asked for. */
  updaterPid: number | null;
  /** Names the change stream. */
  slot: string;
  replicas: ServiceProcess[];
  origin: string;
  stop(): Promise<void>;
}

export async function startLiveStack(replicas: number, withUpdater: boolean): Promise<LiveStack> {
  const dir = mkdtempSync(join(tmpdir(), 'feedrank-bench-live-'));
  const servers: RunningServer[] = [];
  const services: ServiceProcess[] = [];
  let updater: ChildProcess | null = null;
  const stop = async () => {
    await Promise.all(services.map((service) => service.stop()));
    if (updater) {
      const ended = new Promise((resolve) => updater?.once('exit', resolve));
      updater.kill('SIGTERM');
      await ended;
    }
    await Promise.all(servers.map((server) => server.stop()));
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const settings = ['fsync=on', 'shared_buffers=256MB', 'max_wal_size=2GB'];
    const [postgres, redis] = await Promise.all([
      startPostgres(CACHE_DIR, { settings }),
      startRedis(CACHE_DIR),
    ]);
    servers.push(postgres, redis);
    const environment = {
      DATABASE_URL: postgres.url,
      REDIS_URL: redis.url,
      REPLICATION_SLOT: SLOT,
      CURSOR_SECRET: 'one secret for all replicas',
      RATE_LIMIT_PER_MINUTE: '0',
      USER_RATE_LIMIT_PER_MINUTE: '0',
      FEED_WORKERS: '1',
      CHANGES_POLL_MS: '100',
    };
    const sql = await openSqlStore({ databaseUrl: postgres.url, dataDir: dir });
    const report = await setUpReplication(
      sql.client,
      SLOT,
      MAX_KEPT_WAL_MB,
      deadlineIn(SETUP_MS),
      withUpdater,
    );
    await sql.close();
    if (withUpdater) {
      if (report.unavailable) throw new Error(report.unavailable);
      updater = await startUpdaterProcess({
        ...environment,
        DATA_DIR: join(dir, 'updater'),
        UPDATER_PORT: '0',
      });
    }
    for (let i = 0; i < replicas; i++) {
      services.push(await startService({ ...environment, DATA_DIR: join(dir, `replica-${i}`) }));
    }
    if (withUpdater) await Promise.all(services.map((service) => onStream(service.base)));
    return {
      databaseUrl: postgres.url,
      redisUrl: redis.url,
      databasePid: postgres.pid,
      updaterPid: updater?.pid ?? null,
      slot: SLOT,
      replicas: services,
      origin: `PostgreSQL (${postgres.origin}), Redis (${redis.origin})`,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function startUpdaterProcess(environment: Record<string, string>): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--no-warnings', UPDATER], {
    env: { ...process.env, ...environment, LOG_LEVEL: 'info' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the updater ended with ${code}`)));
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if (line.includes('this updater leads')) resolve(child);
    });
  });
}

async function onStream(base: string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    const ready = (await (await fetch(`${base}/health/ready`)).json()) as { stores: { changes?: string } };
    if (ready.stores.changes === 'stream') return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('the replica does not follow the change stream');
}

export interface JsonClient {
  send(method: string, path: string, body?: object): Promise<{ status: number; body: unknown; ms: number }>;
  close(): void;
}

/** JSON over kept-alive connections to one replica. */
export function jsonClient(base: string): JsonClient {
  const { hostname, port } = new URL(base);
  const client = new HttpClient(hostname, Number(port));
  return {
    send: (method, path, body) => {
      const text = body ? JSON.stringify(body) : '';
      const head = `${method} ${path} HTTP/1.1\r\nhost: ${hostname}\r\n`;
      const type = body
        ? `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n`
        : '';
      const startedAt = performance.now();
      return new Promise((resolve, reject) => {
        client.send(`${head}${type}\r\n${text}`, {
          answered: (answer) =>
            resolve({
              status: answer.status,
              body: answer.body.length > 0 ? JSON.parse(answer.body.toString()) : null,
              ms: performance.now() - startedAt,
            }),
          failed: (reason) => reject(new Error(`${method} ${path}: ${reason}`)),
        });
      });
    },
    close: () => client.close(),
  };
}
