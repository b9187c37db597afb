// What a replica last read or wrote of the users it serves, as the store's own bytes: what a feed is made from while the
// store does not answer. Written and read by redis-state-store.ts.
import { LruMap } from '../../lru-map.ts';

/** Users kept: some 2 kB each, at most 13 kB (a thousand posts seen). */
const USERS = 5_000;

export interface KnownBytes {
  record: Buffer;
  seen: Buffer | null;
}

export class LastKnownStates {
  readonly #users = new LruMap<KnownBytes>(USERS);

  /** Copies: what a client reads lies in the large buffer of its connection. */
  keep(userId: string, record: Uint8Array, seen: Uint8Array | null): void {
    this.#users.set(userId, { record: Buffer.from(record), seen: seen && Buffer.from(seen) });
  }

  get(userId: string): KnownBytes | undefined {
    return this.#users.get(userId);
  }

  forget(userId: string): void {
    this.#users.delete(userId);
  }
}
