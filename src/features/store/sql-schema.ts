// The schema as numbered steps. A released step is never edited: a change is a new step. Steps run one by one, each
// in a short transaction or, for an index, concurrently, so that a service that is running is not held up.
// Run by sql-migrations.ts.

export interface Migration {
  version: number;
  name: string;
  /** Statements of one transaction, or one index that is built beside the traffic. */
  step: { sql: string } | { index: string; on: string };
}

// Change capture: every row carries (txid, seq) of its last change, so the change feed is a merge of index scans:
// nothing is written twice, nothing grows without bound, and a reader that is behind gets the newest state once.
// Deletes stay as tombstones (deleted_at, removed_at, erasures) until trimChanges.
export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'posts, users, edges, events, serving log',
    step: {
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
  },
  {
    version: 2,
    name: 'arrival time of events',
    step: {
      sql: `
alter table events add column stored_at timestamptz not null default now();
create table events_bound as
  select (date_trunc('month', now() at time zone 'utc') + interval '2 months') at time zone 'utc' as bound;
do $$ begin
  execute format('alter table events add constraint events_before check (stored_at < %L) not valid',
    (select bound from events_bound));
end $$;`,
    },
  },
  {
    version: 3,
    name: 'arrival time of events is below the first partition bound',
    step: { sql: 'alter table events validate constraint events_before' },
  },
  {
    version: 4,
    name: 'likes of a user and a post',
    step: {
      index: 'events_earliest_likes',
      on: `events (user_id, post_id, at) where type in ('like', 'unlike')`,
    },
  },
  // Uniqueness of (user_id, id): a local unique index in every partition, and events_append looks into all of them.
  {
    version: 5,
    name: 'events partitioned by the month of their arrival',
    step: {
      sql: `
alter table events rename to events_earliest;
alter index events_by_time rename to events_earliest_by_time;
alter index events_of_user rename to events_earliest_of_user;
alter index events_by_change rename to events_earliest_by_change;
create table events (like events_earliest including defaults) partition by range (stored_at);
create index events_by_time on events (at);
create index events_of_user on events (user_id, at desc) where type <> 'impression';
create index events_by_change on events (txid, seq);
create index events_likes on events (user_id, post_id, at) where type in ('like', 'unlike');
do $$ begin
  execute format('alter table events attach partition events_earliest for values from (minvalue) to (%L)',
    (select bound from events_bound));
end $$;
drop table events_bound;`,
    },
  },
  // Follower counts are sums, so the feed must give every turn of a follow, not only its newest state.
  {
    version: 6,
    name: 'log of follows, checkpoint of the change stream',
    step: {
      sql: `
create table follow_log (
  user_id text collate "C" not null,
  author_id text collate "C" not null,
  delta smallint not null,
  at double precision not null,
  txid xid8 not null default pg_current_xact_id(),
  seq bigint not null default nextval('change_seq'),
  primary key (txid, seq)
);
create index follow_log_of_user on follow_log (user_id);
create table change_stream (
  slot text primary key,
  published text not null,
  position text not null,
  at timestamptz not null default now()
);`,
    },
  },
  // Compressing base64 takes time for every record and saves nothing: 5.2 kB a record without, 5.3 with.
  {
    version: 7,
    name: 'serving records are stored uncompressed',
    step: { sql: 'alter table serving_log alter column record set storage external' },
  },
  {
    version: 8,
    name: 'feed jobs',
    step: {
      sql: `
create table feed_jobs (
  id text collate "C" primary key,
  owner text collate "C" not null,
  page_posts integer not null,
  status text not null default 'queued',
  users integer not null,
  idempotency text,
  digest text,
  created_at double precision not null,
  finished_at double precision,
  expires_at double precision not null,
  webhook_url text,
  delivery text,
  deliver_at double precision,
  deliver_until double precision,
  delivery_attempts integer not null default 0,
  delivery_error text,
  unique (owner, idempotency)
);
create index feed_jobs_open on feed_jobs (created_at) where status in ('queued', 'running');
create index feed_jobs_expiring on feed_jobs (expires_at);
create index feed_jobs_deliverable on feed_jobs (deliver_at) where delivery = 'pending';
create table feed_job_users (
  job_id text collate "C" not null references feed_jobs on delete cascade,
  n integer not null,
  user_id text collate "C" not null,
  state text not null default 'waiting',
  due_at double precision not null,
  attempts integer not null default 0,
  page json,
  primary key (job_id, n)
);
create index feed_job_users_due on feed_job_users (due_at, job_id, n) where state = 'waiting';
create index feed_job_users_waiting on feed_job_users (job_id) where state = 'waiting';
create index feed_job_users_of_user on feed_job_users (user_id);`,
    },
  },
];
