// Who engaged with which rows, collected while the build reads the events in time order: the input of the item graph.
// Bounded per user, so that one account with a million events neither fills memory nor ties everything to everything.
import type { EngagementEvent } from '../../contracts.ts';
import { ENGAGEMENT_CODES, engagementCode, HISTORY_LIMIT } from '../../vocabulary.ts';
import type { Interactions } from '../item-graph.ts';

/** Newest posts kept of each user: a graph costs the square of it, and a history shows half of it. */
const POSTS_PER_USER = HISTORY_LIMIT * 2;

export class EngagementPairs {
  readonly #users = new Map<string, UserRows>();

  /** Takes positive engagements; hides and reports count for nothing, an un-like takes its post out again. */
  add(event: EngagementEvent, row: number): void {
    if (event.type === 'unlike') {
      this.#users.get(event.userId)?.remove(row);
      return;
    }
    const code = engagementCode(event.type, event.dwellMs ?? 0);
    if (code === ENGAGEMENT_CODES.none || code === ENGAGEMENT_CODES.negative) return;
    let user = this.#users.get(event.userId);
    if (!user) this.#users.set(event.userId, (user = new UserRows()));
    user.put(row);
  }

  /** Users with a single post say nothing of two, and are left out. */
  interactions(itemCount: number): Interactions {
    const users = [...this.#users.values()].filter(({ size }) => size > 1);
    const start = new Uint32Array(users.length + 1);
    for (const [i, { size }] of users.entries()) start[i + 1] = start[i] + size;
    const items = new Uint32Array(start[users.length]);
    for (const [i, user] of users.entries()) items.set(user.rows(), start[i]);
    return { userCount: users.length, itemCount, start, items };
  }
}

/** The newest POSTS_PER_USER distinct rows of one user, oldest first. */
class UserRows {
  size = 0;
  #rows = new Uint32Array(4);

  put(row: number): void {
    this.remove(row);
    if (this.size === POSTS_PER_USER) this.#rows.copyWithin(0, 1, this.size--);
    if (this.size === this.#rows.length) {
      const larger = new Uint32Array(Math.min(POSTS_PER_USER, this.size * 2));
      larger.set(this.#rows);
      this.#rows = larger;
    }
    this.#rows[this.size++] = row;
  }

  remove(row: number): void {
    const at = this.rows().indexOf(row);
    if (at >= 0) this.#rows.copyWithin(at, at + 1, this.size--);
  }

  rows(): Uint32Array {
    return this.#rows.subarray(0, this.size);
  }
}
