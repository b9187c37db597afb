// Whether a user was erased while a request of theirs was being worked on: such a request writes nothing any more.
import type { Change } from '../contracts.ts';
import { LruMap } from '../lru-map.ts';

/** Erasures remembered: more than can happen during one request. */
const REMEMBERED = 10_000;

export class RecentErasures {
  readonly #erasedAt = new LruMap<number>(REMEMBERED);
  #count = 0;

  onChange(change: Change): void {
    if (change.kind === 'user_erased') this.#erasedAt.set(change.userId, ++this.#count);
  }

  /** To be taken when a request begins. */
  mark(): number {
    return this.#count;
  }

  erasedSince(userId: string, mark: number): boolean {
    return (this.#erasedAt.get(userId) ?? 0) > mark;
  }
}
