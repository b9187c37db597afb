// Snapshots of feeds in the session store, and the marks that make an erased user's sessions worthless. A page does not
// wait for its snapshot to be written while writes succeed: until then it is known here. A store that does not answer is
// told apart from a snapshot that is gone: the first degrades, the second expires the cursor.
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { SessionStore } from '../contracts.ts';
import { type Deadline, deadlineIn, raceDeadline } from '../deadline.ts';
import { hash64 } from '../hashing.ts';
import { LruMap } from '../lru-map.ts';
import { decodeSnapshot, encodeSnapshot, type FeedSnapshot } from './feed-snapshot.ts';

/** A feed that goes on longer than this starts again; erasure marks outlive every session. */
const MAX_SESSION_MS = 12 * 3_600_000;
const ERASURE_MARK_MS = 24 * 3_600_000;
/** The store's share of the time a page has left: reading comes first of all, storing last. */
const READ_SHARE = 0.4;
const WRITE_SHARE = 0.8;
/** A write beside the answer may take this long; so many snapshots, of 14 kB, may wait for theirs. */
const WRITE_MS = 5000;
const MAX_UNCONFIRMED = 1000;

export type Loaded =
  | { status: 'found'; snapshot: FeedSnapshot; bytes: Uint8Array }
  | { status: 'gone' }
  | { status: 'unavailable' };

export class FeedSessions {
  readonly #store: SessionStore;
  readonly #ttlMs: number;
  readonly #now: () => number;
  /** Snapshots that the store may not have yet. */
  readonly #unconfirmed = new LruMap<{ userId: string; bytes: Uint8Array }>(MAX_UNCONFIRMED);
  /** Whether the last write failed: the next page then waits for its own. */
  #failing = false;

  constructor(store: SessionStore, ttlMs: number, now: () => number) {
    this.#store = store;
    this.#ttlMs = ttlMs;
    this.#now = now;
  }

  expiryFromNow(): number {
    return this.#now() + this.#ttlMs;
  }

  async load(snapshotId: string, userId: string, deadline: Deadline): Promise<Loaded> {
    const within = deadline.within(deadline.remainingMs() * READ_SHARE);
    try {
      const known = this.#unconfirmed.get(snapshotId)?.bytes;
      const reads = known
        ? [known, null]
        : await raceDeadline(
            Promise.all([
              this.#store.get(snapshotKey(userId, snapshotId), within),
              this.#store.get(erasureKey(userId), within),
            ]),
            within,
            'the session store',
          );
      const [bytes, mark] = reads;
      const snapshot = bytes && decodeSnapshot(bytes);
      if (!snapshot || this.#now() - snapshot.startedAtMs > MAX_SESSION_MS) return { status: 'gone' };
      if (mark && Buffer.from(mark).readDoubleLE(0) >= snapshot.startedAtMs) return { status: 'gone' };
      return { status: 'found', snapshot, bytes };
    } catch {
      return { status: 'unavailable' };
    }
  }

  /** The new snapshot's id, or null when the store does not take it. */
  async save(userId: string, snapshot: FeedSnapshot, deadline: Deadline): Promise<string | null> {
    const id = randomBytes(16).toString('base64url');
    const bytes = encodeSnapshot(snapshot);
    this.#unconfirmed.set(id, { userId, bytes });
    const write = this.#put(userId, id, bytes, deadlineIn(WRITE_MS));
    void write.then((stored) => {
      this.#failing = !stored;
      if (stored) this.#unconfirmed.delete(id);
    });
    // A store known to be down refuses at once; one that is slow does not hold up the page.
    const wait = this.#failing
      ? raceDeadline(write, deadline.within(deadline.remainingMs() * WRITE_SHARE), 'the session store')
      : Promise.race([write, nextTurn(true)]);
    if (await wait.catch(() => false)) return id;
    this.#unconfirmed.delete(id);
    return null;
  }

  /** Starts a stored snapshot's time anew once half of it is over. When it expires, then. */
  async renew(
    userId: string,
    snapshotId: string,
    bytes: Uint8Array,
    expiresAtMs: number,
    deadline: Deadline,
  ): Promise<number> {
    if (expiresAtMs - this.#now() > this.#ttlMs / 2) return expiresAtMs;
    const renewed = this.expiryFromNow();
    const within = deadline.within(deadline.remainingMs() * WRITE_SHARE);
    return (await this.#put(userId, snapshotId, bytes, within)) ? renewed : expiresAtMs;
  }

  /** From now on no session that this user has begun is answered. */
  async forget(userId: string, deadline: Deadline): Promise<void> {
    for (const [id, { userId: owner }] of this.#unconfirmed.entries()) {
      if (owner === userId) this.#unconfirmed.delete(id);
    }
    const mark = Buffer.alloc(8);
    mark.writeDoubleLE(this.#now(), 0);
    await this.#store.set(erasureKey(userId), mark, ERASURE_MARK_MS, deadline);
  }

  async #put(userId: string, id: string, bytes: Uint8Array, deadline: Deadline): Promise<boolean> {
    try {
      const write = this.#store.set(snapshotKey(userId, id), bytes, this.#ttlMs, deadline);
      await raceDeadline(write, deadline, 'the session store');
      return true;
    } catch {
      return false;
    }
  }
}

/** The braces put it beside the user's state, into one slot of a Redis Cluster. */
function snapshotKey(userId: string, id: string): string {
  return `{u${userId}}:feed:${id}`;
}

/** Outlives the user by a day: it does not name them. */
function erasureKey(userId: string): string {
  const { lo, hi } = hash64(userId);
  return `erased:${hi.toString(16)}-${lo.toString(16)}`;
}
