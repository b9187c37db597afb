// UserStore over SQL: profiles, edges, erasure. A removed edge stays as a tombstone for the change feed.
import type { Edge, EdgeKind, Position, User, UserStore } from '../../contracts.ts';
import type { Deadline } from '../../deadline.ts';
import { invalid } from '../../errors.ts';
import { decodePosition } from './change-position.ts';
import type { SqlClient, Statement } from './sql-client.ts';
import { ERASURE_GUARD, LOCK_FOR_ERASURE } from './sql-erasure-lock.ts';
import { checkKey, checkOptionalText, checkTexts, checkTime } from './storable.ts';

const CHUNK_ROWS = 5_000;
const EDGE_KINDS: readonly EdgeKind[] = ['follow', 'block', 'mute_author', 'mute_word', 'mute_topic'];

const PUT: Statement = {
  name: 'users_put',
  text: `
with ${ERASURE_GUARD}
insert into users as u (id, created_at, languages, country, topics, show_sensitive)
select r.id, r.created_at, r.languages, r.country, r.topics, r.show_sensitive
from guard, json_to_recordset($1) as r(
  id text, created_at double precision, languages jsonb, country text, topics jsonb, show_sensitive boolean)
order by r.id
on conflict (id) do update set created_at = excluded.created_at, languages = excluded.languages,
  country = excluded.country, topics = excluded.topics, show_sensitive = excluded.show_sensitive,
  txid = excluded.txid, seq = excluded.seq
where (u.created_at, u.languages, u.country, u.topics, u.show_sensitive) is distinct from
  (excluded.created_at, excluded.languages, excluded.country, excluded.topics, excluded.show_sensitive)`,
};

/** Active edges of one user and kind; a feed reads them all at every request. */
export const EDGES_LIMIT = 50_000;

const ADD_EDGES: Statement = {
  name: 'edges_add',
  text: `
with ${ERASURE_GUARD}, written as (
  insert into edges as e (user_id, kind, target, created_at)
  select r.user_id, r.kind, r.target, r.created_at
  from guard, json_to_recordset($1) as r(user_id text, kind text, target text, created_at double precision)
  order by r.user_id, r.kind, r.target
  on conflict (user_id, kind, target) do update set created_at = excluded.created_at, removed_at = null,
    txid = excluded.txid, seq = excluded.seq
  where e.removed_at is not null
  returning user_id, kind, target)
insert into follow_log (user_id, author_id, delta, at) select user_id, target, 1, $2 from written where kind = 'follow'`,
};

const REMOVE_EDGES: Statement = {
  name: 'edges_remove',
  text: `
with ${ERASURE_GUARD}, doomed as (
  select e.user_id, e.kind, e.target from guard, json_to_recordset($1) as r(user_id text, kind text, target text)
  join edges e on (e.user_id, e.kind, e.target) = (r.user_id, r.kind, r.target)
  where e.removed_at is null order by 1, 2, 3 for update of e),
written as (
  update edges e set removed_at = $2, txid = pg_current_xact_id(), seq = nextval('change_seq')
  from doomed d where (e.user_id, e.kind, e.target) = (d.user_id, d.kind, d.target)
  returning e.user_id, e.kind, e.target)
insert into follow_log (user_id, author_id, delta, at) select user_id, target, -1, $2 from written where kind = 'follow'`,
};

// One more than fits, for any of the users and kinds: `$3` edges are to be added to each.
const FULL: Statement = {
  name: 'edges_full',
  text: `
select u.user_id, u.kind from unnest($1::text[], $2::text[], $3::int[]) as u (user_id, kind, added)
where u.added > ${EDGES_LIMIT} or exists (
  select 1 from edges e where e.user_id = u.user_id and e.kind = u.kind and e.removed_at is null
  offset greatest(${EDGES_LIMIT} - u.added, 0) limit 1)
limit 1`,
};

export const USER_COLUMNS = 'id, created_at, languages, country, topics, show_sensitive';

const GET_USERS: Statement = {
  name: 'users_get',
  text: `
select (select row_to_json(u) from (select ${USER_COLUMNS} from users where id = w.id) u) as profile,
  (select json_agg(e order by created_at, kind, target) from (
    select kind, target, created_at from edges where user_id = w.id and removed_at is null) e) as edges
from unnest($1::text[]) with ordinality as w (id, i) order by w.i`,
};

// The log keeps the turns of an erased user's follows, since they are in the followers' sums, without the user.
const ERASE: Statement = {
  name: 'users_erase',
  text: `
with gone_user as (delete from users where id = $1 returning 1),
  gone_edges as (delete from edges where user_id = $1 returning kind, target, removed_at),
  gone_events as (delete from events where user_id = $1 returning 1),
  gone_log as (delete from serving_log where user_id = $1 returning 1),
  gone_jobs as (delete from feed_job_users where user_id = $1 returning 1),
  nameless as (update follow_log set user_id = '' where user_id = $1),
  unfollowed as (insert into follow_log (user_id, author_id, delta, at)
    select '', target, -1, $2 from gone_edges where kind = 'follow' and removed_at is null),
  gone as (select (select count(*) from gone_user) + (select count(*) from gone_edges)
    + (select count(*) from gone_events) + (select count(*) from gone_log)
    + (select count(*) from gone_jobs) as rows)
insert into erasures (user_id, erased_at) select $1, $2 from gone where rows > 0 returning user_id`,
};

// Followers now, less the turns at or after a position: followers as of it. Both from one snapshot.
const FOLLOWERS_PAGE: Statement = {
  name: 'followers_page',
  text: `
select user_id, target from edges
where kind = 'follow' and removed_at is null and (user_id, kind, target) > ($1, 'follow', $2)
order by user_id, kind, target limit $3`,
};
const FOLLOWERS_SINCE: Statement = {
  name: 'followers_since',
  text: `select author_id, sum(delta)::int as turned from follow_log where txid >= $1::xid8 group by author_id`,
};
const FOLLOWERS_BATCH = 20_000;
const SNAPSHOT: Statement = { name: '', text: 'set transaction isolation level repeatable read, read only' };

export interface StoredUser {
  user: User | null;
  edges: Edge[];
}

export interface UserRow {
  id: string;
  created_at: number;
  languages: string[] | null;
  country: string | null;
  topics: string[] | null;
  show_sensitive: boolean | null;
}

export interface EdgeRow {
  kind: EdgeKind;
  target: string;
  created_at: number;
}

export class PostgresUsers implements UserStore {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  /** All or nothing; of two profiles with one id the last is stored. */
  async putUsers(users: readonly User[], deadline: Deadline): Promise<void> {
    const rows = new Map(users.map((user, i) => [user.id, userToRow(user, `users[${i}]`)]));
    await this.#write('storing users', PUT, [...rows.values()], [], deadline);
  }

  async getUser(id: string, deadline: Deadline): Promise<StoredUser | null> {
    return (await this.getUsers([id], deadline))[0];
  }

  /** In the order of `ids`; null where nothing is known of the user. */
  async getUsers(ids: readonly string[], deadline: Deadline): Promise<(StoredUser | null)[]> {
    if (ids.length === 0) return [];
    ids.forEach((id, i) => {
      checkKey(id, ids.length === 1 ? 'id' : `ids[${i}]`);
    });
    const rows = await this.#client.query<{ profile: UserRow | null; edges: EdgeRow[] | null }>(
      'reading users',
      GET_USERS,
      [ids],
      deadline,
    );
    return rows.map(({ profile, edges }, i) =>
      profile || edges
        ? {
            user: profile ? userFromRow(profile) : null,
            edges: (edges ?? []).map((edge) => edgeFromRow(ids[i], edge)),
          }
        : null,
    );
  }

  /** At most EDGES_LIMIT active edges of a user and kind: `invalid_input` beyond. */
  async setEdges(edges: readonly Edge[], on: boolean, deadline: Deadline): Promise<void> {
    const rows = new Map(
      edges.map((edge, i) => {
        const row = edgeToRow(edge, `edges[${i}]`);
        return [JSON.stringify([row.user_id, row.kind, row.target]), row];
      }),
    );
    if (on) await this.#mustFit([...rows.values()], deadline);
    const statement = on ? ADD_EDGES : REMOVE_EDGES;
    await this.#write('storing edges', statement, [...rows.values()], [Date.now()], deadline);
  }

  /** Active follows of each author as of a change position: what its replay will not give. */
  async followersAsOf(position: Position, deadline: Deadline): Promise<Map<string, number>> {
    return this.#client.transaction('counting followers', deadline, async (run) => {
      await run(SNAPSHOT);
      const followers = new Map<string, number>();
      const add = (authorId: string, n: number) =>
        followers.set(authorId, (followers.get(authorId) ?? 0) + n);
      let after = ['', ''];
      for (;;) {
        const rows = await run<{ user_id: string; target: string }>(FOLLOWERS_PAGE, [
          ...after,
          FOLLOWERS_BATCH,
        ]);
        for (const { target } of rows) add(target, 1);
        if (rows.length < FOLLOWERS_BATCH) break;
        const last = rows[rows.length - 1];
        after = [last.user_id, last.target];
      }
      const { txid } = decodePosition(position);
      const since = await run<{ author_id: string; turned: number }>(FOLLOWERS_SINCE, [String(txid)]);
      for (const { author_id, turned } of since) add(author_id, -turned);
      return followers;
    });
  }

  async eraseUser(id: string, deadline: Deadline): Promise<boolean> {
    checkKey(id, 'id');
    return this.#client.transaction('erasing a user', deadline, async (run) => {
      await run(LOCK_FOR_ERASURE);
      const rows = await run(ERASE, [id, Date.now()]);
      return rows.length > 0;
    });
  }

  async #mustFit(rows: readonly { user_id: string; kind: EdgeKind }[], deadline: Deadline): Promise<void> {
    const added = new Map<string, { user_id: string; kind: EdgeKind; count: number }>();
    for (const { user_id, kind } of rows) {
      const key = `${kind} ${user_id}`;
      const known = added.get(key);
      if (known) known.count++;
      else added.set(key, { user_id, kind, count: 1 });
    }
    const pairs = [...added.values()];
    const values = [
      pairs.map((pair) => pair.user_id),
      pairs.map((pair) => pair.kind),
      pairs.map((pair) => pair.count),
    ];
    const [full] = await this.#client.query<{ user_id: string; kind: EdgeKind }>(
      'counting edges',
      FULL,
      values,
      deadline,
    );
    if (full) throw invalid('target', `one user has at most ${EDGES_LIMIT} of kind ${full.kind}`);
  }

  async #write(what: string, statement: Statement, rows: object[], rest: unknown[], deadline: Deadline) {
    if (rows.length === 0) return;
    if (rows.length <= CHUNK_ROWS) {
      await this.#client.query(what, statement, [JSON.stringify(rows), ...rest], deadline);
      return;
    }
    await this.#client.transaction(what, deadline, async (run) => {
      for (let at = 0; at < rows.length; at += CHUNK_ROWS) {
        await run(statement, [JSON.stringify(rows.slice(at, at + CHUNK_ROWS)), ...rest]);
      }
    });
  }
}

export function userFromRow(row: UserRow): User {
  const user: User = { id: row.id, createdAt: row.created_at };
  if (row.languages !== null) user.languages = row.languages;
  if (row.country !== null) user.country = row.country;
  if (row.topics !== null) user.topics = row.topics;
  if (row.show_sensitive !== null) user.showSensitive = row.show_sensitive;
  return user;
}

export function edgeFromRow(userId: string, row: EdgeRow): Edge {
  return { userId, kind: row.kind, target: row.target, createdAt: row.created_at };
}

function userToRow(user: User, field: string) {
  checkKey(user.id, `${field}.id`);
  checkTime(user.createdAt, `${field}.createdAt`);
  checkTexts(user.languages, `${field}.languages`);
  checkOptionalText(user.country, `${field}.country`);
  checkTexts(user.topics, `${field}.topics`);
  return {
    id: user.id,
    created_at: user.createdAt,
    languages: user.languages,
    country: user.country,
    topics: user.topics,
    show_sensitive: user.showSensitive,
  };
}

function edgeToRow(edge: Edge, field: string) {
  checkKey(edge.userId, `${field}.userId`);
  if (!EDGE_KINDS.includes(edge.kind))
    throw invalid(`${field}.kind`, `must be one of ${EDGE_KINDS.join(', ')}`);
  checkKey(edge.target, `${field}.target`);
  checkTime(edge.createdAt, `${field}.createdAt`);
  return { user_id: edge.userId, kind: edge.kind, target: edge.target, created_at: edge.createdAt };
}
