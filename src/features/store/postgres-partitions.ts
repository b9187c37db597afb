// Monthly partitions of the events, by arrival: made ahead of their month, dropped when all of them is older than the
// retention. Called when a store opens and every hour by maintenance; one process at a time.
import type { Deadline } from '../../deadline.ts';
import type { Run, SqlClient } from './sql-client.ts';
import { whenLocked } from './sql-migrations.ts';

/** Any fixed number; shared by all processes on one database. */
const PARTITION_LOCK = 7_316_003;
/** Months that have their partition before they begin. */
const MONTHS_AHEAD = 3;
const DAY_MS = 86_400_000;

export interface PartitionReport {
  made: string[];
  dropped: string[];
}

interface Partition {
  name: string;
  /** Unix ms; events that arrived before it. */
  endMs: number;
}

const LIST = {
  name: '',
  text: `
select c.oid::regclass::text as name, (extract(epoch from substring(
  pg_get_expr(c.relpartbound, c.oid) from 'TO \\(''([^'']+)''\\)')::timestamptz) * 1000)::float8 as end_ms
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'events'::regclass order by 2`,
};

/**
 * Makes the partitions of the months to come and drops those whose newest event arrived more than `retentionDays` ago
 * (null = keep all). Does nothing while another process is at it.
 */
export async function keepPartitions(
  client: SqlClient,
  retentionDays: number | null,
  nowMs: number,
  deadline: Deadline,
): Promise<PartitionReport> {
  return client.session('partitions of events', deadline, async (run) => {
    const report: PartitionReport = { made: [], dropped: [] };
    const [row] = await run<{ locked: boolean }>(
      plain(`select pg_try_advisory_lock(${PARTITION_LOCK}) as locked`),
    );
    if (!row.locked) return report;
    try {
      await run(plain('set lock_timeout = 1000'));
      const partitions = await run<{ name: string; end_ms: number }>(LIST);
      const known = partitions.map(({ name, end_ms }): Partition => ({ name, endMs: end_ms }));
      await makeAhead(run, known, nowMs, report);
      if (retentionDays !== null) await dropOld(run, known, nowMs - retentionDays * DAY_MS, report);
    } finally {
      await run(plain('reset lock_timeout'));
      await run(plain(`select pg_advisory_unlock(${PARTITION_LOCK})`));
    }
    return report;
  });
}

async function makeAhead(run: Run, known: readonly Partition[], nowMs: number, report: PartitionReport) {
  const now = new Date(nowMs);
  const until = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + MONTHS_AHEAD + 1);
  let startMs = known[known.length - 1].endMs;
  while (startMs < until) {
    const start = new Date(startMs);
    const end = new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + 1));
    const name = `events_${start.toISOString().slice(0, 7).replace('-', '_')}`;
    // Made beside the table and then attached: that takes no lock that writers wait for.
    await whenLocked(async () => {
      await run(plain(`drop table if exists ${name}`));
      await run(plain(`create table ${name} (like events including defaults including indexes)`));
      await run(plain(`create unique index ${name}_key on ${name} (user_id, id)`));
      await run(
        plain(
          `alter table events attach partition ${name} for values from ('${start.toISOString()}') to ('${end.toISOString()}')`,
        ),
      );
    });
    report.made.push(name);
    startMs = end.getTime();
  }
}

async function dropOld(run: Run, known: readonly Partition[], beforeMs: number, report: PartitionReport) {
  for (const { name, endMs } of known) {
    if (endMs > beforeMs) continue;
    // A reader of the change feed that is still before these events must start over.
    await run(
      plain(`update change_floor f set txid = n.txid, seq = n.seq
        from (select txid, seq from ${name} order by txid desc, seq desc limit 1) n
        where (f.txid, f.seq) < (n.txid, n.seq)`),
    );
    await whenLocked(async () => {
      await run(plain(`alter table events detach partition ${name} concurrently`));
    });
    await run(plain(`drop table ${name}`));
    report.dropped.push(name);
  }
}

function plain(text: string): { name: string; text: string } {
  return { name: '', text };
}
