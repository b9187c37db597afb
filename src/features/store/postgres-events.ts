// EventStore over SQL: engagements, unique per (user, id), and the scans of the offline jobs. The table is partitioned
// by arrival (postgres-partitions.ts): a local unique index in each, and a look into all of them before storing.
import type { Edge, EngagementEvent, EventStore, Position, User } from '../../contracts.ts';
import type { Deadline } from '../../deadline.ts';
import { invalid } from '../../errors.ts';
import { EVENT_TYPES, type EventType, UNDATED } from '../../vocabulary.ts';
import { decodePosition } from './change-position.ts';
import { between, inOrder, sampledBounds } from './parallel-scan.ts';
import { type EdgeRow, edgeFromRow, USER_COLUMNS, type UserRow, userFromRow } from './postgres-users.ts';
import type { SqlClient, Statement } from './sql-client.ts';
import { ERASURE_GUARD } from './sql-erasure-lock.ts';
import { checkKey, checkOptionalText, checkTime } from './storable.ts';

const CHUNK_ROWS = 5_000;

const APPEND: Statement = {
  name: 'events_append',
  text: `
with ${ERASURE_GUARD}
insert into events (user_id, id, post_id, type, at, dwell_ms, token, position)
select r.user_id, r.id, r.post_id, r.type, r.at, r.dwell_ms, r.token, r.position
from guard, json_to_recordset($1) as r(user_id text, id text, post_id text, type text, at double precision,
  dwell_ms double precision, token text, position integer)
where not exists (select 1 from events e where e.user_id = r.user_id and e.id = r.id)
order by r.user_id, r.id
on conflict do nothing
returning user_id, id`,
};

export const EVENT_COLUMNS = 'user_id, id, post_id, type, at, dwell_ms, token, position';

/** Events of one user that are read for the newest of each post and type: those of a reader who repeats posts. */
export const RECENT_EVENTS_READ = 2_000;

const RECENT: Statement = {
  name: 'events_recent',
  text: `select latest.* from unnest($1::text[]) with ordinality as u (reader, i) cross join lateral (
  select * from (
    select distinct on (post_id, type) ${EVENT_COLUMNS} from (
      select ${EVENT_COLUMNS} from events where user_id = u.reader and type <> 'impression'
      order by at desc, id desc limit ${RECENT_EVENTS_READ}
    ) as newest order by post_id, type, at desc, id desc
  ) as one order by at desc, id desc limit $2
) as latest order by u.i, latest.at desc, latest.id desc`,
};

// `at >= $2` lets the index on (at) start there; the row comparison skips what was read. Events that were committed
// at or after the position `$6` are left out, whatever their time.
const SCAN: Statement = {
  name: 'events_scan',
  text: `select ${EVENT_COLUMNS} from events
where at >= $2 and (at, id, user_id) > ($2, $3, $4) and at < $5 and txid < $6::xid8
order by at, id, user_id limit $1`,
};

const LARGEST_TXID = '18446744073709551615';

// The newest like and un-like of each pair, in the order asked.
const LIKES: Statement = {
  name: 'events_likes',
  text: `
select l.liked_at, l.unliked_at from unnest($1::text[], $2::text[]) with ordinality as p (user_id, post_id, i)
cross join lateral (
  select max(at) filter (where type = 'like') as liked_at, max(at) filter (where type = 'unlike') as unliked_at
  from events e where e.user_id = p.user_id and e.post_id = p.post_id and type in ('like', 'unlike')) l
order by p.i`,
};

// A user known by edges alone gets a profile made of the id.
const SCAN_USERS: Statement = {
  name: 'users_scan',
  text: `
with page as (
  select id from (
    (select id from users where id > $2 order by id limit $1)
    union
    (select distinct user_id from edges where user_id > $2 and removed_at is null order by user_id limit $1)
  ) ids order by id limit $1)
select page.id,
  (select row_to_json(u) from (select ${USER_COLUMNS} from users where users.id = page.id) u) as profile,
  (select json_agg(e order by created_at, kind, target) from (
    select kind, target, created_at from edges where user_id = page.id and removed_at is null) e) as edges
from page order by page.id`,
};

export interface EventRow {
  user_id: string;
  id: string;
  post_id: string;
  type: EventType;
  at: number;
  dwell_ms: number | null;
  token: string | null;
  position: number | null;
}

export interface ScanEventsOptions {
  /** Only events of transactions before this change position: what its replay will not give. */
  before?: Position;
  /** Segments read at a time. */
  partitions?: number;
}

export class PostgresEvents implements EventStore {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  /** All or nothing. Of two events with one (user, id) in a batch the first counts. */
  async appendEvents(events: readonly EngagementEvent[], deadline: Deadline): Promise<boolean[]> {
    if (events.length === 0) return [];
    const firstAt = new Map<string, number>();
    const rows: ReturnType<typeof toRow>[] = [];
    const keys = events.map((event, i) => {
      const row = toRow(event, `events[${i}]`);
      const key = keyOf(event.userId, event.id);
      if (!firstAt.has(key)) {
        firstAt.set(key, i);
        rows.push(row);
      }
      return key;
    });
    const stored = new Set<string>();
    const append = async (run: (values: unknown[]) => Promise<{ user_id: string; id: string }[]>) => {
      for (let at = 0; at < rows.length; at += CHUNK_ROWS) {
        const written = await run([JSON.stringify(rows.slice(at, at + CHUNK_ROWS))]);
        for (const row of written) stored.add(keyOf(row.user_id, row.id));
      }
    };
    if (rows.length <= CHUNK_ROWS) {
      await append((values) => this.#client.query('storing events', APPEND, values, deadline));
    } else {
      await this.#client.transaction('storing events', deadline, (run) =>
        append((values) => run(APPEND, values)),
      );
    }
    return keys.map((key, i) => firstAt.get(key) === i && stored.has(key));
  }

  /** By (at, id); with `partitions` > 1 that many segments of time are read at once, and still handed on in order. */
  async *scanEvents(batchSize: number, options: ScanEventsOptions = {}): AsyncIterable<EngagementEvent[]> {
    const { partitions = 1 } = options;
    const before = options.before ? decodePosition(options.before).txid.toString() : LARGEST_TXID;
    const bounds = await sampledBounds(this.#client, { name: 'events', column: 'at' }, partitions);
    const segments = between(bounds).map(
      ({ from, to }) =>
        () =>
          this.#scanSegment(batchSize, from, to, before),
    );
    yield* inOrder(segments, partitions);
  }

  async *#scanSegment(
    batchSize: number,
    from: number | null,
    to: number | null,
    before: string,
  ): AsyncIterable<EngagementEvent[]> {
    // The empty id sorts before every id.
    let after: [number | string, string, string] = [from ?? '-Infinity', '', ''];
    for (;;) {
      const values = [batchSize, ...after, to ?? 'Infinity', before];
      const rows = await this.#client.scan<EventRow>('scanning events', SCAN, values);
      if (rows.length > 0) yield rows.map(eventFromRow);
      if (rows.length < batchSize) return;
      const last = rows[rows.length - 1];
      after = [last.at, last.id, last.user_id];
    }
  }

  /** For each pair of user and post the newest like and un-like, unix ms, null where there is none. */
  async likesOf(
    pairs: readonly { userId: string; postId: string }[],
    deadline: Deadline,
  ): Promise<{ likedAt: number | null; unlikedAt: number | null }[]> {
    if (pairs.length === 0) return [];
    const rows = await this.#client.query<{ liked_at: number | null; unliked_at: number | null }>(
      'reading likes',
      LIKES,
      [pairs.map((pair) => pair.userId), pairs.map((pair) => pair.postId)],
      deadline,
    );
    return rows.map((row) => ({ likedAt: row.liked_at, unlikedAt: row.unliked_at }));
  }

  async recentEvents(userId: string, limit: number, deadline: Deadline): Promise<EngagementEvent[]> {
    checkKey(userId, 'userId');
    return (await this.recentEventsOf([userId], limit, deadline)).get(userId) ?? [];
  }

  /** As `recentEvents`, of several users in one statement; those without any are left out. */
  async recentEventsOf(
    userIds: readonly string[],
    limit: number,
    deadline: Deadline,
  ): Promise<Map<string, EngagementEvent[]>> {
    const values = [[...new Set(userIds)], limit];
    const rows = await this.#client.query<EventRow>('reading events', RECENT, values, deadline);
    return Map.groupBy(rows.map(eventFromRow), ({ userId }) => userId);
  }

  async *scanUsers(batchSize: number): AsyncIterable<{ user: User; edges: Edge[] }[]> {
    let after = '';
    while (true) {
      const rows = await this.#client.scan<{
        id: string;
        profile: UserRow | null;
        edges: EdgeRow[] | null;
      }>('scanning users', SCAN_USERS, [batchSize, after]);
      if (rows.length === 0) return;
      yield rows.map(({ id, profile, edges }) => ({
        user: profile ? userFromRow(profile) : { id, createdAt: UNDATED },
        edges: (edges ?? []).map((edge) => edgeFromRow(id, edge)),
      }));
      if (rows.length < batchSize) return;
      after = rows[rows.length - 1].id;
    }
  }
}

export function eventFromRow(row: EventRow): EngagementEvent {
  const event: EngagementEvent = {
    id: row.id,
    userId: row.user_id,
    postId: row.post_id,
    type: row.type,
    at: row.at,
  };
  if (row.dwell_ms !== null) event.dwellMs = row.dwell_ms;
  if (row.token !== null) event.token = row.token;
  if (row.position !== null) event.position = row.position;
  return event;
}

function keyOf(userId: string, id: string): string {
  return `${userId}\0${id}`;
}

function toRow(event: EngagementEvent, field: string) {
  checkKey(event.userId, `${field}.userId`);
  checkKey(event.id, `${field}.id`);
  checkKey(event.postId, `${field}.postId`);
  if (!EVENT_TYPES.includes(event.type)) {
    throw invalid(`${field}.type`, `must be one of ${EVENT_TYPES.join(', ')}`);
  }
  checkTime(event.at, `${field}.at`);
  if (event.dwellMs != null && !(Number.isFinite(event.dwellMs) && event.dwellMs >= 0)) {
    throw invalid(`${field}.dwellMs`, 'must be a number of milliseconds, 0 or more');
  }
  checkOptionalText(event.token, `${field}.token`);
  const position = event.position;
  if (position != null && !(Number.isInteger(position) && position >= 0 && position <= 0x7fffffff)) {
    throw invalid(`${field}.position`, 'must be an integer, 0 or more');
  }
  return {
    user_id: event.userId,
    id: event.id,
    post_id: event.postId,
    type: event.type,
    at: event.at,
    dwell_ms: event.dwellMs,
    token: event.token,
    position: event.position,
  };
}
