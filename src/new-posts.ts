// How many posts wait for a user: made since a moment, and let through by the same filters as the feed's candidates.
// Nothing is searched or ranked; a bounded number of the newest rows is read. Called by catalogue-view.ts.
import { firstRowSince } from './candidates/age-window.ts';
import { FilterContexts } from './candidates/filter-context.ts';
import { filterRow, KEPT } from './candidates/filters.ts';
import { PairSet } from './candidates/pair-set.ts';
import type { Catalogue, PackedUser } from './contracts.ts';
import { FIELD, RECORD_WORDS } from './post-record.ts';

/** Counted at most: more is shown as `99+` anyhow. */
export const NEW_POSTS_LIMIT = 99;
/** Rows read at most, about .2 ms: where more are new and refused, the count is of the newest. */
const ROWS = 5_000;
/** Clocks of posting machines may be ahead by this much, as in the feed. */
const CLOCK_SKEW_MS = 5 * 60_000;

export interface NewPostsQuery {
  user: PackedUser;
  /** hash64 pairs of posts that are not new to the user. */
  exclude: Uint32Array;
  /** Unix ms; posts made later count. */
  sinceMs: number;
  nowMs: number;
}

export interface NewPostsCount {
  count: number;
  /** Those of them whose author the user follows. */
  following: number;
  /** True when there may be more than were counted. */
  more: boolean;
}

export class NewPosts {
  readonly #contexts = new FilterContexts();
  readonly #follows = new PairSet();

  count(catalogue: Catalogue, query: NewPostsQuery): NewPostsCount {
    const { user, sinceMs, nowMs } = query;
    // The smallest time that is later.
    const oldestMs = sinceMs + 1;
    const window = { oldestMs, newestMs: nowMs + CLOCK_SKEW_MS, firstRow: 0 };
    const context = this.#contexts.make(query, catalogue, window);
    this.#follows.reset(user.follows.length / 2);
    this.#follows.addAll(user.follows);
    const { u32 } = catalogue.records;
    const oldestRow = Math.min(catalogue.baseRows, firstRowSince(catalogue, oldestMs));
    const lastRow = Math.max(oldestRow, catalogue.rows - ROWS);
    const found = { count: 0, following: 0, more: lastRow > oldestRow };
    // Live rows lie in the order in which they came, base rows in that in which they were made: newest last, both.
    for (let row = catalogue.rows - 1; row >= lastRow; row--) {
      if (filterRow(row, context) !== KEPT) continue;
      if (found.count === NEW_POSTS_LIMIT) return { ...found, more: true };
      const at = row * RECORD_WORDS;
      found.count++;
      if (this.#follows.has(u32[at + FIELD.authorLo], u32[at + FIELD.authorHi])) found.following++;
    }
    return found;
  }
}
