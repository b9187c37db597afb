// StateStore and SessionStore on Redis: two values a user (the record, the seen posts), read in one round trip, written
// by compare-and-set on the record's version, so that patches of two replicas never lose each other. Opened by
// state-store.ts.
import type { SessionStore, StateStore, UserState, UserStatePatch } from '../../contracts.ts';
import { type Deadline, raceDeadline } from '../../deadline.ts';
import { FeedrankError } from '../../errors.ts';
import { SEEN_TTL_MS } from '../../vocabulary.ts';
import { LastKnownStates } from './last-known-states.ts';
import { NewRecords } from './new-records.ts';
import { closeRedis, connectOnce, openRedis, type RedisTarget } from './redis-client.ts';
import { isWrongType, redisError } from './redis-errors.ts';
import {
  applyPatch,
  checkPatch,
  checkPatches,
  isSeenOnly,
  nextVersion,
  readState,
  SEEN_FIELD,
  type StateFields,
} from './state-fields.ts';
import { HEAD_BYTES, packFields, packHead, packRecord, unpackHead, unpackRecord } from './state-record.ts';
import { checkKey } from './storable.ts';
import { defineUserWrite, type UserWriter } from './user-write-script.ts';
import { WaitingWrite } from './waiting-write.ts';

export interface RedisStateStoreOptions {
  redis: RedisTarget;
  /** A user's state is forgotten this long after its last write. */
  ttlMs: number;
  /** Put before every key. */
  keyPrefix: string;
}

/** Raised when the layout of the values changes: states of the other layout are then not even looked at. */
const LAYOUT = 3;
const BULK_IN_FLIGHT = 500;
/** Compare-and-set tries; each failed round means that another writer got through. */
const WRITE_TRIES = 30;
/** With so much time left a call needs no timer of its own: the client gives a command up far earlier. */
const UNTIMED_MS = 10_000;

export class RedisStateStore implements StateStore, SessionStore {
  readonly kind = 'redis';
  readonly #redis: UserWriter;
  readonly #prefix: string;
  readonly #ttlMs: number;
  /** Patches that wait behind a write in flight for the same user. */
  readonly #waiting = new Map<string, WaitingWrite>();
  readonly #writing = new Set<string>();
  readonly #lastKnown = new LastKnownStates();
  readonly #newRecords: NewRecords;
  /** Whether bulk writes still find nothing there: an empty store is filled without reading it first. */
  #isFilling = true;

  private constructor(options: RedisStateStoreOptions) {
    this.#prefix = options.keyPrefix;
    this.#ttlMs = options.ttlMs;
    this.#redis = defineUserWrite(openRedis(options.redis, 'state'));
    this.#newRecords = new NewRecords(this.#redis, {
      ttlMs: options.ttlMs,
      seenTtlMs: Math.min(options.ttlMs, SEEN_TTL_MS),
      oneByOne: 'cluster' in options.redis,
    });
  }

  /** Tries to connect once. When that fails the store still opens, fails fast and reconnects by itself. */
  static async open(options: RedisStateStoreOptions): Promise<RedisStateStore> {
    const store = new RedisStateStore(options);
    await connectOnce(store.#redis);
    return store;
  }

  async getState(userId: string, towerVersion: string, deadline: Deadline): Promise<UserState | null> {
    checkKey(userId, 'userId');
    const [record, seen] = await this.#values(userId, deadline);
    if (record) this.#lastKnown.keep(userId, record, seen);
    else this.#lastKnown.forget(userId);
    return readState(userId, towerVersion, unpackRecord(record), seen, Date.now());
  }

  /** What this process last read or wrote of the user; null where it knows of nothing. */
  lastKnown(userId: string, towerVersion: string): UserState | null {
    const known = this.#lastKnown.get(userId);
    return known ? readState(userId, towerVersion, unpackRecord(known.record), known.seen, Date.now()) : null;
  }

  /** The user was changed elsewhere: what is known here is not true any more. */
  forgetKnown(userId: string): void {
    this.#lastKnown.forget(userId);
  }

  async putState(userId: string, patch: UserStatePatch, deadline: Deadline): Promise<void> {
    checkPatch(userId, patch);
    await this.#put(userId, patch, deadline, false);
  }

  async putStates(
    patches: readonly (UserStatePatch & { userId: string })[],
    deadline: Deadline,
  ): Promise<void> {
    checkPatches(patches);
    for (let at = 0; at < patches.length; at += BULK_IN_FLIGHT) {
      const batch = patches.slice(at, at + BULK_IN_FLIGHT);
      const written = await Promise.all(
        batch.map((patch) => this.#put(patch.userId, patch, deadline, this.#isFilling)),
      );
      this.#isFilling &&= written.filter((atOnce) => atOnce).length * 2 > batch.length;
    }
  }

  async eraseState(userId: string, deadline: Deadline): Promise<void> {
    checkKey(userId, 'userId');
    const keys = this.#userKeys(userId);
    this.#lastKnown.forget(userId);
    await this.#call('erasing user state', deadline, () => this.#redis.unlink(...keys));
  }

  async get(key: string, deadline: Deadline): Promise<Uint8Array | null> {
    checkKey(key, 'key');
    try {
      const bytes = await this.#call('reading a session', deadline, () =>
        this.#redis.getBuffer(this.#sessionKey(key)),
      );
      return bytes && new Uint8Array(bytes);
    } catch (error) {
      if (isWrongType(error)) return null;
      throw error;
    }
  }

  async set(key: string, value: Uint8Array, ttlMs: number, deadline: Deadline): Promise<void> {
    checkKey(key, 'key');
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    await this.#call('storing a session', deadline, () =>
      this.#redis.set(this.#sessionKey(key), bytes, 'PX', Math.max(1, Math.ceil(ttlMs))),
    );
  }

  async ping(deadline: Deadline): Promise<void> {
    await this.#call('state store ping', deadline, () => this.#redis.ping());
  }

  async close(): Promise<void> {
    await closeRedis(this.#redis);
  }

  /** True when it was written at the first try. Patches of one user are written one after the other. */
  async #put(
    userId: string,
    patch: UserStatePatch,
    deadline: Deadline,
    expectNothing: boolean,
  ): Promise<boolean> {
    const behind = this.#waiting.get(userId);
    if (behind) {
      behind.patches.push(patch);
      return behind.done;
    }
    if (!this.#writing.has(userId)) return this.#writeInTurn(userId, [patch], deadline, expectNothing);
    const write = new WaitingWrite([patch], deadline);
    this.#waiting.set(userId, write);
    return write.done;
  }

  /** Writes, then whatever came in for the same user meanwhile, in one go. */
  async #writeInTurn(
    userId: string,
    patches: UserStatePatch[],
    deadline: Deadline,
    expectNothing: boolean,
  ): Promise<boolean> {
    this.#writing.add(userId);
    try {
      return await this.#write(userId, patches, deadline, expectNothing);
    } finally {
      this.#writing.delete(userId);
      const next = this.#waiting.get(userId);
      if (next) {
        this.#waiting.delete(userId);
        this.#writeInTurn(userId, next.patches, next.deadline, false).then(next.resolve, next.reject);
      }
    }
  }

  async #write(
    userId: string,
    patches: UserStatePatch[],
    deadline: Deadline,
    expectNothing: boolean,
  ): Promise<boolean> {
    if (expectNothing && (await this.#writeNew(userId, patches, deadline))) return true;
    for (let attempt = 0; attempt < WRITE_TRIES; attempt++) {
      const [bytes, seen] = await this.#values(userId, deadline);
      if (await this.#compareAndSet(userId, patches, bytes, seen, deadline)) {
        return attempt === 0 && !expectNothing;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 4 * (attempt + 1)));
    }
    throw new FeedrankError('conflict', 'storing user state: too many writers of one user at once');
  }

  /** Writes what the patches make of nothing, where there is nothing; false where there is something. */
  async #writeNew(userId: string, patches: readonly UserStatePatch[], deadline: Deadline): Promise<boolean> {
    const nowMs = Date.now();
    const fields: StateFields = new Map();
    for (const patch of patches) applyPatch(patch, fields, nowMs);
    const seen = fields.get(SEEN_FIELD) ?? null;
    fields.delete(SEEN_FIELD);
    const record = packRecord({ version: nextVersion(null), expiresAtMs: nowMs + this.#ttlMs, fields });
    const keys = this.#userKeys(userId);
    const written = await this.#call('storing user state', deadline, () =>
      this.#newRecords.add(keys, record, seen),
    );
    if (written) this.#lastKnown.forget(userId);
    return written;
  }

  /** False when the record is no longer what was read. */
  async #compareAndSet(
    userId: string,
    patches: readonly UserStatePatch[],
    bytes: Buffer | null,
    seen: Buffer | null,
    deadline: Deadline,
  ): Promise<boolean> {
    const nowMs = Date.now();
    const stored = unpackRecord(bytes);
    const alive = stored && stored.expiresAtMs > nowMs ? stored : null;
    const fields: StateFields = alive?.fields ?? new Map();
    // Seen posts outlive a record that was evicted.
    if (seen && (alive || !stored)) fields.set(SEEN_FIELD, seen);
    for (const patch of patches) applyPatch(patch, fields, nowMs);
    const seenNow = fields.get(SEEN_FIELD);
    fields.delete(SEEN_FIELD);
    const version = nextVersion(unpackHead(bytes)?.version ?? null);
    const head = packHead({ version, expiresAtMs: nowMs + this.#ttlMs });
    const isKept = alive !== null && patches.every(isSeenOnly);
    const isSeenNew = seenNow !== undefined && seenNow !== seen;
    const parts = isKept ? null : packFields(fields);
    const written = await this.#call('storing user state', deadline, () =>
      this.#redis.feedrankWrite(
        ...this.#userKeys(userId),
        bytes?.subarray(0, HEAD_BYTES) ?? '',
        head,
        isKept ? 0 : 1,
        parts ?? '',
        isSeenNew ? 1 : 0,
        isSeenNew ? seenNow : '',
        this.#ttlMs,
        Math.min(this.#ttlMs, SEEN_TTL_MS),
      ),
    );
    if (written !== 1) return false;
    const record = parts ? Buffer.concat([head, parts]) : bytes;
    // Only of users that are served here: a rebuild of everybody would push them out.
    if (record && this.#lastKnown.get(userId)) this.#lastKnown.keep(userId, record, seenNow ?? null);
    return true;
  }

  /** The record and the seen posts; a value of another type is null. */
  #values(userId: string, deadline: Deadline): Promise<(Buffer | null)[]> {
    return this.#call('reading user state', deadline, () => this.#redis.mgetBuffer(this.#userKeys(userId)));
  }

  async #call<T>(what: string, deadline: Deadline, command: () => Promise<T>): Promise<T> {
    if (deadline.remainingMs() <= 0) throw new FeedrankError('timeout', `${what}: no time left`);
    const work = command();
    // The command may fail after the deadline has answered for it.
    work.catch(() => {});
    try {
      return await (deadline.remainingMs() > UNTIMED_MS ? work : raceDeadline(work, deadline, what));
    } catch (error) {
      throw redisError(error, what);
    }
  }

  /**
   * The braces keep one user's keys in one slot of a Cluster, whatever the id begins with. Short: a key of 15 bytes or
   * fewer takes 16 bytes of Redis less than one of 16.
   */
  #userKeys(userId: string): [record: string, seen: string] {
    const record = `${this.#prefix}fr${LAYOUT}{u${userId}}`;
    return [record, `${record}s`];
  }

  #sessionKey(key: string): string {
    return `${this.#prefix}feedrank:session:${key}`;
  }
}
