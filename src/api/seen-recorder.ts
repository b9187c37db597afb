// Records what a page delivered as seen, beside the answer. Until a write is confirmed its posts are known here, so that
// the user's next feed on this replica does not repeat them, not even while the state store is down; what could not be
// written is written with the user's next page.
import type { StateStore } from '../contracts.ts';
import { deadlineIn, raceDeadline } from '../deadline.ts';
import { packHashes } from '../hashing.ts';
import { joinPairs } from './hash-pairs.ts';

const WRITE_MS = 5000;
/** Users with unconfirmed posts; beyond it the oldest are forgotten. About 1 kB each. */
const MAX_USERS = 10_000;
/** hash64 halves kept for one user: 1,000 posts. */
const MAX_HALVES = 2000;
/** Ids kept for one user while the store is away: 80 MB for all of them at worst. */
const MAX_UNWRITTEN = 200;

interface Unconfirmed {
  /** hash64 pairs, newest last. */
  posts: Uint32Array;
  /** Ids that no write has taken yet, or none successfully; newest last. */
  unwritten: string[];
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
    known.unwritten.push(...postIds);
    known.inFlight++;
    known.writes = known.writes.then(() => this.#write(userId, known));
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

  /** Never rejects. */
  async #write(userId: string, known: Unconfirmed): Promise<void> {
    const postIds = known.unwritten.splice(0);
    try {
      const seen = { postIds, atMs: this.#now() };
      if (postIds.length > 0) await this.#state.putState(userId, { seen }, deadlineIn(WRITE_MS));
    } catch {
      known.unwritten.unshift(...postIds);
      this.#lose(known, known.unwritten.length - MAX_UNWRITTEN);
    }
    known.inFlight--;
    const isDone = known.inFlight === 0 && known.unwritten.length === 0;
    if (isDone && this.#users.get(userId) === known) this.#users.delete(userId);
  }

  /** Gives up the oldest. */
  #lose(known: Unconfirmed, posts: number): void {
    if (posts > 0) this.#onLoss(known.unwritten.splice(0, posts).length);
  }

  #add(userId: string): Unconfirmed {
    if (this.#users.size >= MAX_USERS) {
      const [oldest] = this.#users;
      this.#users.delete(oldest[0]);
      this.#lose(oldest[1], oldest[1].unwritten.length);
    }
    const added = { posts: new Uint32Array(0), unwritten: [], writes: Promise.resolve(), inFlight: 0 };
    this.#users.set(userId, added);
    return added;
  }
}
