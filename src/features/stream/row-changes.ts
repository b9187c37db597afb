// One row of logical replication → the change it stands for. The same changes as the SQL feed gives
// (store/postgres-changes.ts), one for each write instead of one for each row.
import type { Change, EdgeKind } from '../../contracts.ts';
import { type EventRow, eventFromRow } from '../store/postgres-events.ts';
import { type PostRow, postFromRow } from '../store/postgres-posts.ts';
import { type UserRow, userFromRow } from '../store/postgres-users.ts';

/** Tables of the publication. */
export const PUBLISHED_TABLES = ['posts', 'users', 'edges', 'events', 'erasures', 'follow_log'] as const;

type Row = Record<string, unknown>;

/** `reread`: a post whose large columns were not sent because they did not change. null: nothing to report. */
export type RowChange = Change | { kind: 'reread'; postId: string } | null;

export function changeOfRow(table: string, tag: 'insert' | 'update', row: Row): RowChange {
  switch (table) {
    case 'posts': {
      const post = row as unknown as PostRow & { deleted_at: number | null };
      if (post.deleted_at !== null && post.deleted_at !== undefined) {
        return { kind: 'post_deleted', postId: post.id };
      }
      if (Object.values(row).includes(undefined)) return { kind: 'reread', postId: post.id };
      return { kind: 'post', post: postFromRow(post) };
    }
    case 'users':
      return { kind: 'user', user: userFromRow(row as unknown as UserRow) };
    case 'edges': {
      const { user_id, kind, target, created_at, removed_at } = row as {
        user_id: string;
        kind: EdgeKind;
        target: string;
        created_at: number;
        removed_at: number | null;
      };
      const edge = { userId: user_id, kind, target, createdAt: created_at };
      return { kind: 'edge', edge, on: removed_at === null };
    }
    case 'events':
      return { kind: 'event', event: eventFromRow(row as unknown as EventRow), seq: Number(row.seq) };
    case 'erasures':
      return { kind: 'user_erased', userId: row.user_id as string };
    case 'follow_log':
      // An erasure takes the name out of a row; the sum stays.
      if (tag === 'update') return null;
      return {
        kind: 'followers',
        authorId: row.author_id as string,
        delta: Number(row.delta),
        seq: Number(row.seq),
      };
    default:
      return null;
  }
}
