// What a comparison of features reads of the SQL store: sampled serving records, changes up to a position, and what was
// on its way while a request ran. Called by diff.ts and as-of-replay.ts; tests hide things behind it.
import type {
  Change,
  Edge,
  EdgeKind,
  FeatureRecord,
  Position,
  Post,
  ServingRecord,
} from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { decodePosition } from '../../src/features/store/change-position.ts';
import type { SqlStore } from '../../src/features/store/postgres-store.ts';
import { PUBLISHED_TABLES } from '../../src/features/stream/row-changes.ts';

export type FeatureSample = ServingRecord & { features: FeatureRecord };

export interface FeatureStore {
  /** The newest sampled records, oldest watermark first. */
  samples(limit: number): Promise<FeatureSample[]>;
  countPosts(): Promise<number>;
  /** Changes after one position, up to and with another. */
  countChanges(after: Position, upTo: Position): Promise<number>;
  readChanges(after: Position, limit: number): Promise<{ changes: Change[]; position: Position }>;
  posts(ids: readonly string[]): Promise<(Post | null)[]>;
  /** A user's edges that were in force at a time and position and have been removed since. */
  edgesRemovedAfter(userId: string, position: Position, atMs: number): Promise<Edge[]>;
  /** Users and posts of the events after a position that had arrived by a time: a request may have seen them or not. */
  arrivedMeanwhile(after: Position, atMs: number): Promise<{ userId: string; postId: string }[]>;
}

const TIME_MS = 60_000;
const SCAN_BATCH = 200;

// Both ends are kept out of the planner's reach, or it would walk each table.
const COUNT = {
  name: 'features_count_changes',
  text: `select (${PUBLISHED_TABLES.map(
    (table) =>
      `(select count(*) from ${table} where (txid, seq) > ($1::xid8, $2::bigint) and (txid, seq) <= ($3::xid8, $4::bigint))`,
  ).join(' + ')})::float8 as changes`,
};
const POSTS = { name: 'features_count_posts', text: 'select count(*)::float8 as posts from posts' };
const REMOVED = {
  name: 'features_removed_edges',
  text: `select kind, target, created_at from edges
where user_id = $1 and (txid, seq) > ($2::xid8, $3::bigint) and created_at <= $4 and removed_at > $4`,
};
const MEANWHILE = {
  name: 'features_meanwhile',
  text: `select distinct user_id, post_id from events
where (txid, seq) > ($1::xid8, $2::bigint) and stored_at <= to_timestamp($3 / 1000.0)`,
};

export function featureStore(sql: SqlStore): FeatureStore {
  const bounds = (position: Position): string[] => {
    const { txid, seq } = decodePosition(position);
    return [String(txid), String(seq)];
  };
  const query = <T>(what: string, statement: { name: string; text: string }, values: unknown[]) =>
    sql.client.query<T>(what, statement, values, deadlineIn(TIME_MS));
  return {
    samples: async (limit) => {
      const newest: FeatureSample[] = [];
      for await (const batch of sql.scan(SCAN_BATCH)) {
        for (const record of batch) if (record.features) newest.push(record as FeatureSample);
        if (newest.length > 2 * limit) newest.splice(0, newest.length - limit);
      }
      return newest.slice(-limit).sort((a, b) => (a.watermark < b.watermark ? -1 : 1));
    },
    countPosts: async () => {
      const [{ posts }] = await query<{ posts: number }>('counting posts', POSTS, []);
      return posts;
    },
    countChanges: async (after, upTo) => {
      const [{ changes }] = await query<{ changes: number }>('counting changes', COUNT, [
        ...bounds(after),
        ...bounds(upTo),
      ]);
      return changes;
    },
    readChanges: (after, limit) => sql.read(after, limit, deadlineIn(TIME_MS)),
    posts: (ids) => sql.getPosts(ids, deadlineIn(TIME_MS)),
    edgesRemovedAfter: async (userId, position, atMs) => {
      const rows = await query<{ kind: EdgeKind; target: string; created_at: number }>(
        'reading removed edges',
        REMOVED,
        [userId, ...bounds(position), atMs],
      );
      return rows.map(({ kind, target, created_at: createdAt }) => ({ userId, kind, target, createdAt }));
    },
    arrivedMeanwhile: async (after, atMs) => {
      const rows = await query<{ user_id: string; post_id: string }>('reading late events', MEANWHILE, [
        ...bounds(after),
        atMs,
      ]);
      return rows.map(({ user_id: userId, post_id: postId }) => ({ userId, postId }));
    },
  };
}
