// Runs the schema's steps forward under traffic: one process at a time (advisory lock), a short wait for table locks
// so that a migration never queues the service's statements behind itself, and another try when it was too short.
// Called when a store opens and by `npm run setup-db`.
import type { Deadline } from '../../deadline.ts';
import { FeedrankError } from '../../errors.ts';
import type { Run, SqlClient } from './sql-client.ts';
import { MIGRATIONS, type Migration } from './sql-schema.ts';

/** Any fixed number; shared by everything that migrates this database. */
const MIGRATION_LOCK = 7_316_001;
/** Statements that arrive while a step waits for its table lock wait behind it: at most so long. */
const LOCK_TIMEOUT_MS = 1_000;
const LOCK_TRIES = 30;
const LOCK_NOT_AVAILABLE = '55P03';

export interface MigrationReport {
  /** Steps run now. */
  applied: { version: number; name: string }[];
  /** Version of the schema now. */
  version: number;
}

/**
 * Brings the schema to this program's version; idempotent, safe when several processes start at once.
 * @throws FeedrankError `conflict` where the database is newer than the program; `timeout` when a table stays locked.
 */
export async function migrate(client: SqlClient, deadline: Deadline): Promise<MigrationReport> {
  return client.session('schema migration', deadline, async (run) => {
    await run(plain('set statement_timeout = 0'));
    await lock(run);
    try {
      return await migrateAlone(run);
    } finally {
      await run(plain('reset statement_timeout'));
      await run(plain(`select pg_advisory_unlock(${MIGRATION_LOCK})`));
    }
  });
}

/** Asks again and again: a statement that waits holds a snapshot, and a concurrent index build waits for snapshots. */
async function lock(run: Run): Promise<void> {
  for (;;) {
    const [row] = await run<{ locked: boolean }>(
      plain(`select pg_try_advisory_lock(${MIGRATION_LOCK}) as locked`),
    );
    if (row.locked) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function migrateAlone(run: Run): Promise<MigrationReport> {
  // A service whose role may not make tables runs on what setup-db made.
  const [known] = await run<{ there: boolean }>(
    plain(`select to_regclass('schema_migrations') is not null as there`),
  );
  if (!known.there) {
    await run(
      plain(`create table schema_migrations (
        version integer primary key, name text not null, applied_at timestamptz not null default now())`),
    );
  }
  const rows = await run<{ version: number }>(plain('select version from schema_migrations'));
  const done = new Set(rows.map((row) => row.version));
  const newest = MIGRATIONS[MIGRATIONS.length - 1].version;
  const foreign = Math.max(0, ...done);
  if (foreign > newest) {
    throw new FeedrankError(
      'conflict',
      `the database has schema version ${foreign}, this program knows ${newest}: upgrade the program`,
    );
  }
  const applied: MigrationReport['applied'] = [];
  for (const migration of MIGRATIONS) {
    if (done.has(migration.version)) continue;
    await whenLocked(() => runStep(run, migration));
    applied.push({ version: migration.version, name: migration.name });
  }
  return { applied, version: newest };
}

async function runStep(run: Run, { version, name, step }: Migration): Promise<void> {
  const record = () =>
    run({ name: '', text: 'insert into schema_migrations (version, name) values ($1, $2)' }, [version, name]);
  if ('index' in step) {
    // One that was broken off is left behind invalid.
    await run(plain(`drop index concurrently if exists ${step.index}`));
    await run(plain(`create index concurrently ${step.index} on ${step.on}`));
    await record();
    return;
  }
  await run(plain(`set lock_timeout = ${LOCK_TIMEOUT_MS}`));
  await run(plain('begin'));
  try {
    await run(plain(step.sql));
    await record();
    await run(plain('commit'));
  } catch (error) {
    await run(plain('rollback'));
    throw error;
  } finally {
    await run(plain('reset lock_timeout'));
  }
}

/** Runs `work` again when a lock was not to be had within its lock_timeout. */
export async function whenLocked(work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if ((error as { code?: unknown }).code !== LOCK_NOT_AVAILABLE || attempt >= LOCK_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100 * attempt));
    }
  }
}

function plain(text: string): { name: string; text: string } {
  return { name: '', text };
}
