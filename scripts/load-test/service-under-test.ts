// Starts the service for a load test: embedded, or on Redis and Postgres; pinned to cores where asked; gone again at
// the end whatever happens. Called by run.ts.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { EMBEDDED_STATE } from '../../src/redis-settings.ts';
import { startService } from '../bench/service-process.ts';
import { type ServerStores, startServerStores } from './server-stores.ts';

export interface ServiceOptions {
  stores: 'embedded' | 'servers';
  dataDir: string;
  /** Cores as taskset takes them, null = all. */
  cores: string | null;
  /** How many cores that is. */
  coreCount: number;
  note(text: string): void;
}

export interface ServiceUnderTest {
  base: string;
  pid: number;
  /** Where its stores came from. */
  stores: string;
  stop(): Promise<void>;
}

const run = promisify(execFile);

/** @throws Error when the data folder has no index, a server cannot be had, or the service does not start. */
export async function startServiceUnderTest(options: ServiceOptions): Promise<ServiceUnderTest> {
  const { dataDir, cores, coreCount } = options;
  if (!existsSync(join(dataDir, 'index'))) {
    throw new Error(
      `--data-dir ${dataDir} has no index: make a world with npm run demo -- --once --data-dir ${dataDir}`,
    );
  }
  const servers: ServerStores | null = options.stores === 'servers' ? await startServerStores(options) : null;
  try {
    const service = await startService({
      HOST: '127.0.0.1',
      PROFILE: 'development',
      DATA_DIR: servers?.dataDir ?? dataDir,
      // Empty counts as absent: an embedded run must not find servers in the caller's environment.
      DATABASE_URL: servers?.databaseUrl ?? '',
      ...EMBEDDED_STATE,
      REDIS_URL: servers?.redisUrl ?? '',
      // Every first page is ranked: what the caches save depends on the traffic, which is made up here.
      SLATE_CACHE_MS: process.env.SLATE_CACHE_MS ?? '0',
      RATE_LIMIT_PER_MINUTE: '0',
      USER_RATE_LIMIT_PER_MINUTE: '0',
      ...(cores === null || process.env.FEED_WORKERS ? {} : { FEED_WORKERS: String(coreCount) }),
    });
    const killWithUs = () => endAbruptly(service.pid);
    process.once('exit', killWithUs);
    const stop = async () => {
      await service.stop();
      process.off('exit', killWithUs);
      await servers?.stop();
    };
    try {
      // Every thread it has by now; later ones inherit it.
      if (cores !== null) await run('taskset', ['-a', '-c', '-p', cores, String(service.pid)]);
    } catch (error) {
      await stop();
      throw error;
    }
    return { base: service.base, pid: service.pid, stores: servers?.origin ?? 'embedded', stop };
  } catch (error) {
    await servers?.stop();
    throw error;
  }
}

function endAbruptly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}
