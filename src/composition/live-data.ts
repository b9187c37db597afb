// What keeps a replica's data moving beside its requests: the change stream where there is one, and the upkeep of the
// database (partitions, tombstones). Called by compose.
import type { Config } from '../config.ts';
import type { ChangeStream } from '../contracts.ts';
import { deadlineIn } from '../deadline.ts';
import { messageOf } from '../errors.ts';
import type { SqlStore } from '../features/store/postgres-store.ts';
import { RedisChangeStream } from '../features/stream/redis-change-stream.ts';
import { redisTarget } from '../redis-settings.ts';

const UPKEEP_MS = 3_600_000;
const UPKEEP_TIMEOUT_MS = 60_000;
/** Tombstones are kept so long for readers of the change feed; one that was away longer loads its data anew. */
const TOMBSTONES_MS = 7 * 86_400_000;

type Log = (level: 'info' | 'warn', details: Record<string, unknown>, message: string) => void;

export interface LiveData {
  /** Null where Redis or PostgreSQL is embedded: changes are read from SQL. */
  stream: ChangeStream | null;
  close(): Promise<void>;
}

export async function openLiveData(config: Config, sql: SqlStore, log: Log): Promise<LiveData> {
  const redis = redisTarget(config);
  const stopUpkeep = startUpkeep(config, sql, log);
  const stream =
    redis && sql.kind === 'postgres'
      ? await RedisChangeStream.open({ redis, slot: config.REPLICATION_SLOT })
      : null;
  return {
    stream,
    close: async () => {
      await stopUpkeep();
      await stream?.close();
    },
  };
}

/** Every hour, in every process: the work itself is done by one of them and may be repeated. */
export function startUpkeep(
  config: Pick<Config, 'EVENTS_RETENTION_DAYS'>,
  sql: Pick<SqlStore, 'keepPartitions' | 'trimChanges'>,
  log: Log,
): () => Promise<void> {
  const retentionDays = config.EVENTS_RETENTION_DAYS || null;
  const work = async () => {
    try {
      const report = await sql.keepPartitions(retentionDays, deadlineIn(UPKEEP_TIMEOUT_MS));
      if (report.made.length + report.dropped.length > 0) log('info', { ...report }, 'partitions of events');
      await sql.trimChanges(Date.now() - TOMBSTONES_MS, deadlineIn(UPKEEP_TIMEOUT_MS));
    } catch (error) {
      log('warn', { reason: messageOf(error) }, 'the upkeep of the database failed');
    }
  };
  let running = Promise.resolve();
  const timer = setInterval(() => {
    running = work();
  }, UPKEEP_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await running;
  };
}
