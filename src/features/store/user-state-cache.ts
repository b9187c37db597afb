// A replica's memory of the user states it read a moment ago, in front of the online store: requests for one user share
// a read. What changes a user drops that entry; a change that this replica does not hear of at once, such as a vector
// that the updater stores, is seen at the end of the entry's short time. Opened by compose.
import type { CacheOutcome } from '../../cache-outcome.ts';
import type { Change, StateStore, UserState, UserStatePatch } from '../../contracts.ts';
import { type Deadline, raceDeadline } from '../../deadline.ts';
import { LruMap } from '../../lru-map.ts';
import type { OnlineStore } from './state-store.ts';

/** Users kept, of up to 30 kB each where much was seen. */
const USERS = 1_000;

interface Entry {
  tower: string;
  untilMs: number;
  state: Promise<UserState | null>;
}

export interface UserStateCacheOptions {
  store: OnlineStore;
  /** How long a state is believed; 0 = not at all. */
  ttlMs: number;
  onRequest: (outcome: CacheOutcome) => void;
}

export class UserStateCache implements OnlineStore {
  readonly kind: OnlineStore['kind'];
  readonly #store: OnlineStore;
  readonly #ttlMs: number;
  readonly #onRequest: (outcome: CacheOutcome) => void;
  readonly #entries = new LruMap<Entry>(USERS);

  constructor({ store, ttlMs, onRequest }: UserStateCacheOptions) {
    this.kind = store.kind;
    this.#store = store;
    this.#ttlMs = ttlMs;
    this.#onRequest = onRequest;
  }

  /** For what computes from a state and writes the result: reads past the memory, writes through it. */
  get direct(): StateStore {
    return {
      getState: (userId, tower, deadline) => this.#store.getState(userId, tower, deadline),
      putState: (userId, patch, deadline) => this.putState(userId, patch, deadline),
      putStates: (patches, deadline) => this.putStates(patches, deadline),
      eraseState: (userId, deadline) => this.eraseState(userId, deadline),
    };
  }

  onChange(change: Change): void {
    if (change.kind === 'user') this.#forget(change.user.id);
    else if (change.kind === 'user_erased') this.#forget(change.userId);
    else if (change.kind === 'edge') this.#forget(change.edge.userId);
    else if (change.kind === 'event') this.#forget(change.event.userId);
  }

  lastKnown(userId: string, towerVersion: string): UserState | null {
    return this.#store.lastKnown?.(userId, towerVersion) ?? null;
  }

  /** `towerVersion` '' is content with the state that any tower's reader left. Shared: not to be changed. */
  async getState(userId: string, towerVersion: string, deadline: Deadline): Promise<UserState | null> {
    if (this.#ttlMs === 0) return this.#store.getState(userId, towerVersion, deadline);
    const known = this.#entries.get(userId);
    if (known && known.untilMs > Date.now() && (towerVersion === '' || known.tower === towerVersion)) {
      this.#onRequest('hit');
      // The read that it waits for ends by the other request's deadline.
      const state = known.state.catch(() => this.#store.getState(userId, towerVersion, deadline));
      return raceDeadline(state, deadline, 'the user store');
    }
    this.#onRequest('miss');
    const state = this.#store.getState(userId, towerVersion, deadline);
    const entry = { tower: towerVersion, untilMs: Date.now() + this.#ttlMs, state };
    this.#entries.set(userId, entry);
    // Neither a failure nor an unknown user is remembered: the next request looks again.
    const forget = () => this.#drop(userId, entry);
    state.then((found) => found === null && forget(), forget);
    return state;
  }

  async putState(userId: string, patch: UserStatePatch, deadline: Deadline): Promise<void> {
    await this.#changing([userId], () => this.#store.putState(userId, patch, deadline));
  }

  async putStates(
    patches: readonly (UserStatePatch & { userId: string })[],
    deadline: Deadline,
  ): Promise<void> {
    const userIds = patches.map(({ userId }) => userId);
    await this.#changing(userIds, () => this.#store.putStates(patches, deadline));
  }

  async eraseState(userId: string, deadline: Deadline): Promise<void> {
    await this.#changing([userId], () => this.#store.eraseState(userId, deadline));
  }

  get(key: string, deadline: Deadline): Promise<Uint8Array | null> {
    return this.#store.get(key, deadline);
  }

  set(key: string, value: Uint8Array, ttlMs: number, deadline: Deadline): Promise<void> {
    return this.#store.set(key, value, ttlMs, deadline);
  }

  ping(deadline: Deadline): Promise<void> {
    return this.#store.ping(deadline);
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** Dropped after the write: what was read while it ran may be of before it, whether or not it succeeded. */
  async #changing(userIds: readonly string[], write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } finally {
      for (const userId of userIds) this.#entries.delete(userId);
    }
  }

  #forget(userId: string): void {
    this.#entries.delete(userId);
    this.#store.forgetKnown?.(userId);
  }

  #drop(userId: string, entry: Entry): void {
    if (this.#entries.get(userId) === entry) this.#entries.delete(userId);
  }
}
