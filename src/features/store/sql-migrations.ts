// The schema as numbered steps, run forward under an advisory lock and recorded in `schema_migrations`.
// A released step is never edited: a change is a new step. Called when a store opens and by `npm run setup-db`.
import type { Deadline } from '../../deadline.ts';
import { FeedrankError } from '../../errors.ts';
import type { SqlClient } from './sql-client.ts';

interface Migration {
  version: number;
  name: string;
  sql: string;
}

// Change capture: every row carries (txid, seq) of its last change, so the change feed is a merge of index scans:
// nothing is written twice, nothing grows without bound, and a reader that is behind gets the newest state once.
// Deletes stay as tombstones (deleted_at, removed_at, erasures) until trimChanges.
const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'posts, users, edges, events, serving log',
    sql: `
create sequence change_seq;

create table posts (
  id text collate "C" primary key,
  author_id text collate "C" not null,
  created_at double precision not null,
  title text,
  body text,
  topic text,
  language text,
  url text,
  media_type text,
  reply_to text collate "C",
  sensitive boolean,
  extra jsonb,
  deleted_at double precision,
  txid xid8 not null default pg_current_xact_id(),
  seq bigint not null default nextval('change_seq')
);
create index posts_by_time on posts (created_at, id) where deleted_at is null;
create index posts_by_change on posts (txid, seq);

create table users (
  id text collate "C" primary key,
  created_at double precision not null,
  languages jsonb,
  country text,
  topics jsonb,
  show_sensitive boolean,
  txid xid8 not null default pg_current_xact_id(),
  seq bigint not null default nextval('change_seq')
);
create index users_by_change on users (txid, seq);

create table edges (
  user_id text collate "C" not null,
  kind text collate "C" not null,
  target text collate "C" not null,
  created_at double precision not null,
  removed_at double precision,
  txid xid8 not null default pg_current_xact_id(),
  seq bigint not null default nextval('change_seq'),
  primary key (user_id, kind, target)
);
create index edges_by_change on edges (txid, seq);

create table events (
  user_id text collate "C" not null,
  id text collate "C" not null,
  post_id text collate "C" not null,
  type text collate "C" not null,
  at double precision not null,
  dwell_ms double precision,
  token text,
  position integer,
  txid xid8 not null default pg_current_xact_id(),
  seq bigint not null default nextval('change_seq'),
  primary key (user_id, id)
);
create index events_by_time on events (at);
create index events_of_user on events (user_id, at desc) where type <> 'impression';
create index events_by_change on events (txid, seq);

create table erasures (
  user_id text collate "C" not null,
  erased_at double precision not null,
  txid xid8 not null default pg_current_xact_id(),
  seq bigint not null default nextval('change_seq'),
  primary key (txid, seq)
);
create index erasures_of_user on erasures (user_id);

create table serving_log (
  request_id text collate "C" primary key,
  user_id text collate "C" not null,
  at double precision not null,
  record json not null
);
create index serving_log_by_time on serving_log (at, request_id);
create index serving_log_of_user on serving_log (user_id);

-- One row: changes at or before this position have lost tombstones.
create table change_floor (
  one boolean primary key default true check (one),
  txid xid8 not null,
  seq bigint not null
);
insert into change_floor (txid, seq) values ('0', 0);`,
  },
];

/** Any fixed number; shared by everything that migrates this database. */
const MIGRATION_LOCK = 7_316_001;

export interface MigrationReport {
  /** Steps run now. */
  applied: { version: number; name: string }[];
  /** Version of the schema now. */
  version: number;
}

/** Brings the schema to this program's version; idempotent, safe when several processes start at once. */
export async function migrate(client: SqlClient, deadline: Deadline): Promise<MigrationReport> {
  return client.transaction('schema migration', deadline, async (run) => {
    await run({ name: '', text: `select pg_advisory_xact_lock(${MIGRATION_LOCK})` });
    await run({
      name: '',
      text: `create table if not exists schema_migrations (
        version integer primary key, name text not null, applied_at timestamptz not null default now())`,
    });
    const rows = await run<{ version: number }>({ name: '', text: 'select version from schema_migrations' });
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
      await run({ name: '', text: migration.sql });
      await run({ name: '', text: 'insert into schema_migrations (version, name) values ($1, $2)' }, [
        migration.version,
        migration.name,
      ]);
      applied.push({ version: migration.version, name: migration.name });
    }
    return { applied, version: newest };
  });
}
