// Opens the online user state: Redis when it is told where, LMDB in the data folder otherwise. compose and the scripts
// call it; nothing outside knows which of the two answers.
import type { SessionStore, StateStore, UserState } from '../../contracts.ts';
import type { Deadline } from '../../deadline.ts';
import { LmdbStateStore } from './lmdb-state-store.ts';
import type { RedisTarget } from './redis-client.ts';
import { RedisStateStore } from './redis-state-store.ts';

export interface OnlineStore extends StateStore, SessionStore {
  readonly kind: 'redis' | 'lmdb';
  /** Resolves when the store answers; throws FeedrankError `unavailable` or `timeout` otherwise. */
  ping(deadline: Deadline): Promise<void>;
  /** What this process last knew of a user, for the time in which the store does not answer; null where it is nothing. */
  lastKnown?(userId: string, towerVersion: string): UserState | null;
  /** The user was changed: what was last known is not true any more. */
  forgetKnown?(userId: string): void;
  close(): Promise<void>;
}

export interface StateStoreOptions {
  /** Absent = LMDB in `dataDir`. */
  redis?: RedisTarget;
  dataDir: string;
  /** A user's state is forgotten this long after its last write; rebuilt from the SQL store. Default 30 days. */
  ttlMs?: number;
  /** Put before every Redis key. Default `feedrank:`. */
  keyPrefix?: string;
}

const DEFAULT_TTL_MS = 30 * 24 * 3_600_000;

/** A Redis that cannot be reached does not stop the opening: its calls fail with `unavailable` until it is back. */
export async function openStateStore(options: StateStoreOptions): Promise<OnlineStore> {
  const ttlMs = options.ttlMs ?? DEFAULT_TTL_MS;
  if (options.redis) {
    return RedisStateStore.open({
      redis: options.redis,
      ttlMs,
      keyPrefix: options.keyPrefix ?? '',
    });
  }
  return LmdbStateStore.open({ dataDir: options.dataDir, ttlMs });
}
