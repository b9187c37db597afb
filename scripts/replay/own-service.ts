// A service with embedded stores in a folder of its own, for a replay that was given none; gone when it is closed.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deadlineIn } from '../../src/deadline.ts';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';
import { startService } from '../bench/service-process.ts';
import { readMetrics } from '../faults/metrics.ts';

export interface OwnService {
  base: string;
  pid: number;
  /** Events that the catalogue's counters have taken in, by the service's own count. */
  counted(): Promise<number>;
  /** Ends the service and counts the events in its store whose id begins so. */
  stored(prefix: string): Promise<number>;
  close(): Promise<void>;
}

const COUNT_MS = 60_000;

/** @throws Error with the service's last line when it does not start. */
export async function startOwnService(): Promise<OwnService> {
  const dataDir = mkdtempSync(join(tmpdir(), 'feedrank-replay-'));
  const remove = () => rmSync(dataDir, { recursive: true, force: true });
  const service = await startService({
    DATA_DIR: dataDir,
    RATE_LIMIT_PER_MINUTE: '0',
    USER_RATE_LIMIT_PER_MINUTE: '0',
  }).catch((error) => {
    remove();
    throw error;
  });
  let running = true;
  const stop = async () => {
    if (running) await service.stop();
    running = false;
  };
  return {
    base: service.base,
    pid: service.pid,
    counted: async () => {
      const response = await fetch(`${service.base}/metrics`);
      const samples = readMetrics(await response.text());
      return samples.sum('feedrank_changes_applied_total', 'kind="event"') ?? 0;
    },
    stored: async (prefix) => {
      await stop();
      const sql = await openSqlStore({ dataDir });
      try {
        return await countEvents(sql.client, prefix);
      } finally {
        await sql.close();
      }
    },
    close: async () => {
      await stop();
      remove();
    },
  };
}

type Client = Awaited<ReturnType<typeof openSqlStore>>['client'];

/** Events in a store whose id begins with the prefix. */
export async function countEvents(client: Client, prefix: string): Promise<number> {
  const text = 'select count(*)::float8 as events from events where starts_with(id, $1)';
  const [row] = await client.query<{ events: number }>(
    'counting events',
    { name: 'replay_count', text },
    [prefix],
    deadlineIn(COUNT_MS),
  );
  return row.events;
}
