// ChangeFeed over SQL: rows by the (txid, seq) of their last change, up to the oldest transaction still running.
// A row that changed twice is reported once, with its newest state; no committed change is ever passed over.
import type { Change, ChangeFeed, EdgeKind, Position } from '../../contracts.ts';
import type { Deadline } from '../../deadline.ts';
import { FeedrankError, invalid } from '../../errors.ts';
import { decodePosition, encodePosition } from './change-position.ts';
import { EVENT_COLUMNS, type EventRow, eventFromRow } from './postgres-events.ts';
import { POST_COLUMNS, type PostRow, postFromRow } from './postgres-posts.ts';
import { USER_COLUMNS, type UserRow, userFromRow } from './postgres-users.ts';
import type { SqlClient, Statement } from './sql-client.ts';

// A transaction gets its id before it commits, and ids below the snapshot's xmin belong to finished transactions:
// whatever is committed later sorts after. Two writers of one row may have ids in the other order than their
// commits; since the feed gives the row as it is now, the newest state is still the last one reported.
const XMIN = 'pg_snapshot_xmin(pg_current_snapshot())';

const HORIZON: Statement = {
  name: 'changes_horizon',
  text: 'select pg_snapshot_xmax(pg_current_snapshot())::text as txid',
};

const POSITION: Statement = { name: 'changes_position', text: `select ${XMIN}::text as txid` };

function branch(kind: ChangeRow['kind'], table: string, body: string): string {
  return `(select txid, seq, '${kind}' as kind, ${body} as body from ${table} t
  where (txid, seq) > ($1::xid8, $2::bigint) and txid < ${XMIN} order by txid, seq limit $3)`;
}

const READ: Statement = {
  name: 'changes_read',
  text: `
select txid::text as txid, seq, kind, body, ${XMIN}::text as xmin,
  (select (f.txid, f.seq) > ($1::xid8, $2::bigint) from change_floor f) as trimmed
from (select 1) always left join lateral (
${branch('any_post', 'posts', `(select row_to_json(r) from (select ${POST_COLUMNS}, deleted_at from (select t.*) p) r)`)}
union all
${branch('user', 'users', `(select row_to_json(r) from (select ${USER_COLUMNS} from (select t.*) p) r)`)}
union all
${branch('edge', 'edges', 'row_to_json(t)')}
union all
${branch('event', 'events', `(select row_to_json(r) from (select ${EVENT_COLUMNS} from (select t.*) p) r)`)}
union all
${branch('followers', 'follow_log', 'row_to_json(t)')}
union all
${branch('user_erased', 'erasures', 'row_to_json(t)')}
order by txid, seq limit $3) c on true
order by c.txid, c.seq`,
};

const TRIM: Statement = {
  name: 'changes_trim',
  text: `
with p as (delete from posts where deleted_at < $1 and txid < ${XMIN} returning txid, seq),
  e as (delete from edges where removed_at < $1 and txid < ${XMIN} returning txid, seq),
  u as (delete from erasures where erased_at < $1 and txid < ${XMIN} returning txid, seq),
  l as (delete from follow_log where at < $1 and txid < ${XMIN} returning txid, seq),
  gone as (select * from p union all select * from e union all select * from u union all select * from l),
  newest as (select txid, seq from gone order by txid desc, seq desc limit 1),
  floor as (update change_floor f set txid = n.txid, seq = n.seq from newest n
    where (f.txid, f.seq) < (n.txid, n.seq))
select count(*) as rows from gone`,
};

interface ChangeRow {
  txid: string | null;
  seq: number;
  kind: 'any_post' | 'user' | 'edge' | 'event' | 'followers' | 'user_erased';
  body: unknown;
  xmin: string;
  trimmed: boolean;
}

export class PostgresChanges implements ChangeFeed {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  /** Every change at or before it is committed and readable now. Positions compare as strings. */
  async position(deadline: Deadline): Promise<Position> {
    const [row] = await this.#client.query<{ txid: string }>(
      'reading the change position',
      POSITION,
      [],
      deadline,
    );
    return encodePosition(BigInt(row.txid), 0n);
  }

  /** Every change that is committed now lies before it, readable or not yet. */
  async horizon(deadline: Deadline): Promise<Position> {
    const [row] = await this.#client.query<{ txid: string }>(
      'reading the change horizon',
      HORIZON,
      [],
      deadline,
    );
    return encodePosition(BigInt(row.txid), 0n);
  }

  /**
   * Up to `limit` changes after a position, in commit-safe order; `''` is the beginning. With fewer than `limit`
   * changes the position is the newest final one. Throws `expired_cursor` when deletes after `after` were trimmed:
   * the reader rebuilds from a scan.
   */
  async read(
    after: Position,
    limit: number,
    deadline: Deadline,
  ): Promise<{ changes: Change[]; position: Position }> {
    const from = decodePosition(after);
    if (!Number.isInteger(limit) || limit < 1) throw invalid('limit', 'must be a positive integer');
    const values = [String(from.txid), String(from.seq), limit];
    const rows = await this.#client.query<ChangeRow>('reading changes', READ, values, deadline);
    if (after !== '' && rows[0].trimmed) {
      throw new FeedrankError('expired_cursor', `changes after ${after} were trimmed: rebuild from a scan`);
    }
    const found = rows.filter((row) => row.txid !== null);
    const start = encodePosition(from.txid, from.seq);
    const end =
      found.length < limit
        ? encodePosition(BigInt(rows[0].xmin), 0n)
        : encodePosition(BigInt(found[found.length - 1].txid!), BigInt(found[found.length - 1].seq));
    const position = [start, end].toSorted()[1];
    return { changes: found.map(changeOf), position };
  }

  /** Forgets deleted posts, removed edges and erasures from before; returns how many. */
  async trimChanges(olderThanMs: number, deadline: Deadline): Promise<number> {
    const [row] = await this.#client.query<{ rows: number }>(
      'trimming changes',
      TRIM,
      [olderThanMs],
      deadline,
    );
    return row.rows;
  }
}

function changeOf(row: ChangeRow): Change {
  switch (row.kind) {
    case 'any_post': {
      const post = row.body as PostRow & { deleted_at: number | null };
      return post.deleted_at === null
        ? { kind: 'post', post: postFromRow(post) }
        : { kind: 'post_deleted', postId: post.id };
    }
    case 'user':
      return { kind: 'user', user: userFromRow(row.body as UserRow) };
    case 'event':
      return { kind: 'event', event: eventFromRow(row.body as EventRow), seq: row.seq };
    case 'followers': {
      const { author_id, delta } = row.body as { author_id: string; delta: number };
      return { kind: 'followers', authorId: author_id, delta, seq: row.seq };
    }
    case 'user_erased':
      return { kind: 'user_erased', userId: (row.body as { user_id: string }).user_id };
    case 'edge': {
      const edge = row.body as {
        user_id: string;
        kind: EdgeKind;
        target: string;
        created_at: number;
        removed_at: number | null;
      };
      return {
        kind: 'edge',
        edge: { userId: edge.user_id, kind: edge.kind, target: edge.target, createdAt: edge.created_at },
        on: edge.removed_at === null,
      };
    }
  }
}
