// The statements of feed jobs, each along an index. Called by postgres-feed-jobs.ts.
import type { Statement } from './sql-client.ts';

/** Any fixed number; orders the jobs that one owner makes, so that bounds hold. */
const OWNER_LOCK = 7_316_003;
/**
 * Each user of a job comes so much later than the one before, reckoned back from its creation: the first users of a
 * small job overtake the last ones of a big job, made up to 100 s before (virtual time: Demers et al., 1989).
 */
const TURN_MS = 10;
const MOST_USERS = 10_000;
/** Of up to 10,000 rows each: the embedded database has one connection. */
const DROPPED_AT_ONCE = 2;
/** Within so long the last try of a webhook has been made, where webhooks are sent at all. */
const LAST_TRY_MS = 3_600_000;

export const LOCK_OWNER: Statement = {
  name: 'feed_jobs_lock_owner',
  text: `select pg_advisory_xact_lock(${OWNER_LOCK}, hashtext($1))`,
};

export const KNOWN: Statement = {
  name: 'feed_jobs_known',
  text: 'select id, users, digest from feed_jobs where owner = $1 and idempotency = $2',
};

export const COUNT: Statement = {
  name: 'feed_jobs_count',
  text: `
select count(*) filter (where status in ('queued', 'running')) as open,
  count(*) filter (where status <> 'cancelled') as kept
from feed_jobs where owner = $1`,
};

export const CREATE: Statement = {
  name: 'feed_jobs_create',
  text: `
insert into feed_jobs (id, owner, page_posts, users, idempotency, digest, created_at, expires_at, webhook_url, delivery)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, case when $9::text is null then null else 'waiting' end)`,
};

export const ADD_USERS: Statement = {
  name: 'feed_jobs_add_users',
  text: `
insert into feed_job_users (job_id, n, user_id, due_at)
select $1, i - 1, u.id, $3::double precision + (i - ${MOST_USERS}) * ${TURN_MS}
from unnest($2::text[]) with ordinality as u (id, i)`,
};

export const GET: Statement = {
  name: 'feed_jobs_get',
  text: `
select j.*, c.waiting, c.done, c.failed from feed_jobs j, lateral (
  select count(*) filter (where state = 'waiting') as waiting, count(*) filter (where state = 'done') as done,
    count(*) filter (where state = 'failed') as failed
  from feed_job_users where job_id = j.id) c
where j.id = $1 and j.owner = $2`,
};

export const RESULTS: Statement = {
  name: 'feed_jobs_results',
  text: `
select u.n, u.user_id, u.state, u.page from feed_jobs j
left join lateral (
  select n, user_id, state, page from feed_job_users where job_id = j.id and n >= $3 order by n limit $4) u on true
where j.id = $1 and j.owner = $2 order by u.n`,
};

export const LOCK_OWN: Statement = {
  name: 'feed_jobs_lock_own',
  text: 'select status from feed_jobs where id = $1 and owner = $2 for update',
};
export const DROP_USERS: Statement = {
  name: 'feed_jobs_drop_users',
  text: 'delete from feed_job_users where job_id = $1',
};
export const CANCEL: Statement = {
  name: 'feed_jobs_cancel',
  text: `
update feed_jobs set status = 'cancelled', finished_at = $2, expires_at = $3, delivery = null, webhook_url = null
where id = $1`,
};
export const DROP: Statement = { name: 'feed_jobs_drop', text: 'delete from feed_jobs where id = $1' };

export const CLAIM: Statement = {
  name: 'feed_jobs_claim',
  text: `
with due as (
  select job_id, n from feed_job_users where state = 'waiting' and due_at <= $1::float8
  order by due_at, job_id, n limit $2::int for update skip locked),
claimed as (
  update feed_job_users u set due_at = $1::float8 + $3::float8, attempts = attempts + 1
  from due d where (u.job_id, u.n) = (d.job_id, d.n)
  returning u.job_id, u.n, u.user_id, u.attempts),
begun as (
  update feed_jobs set status = 'running' where status = 'queued' and id in (select job_id from claimed))
select c.job_id, c.n, c.user_id, c.attempts, j.page_posts from claimed c join feed_jobs j on j.id = c.job_id
order by c.job_id, c.n`,
};

// Whoever writes of a job waits here for those who do: the last one sees that nothing waits any more.
export const LOCK_OPEN: Statement = {
  name: 'feed_jobs_lock_open',
  text: `select id from feed_jobs where id = any($1) and status in ('queued', 'running') order by id for update`,
};

export const SETTLE: Statement = {
  name: 'feed_jobs_settle',
  text: `
update feed_job_users u set state = r.state, page = r.page, due_at = coalesce(r.due_at, u.due_at),
  attempts = u.attempts - r.uncounted
from json_to_recordset($1) as r(
  job_id text, n integer, claimed integer, state text, page json, due_at double precision, uncounted integer)
where (u.job_id, u.n) = (r.job_id, r.n) and u.state = 'waiting' and u.attempts = r.claimed`,
};

/** $1: ids, or null for all. $2: now, $3: kept for, $4: delivered within. */
export const END: Statement = {
  name: 'feed_jobs_end',
  text: `
update feed_jobs j set finished_at = $2::float8, expires_at = $2::float8 + $3::float8,
  status = case when exists (select 1 from feed_job_users u where u.job_id = j.id and u.state = 'failed')
    and not exists (select 1 from feed_job_users u where u.job_id = j.id and u.state = 'done')
    then 'failed' else 'done' end,
  delivery = case when delivery is null then null else 'pending' end,
  deliver_at = $2::float8, deliver_until = $2::float8 + $4::float8
where j.status in ('queued', 'running') and ($1::text[] is null or j.id = any($1))
  and not exists (select 1 from feed_job_users u where u.job_id = j.id and u.state = 'waiting')`,
};

export const GIVE_UP: Statement = {
  name: 'feed_jobs_give_up',
  text: `
update feed_job_users u set state = 'failed' from feed_jobs j
where j.id = u.job_id and j.status in ('queued', 'running') and j.expires_at <= $1 and u.state = 'waiting'`,
};

export const EXPIRE: Statement = {
  name: 'feed_jobs_expire',
  text: `
delete from feed_jobs where id in (
  select id from feed_jobs where expires_at <= $1 and status not in ('queued', 'running')
    and (delivery is distinct from 'pending' or deliver_until + ${LAST_TRY_MS} <= $1)
  order by expires_at limit ${DROPPED_AT_ONCE} for update skip locked)`,
};

export const FIGURES: Statement = {
  name: 'feed_jobs_figures',
  text: `
select count(*) as open, min(created_at) as oldest_at from feed_jobs where status in ('queued', 'running')`,
};
