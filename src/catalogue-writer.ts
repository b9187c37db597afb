// The writable side of one generation, on the main thread: posts, deletes and counters as the applier hands them.
import type { LiveTable } from './applier.ts';
import { newPostOf, type PostTable } from './candidates/index/post-table.ts';
import type { EngagementEvent, Post } from './contracts.ts';
import { FeedrankError } from './errors.ts';

export class CatalogueWriter implements LiveTable {
  readonly table: PostTable;
  /** Posts that found no room; they are stored, and served after the next index build. */
  turnedAway = 0;

  constructor(table: PostTable) {
    this.table = table;
  }

  rowOf(keyLo: number, keyHi: number): number {
    return this.table.rowOf(keyLo, keyHi);
  }

  /** Adds a post, or brings it up to date; −1 where the live tier is full. */
  upsert(post: Post, vector: Float32Array): number {
    const entry = newPostOf(post);
    const row = this.table.rowOfId(post.id);
    if (row >= 0) {
      this.table.updatePost(row, entry, vector);
      this.table.restore(row);
      return row;
    }
    try {
      return this.table.append(entry, vector);
    } catch (error) {
      if (!(error instanceof FeedrankError && error.code === 'overloaded')) throw error;
      this.turnedAway++;
      return -1;
    }
  }

  markDeleted(row: number): void {
    this.table.markDeleted(row);
  }

  addEngagement(row: number, event: Pick<EngagementEvent, 'type' | 'dwellMs' | 'at'>): void {
    this.table.addEngagement(row, event.type, event.dwellMs ?? 0, event.at);
  }

  setFollower(authorId: string, delta: number): void {
    this.table.addFollowers(authorId, delta);
  }
}
