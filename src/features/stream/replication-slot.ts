// Publication and replication slot of one database: made by `npm run setup-db`, looked after by the updater. A slot keeps
// the log for its reader, so what it may keep is capped, and a slot that was cut off is made anew.
import type { Deadline } from '../../deadline.ts';
import { messageOf } from '../../errors.ts';
import type { SqlClient } from '../store/sql-client.ts';
import { PUBLISHED_TABLES } from './row-changes.ts';

export const PUBLICATION = 'feedrank';

/** Log that a slot may keep for an updater that is away, MB: by then it is faster to start over than to catch up. */
export const MAX_KEPT_WAL_MB = 10_240;

export interface SlotState {
  /** Null: there is no such slot. `lost`: the log it needs is gone. */
  status: 'reserved' | 'extended' | 'unreserved' | 'lost' | null;
  /** A process is reading it. */
  active: boolean;
  /** Bytes of log that it keeps. */
  keptBytes: number;
}

export interface ReplicationReport {
  /** Why changes cannot be replicated here; null when they can. */
  unavailable: string | null;
  made: string[];
  /** MB of log that slots may keep; -1 = no limit. */
  maxKeptWalMb: number;
  warnings: string[];
}

/** Makes what is missing, the slot only with `withSlot`. Never throws for a server that does not permit it: says why in the report. */
export async function setUpReplication(
  client: SqlClient,
  slot: string,
  maxKeptWalMb: number,
  deadline: Deadline,
  withSlot = true,
): Promise<ReplicationReport> {
  const report: ReplicationReport = { unavailable: null, made: [], maxKeptWalMb: -1, warnings: [] };
  const query = <R>(text: string, values: unknown[] = []) =>
    client.query<R & Record<string, unknown>>('setting up replication', { name: '', text }, values, deadline);
  const [{ level }] = await query<{ level: string }>(`select current_setting('wal_level') as level`);
  if (level !== 'logical') {
    report.unavailable = `wal_level is ${level}, replication needs logical (a setting of the server, after a restart)`;
    return report;
  }
  try {
    if (await keepPublication(query)) report.made.push(`publication ${PUBLICATION}`);
    report.maxKeptWalMb = await capKeptWal(query, maxKeptWalMb, report.warnings);
    if (!withSlot) return report;
    const state = await slotState(client, slot, deadline);
    if (state.status === null || state.status === 'lost') {
      await makeSlot(client, slot, deadline);
      report.made.push(`slot ${slot}`);
    }
  } catch (error) {
    report.unavailable = messageOf((error as { cause?: unknown }).cause ?? error);
  }
  return report;
}

type Query = <R>(text: string, values?: unknown[]) => Promise<(R & Record<string, unknown>)[]>;

async function keepPublication(query: Query): Promise<boolean> {
  const tables = PUBLISHED_TABLES.join(', ');
  const [known] = await query<{ tables: string[] | null }>(
    `select (select array_agg(tablename::text) from pg_publication_tables t where t.pubname = p.pubname) as tables
    from pg_publication p where pubname = $1`,
    [PUBLICATION],
  );
  if (known) {
    // A role that may replicate but owns no table can use a publication that is as it should be.
    const missing = PUBLISHED_TABLES.some((table) => !known.tables?.includes(table));
    if (missing) await query(`alter publication ${PUBLICATION} set table ${tables}`);
    return false;
  }
  // Rows are deleted by erasures, which have a row of their own, and by the trimming of tombstones.
  await query(
    `create publication ${PUBLICATION} for table ${tables} with (publish = 'insert, update', publish_via_partition_root = true)`,
  );
  return true;
}

async function capKeptWal(query: Query, wantedMb: number, warnings: string[]): Promise<number> {
  const read = async () => {
    const [row] = await query<{ mb: number }>(
      `select setting::int as mb from pg_settings where name = 'max_slot_wal_keep_size'`,
    );
    return row.mb;
  };
  const present = await read();
  if (present >= 0) return present;
  try {
    await query(`alter system set max_slot_wal_keep_size = '${wantedMb}MB'`);
    await query('select pg_reload_conf()');
    return wantedMb;
  } catch (error) {
    warnings.push(
      `max_slot_wal_keep_size is unlimited and may not be set (${messageOf(
        (error as { cause?: unknown }).cause ?? error,
      )}): an updater that stays away fills the server's disk; set it to ${wantedMb}MB`,
    );
    return -1;
  }
}

export async function slotState(client: SqlClient, slot: string, deadline: Deadline): Promise<SlotState> {
  const [row] = await client.query<{ status: SlotState['status']; active: boolean; kept: number }>(
    'reading the replication slot',
    {
      name: 'slot_state',
      text: `select wal_status as status, active,
        coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::float8 as kept
        from pg_replication_slots where slot_name = $1 and database = current_database()`,
    },
    [slot],
    deadline,
  );
  return row
    ? { status: row.status, active: row.active, keptBytes: row.kept }
    : { status: null, active: false, keptBytes: 0 };
}

/** Drops what is left of the slot and makes it anew: it gives every transaction that commits from now on. */
export async function makeSlot(client: SqlClient, slot: string, deadline: Deadline): Promise<void> {
  const drop = {
    name: '',
    text: `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active`,
  };
  await client.query('dropping the replication slot', drop, [slot], deadline);
  const make = { name: '', text: `select pg_create_logical_replication_slot($1, 'pgoutput')` };
  await client.query('making the replication slot', make, [slot], deadline);
}
