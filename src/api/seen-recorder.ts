// Records what a page delivered as seen, beside the answer. Until a write is confirmed its posts are known here, so that
// the user's next feed on this replica does not repeat them, not even while the state store is down.
import type { StateStore } from '../contracts.ts';
import { deadlineIn, raceDeadline } from '../deadline.ts';
import { packHashes } from '../hashing.ts';
import { joinPairs } from './hash-pairs.ts';

const WRITE_MS = 5000;
/** Users with unconfirmed posts; beyond it the oldest are forgotten. About 1 kB each. */
const MAX_USERS = 10_000;
/** hash64 halves kept for one user: 1,000 posts. */
const MAX_HALVES = 2000;

interface Unconfirmed {
  /** hash64 pairs, newest last. */
  posts: Uint32Array;
  /** Writes in flight, one after the other. */
  writes: Promise<void>;
  inFlight: number;
}

export class SeenRecorder {
  readonly #state: Pick<StateStore, 'putState'>;
  readonly #now: () => number;
  readonly #onLoss: (posts: number) => void;
  readonly #users = new Map<string, Unconfirmed>();

  constructor(state: Pick<StateStore, 'putState'>, now: () => number, onLoss: (posts: number) => void) {
    this.#state = state;
    this.#now = now;
    this.#onLoss = onLoss;
  }

  record(userId: string, postIds: readonly string[]): void {
    if (postIds.length === 0) return;
    const known = this.#users.get(userId) ?? this.#add(userId);
    const posts = joinPairs(known.posts, packHashes(postIds));
    known.posts = posts.subarray(Math.max(0, posts.length - MAX_HALVES));
    const seen = { postIds, atMs: this.#now() };
    known.inFlight++;
    known.writes = known.writes
      .then(() => this.#state.putState(userId, { seen }, deadlineIn(WRITE_MS)))
      .then(
        () => this.#ended(userId, known, true),
        () => {
          this.#onLoss(postIds.length);
          this.#ended(userId, known, false);
        },
      );
  }

  /** hash64 pairs of delivered posts that the state store may not know yet. */
  unconfirmed(userId: string): Uint32Array {
    return this.#users.get(userId)?.posts ?? new Uint32Array(0);
  }

  /** Waits for the user's writes in flight and forgets the rest: nothing is written after it. */
  async forget(userId: string): Promise<void> {
    const known = this.#users.get(userId);
    this.#users.delete(userId);
    await known?.writes;
  }

  /** Waits for all writes in flight, at most `ms`. */
  async drain(ms: number): Promise<void> {
    const writes = [...this.#users.values()].map((known) => known.writes);
    await raceDeadline(Promise.all(writes), deadlineIn(ms), 'the user store').catch(() => {});
  }

  #ended(userId: string, known: Unconfirmed, stored: boolean): void {
    known.inFlight--;
    if (stored && known.inFlight === 0 && this.#users.get(userId) === known) this.#users.delete(userId);
  }

  #add(userId: string): Unconfirmed {
    if (this.#users.size >= MAX_USERS) {
      const oldest = this.#users.keys().next().value;
      if (oldest !== undefined) this.#users.delete(oldest);
    }
    const added = { posts: new Uint32Array(0), writes: Promise.resolve(), inFlight: 0 };
    this.#users.set(userId, added);
    return added;
  }
}
