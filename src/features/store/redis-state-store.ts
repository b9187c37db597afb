// StateStore and SessionStore on Redis: one hash per user, read in one round trip, written by compare-and-set on
// its version, so that patches of two replicas never lose each other. Opened by state-store.ts.
import { Redis } from 'ioredis';
import type { SessionStore, StateStore, UserState, UserStatePatch } from '../../contracts.ts';
import { type Deadline, raceDeadline } from '../../deadline.ts';
import { FeedrankError } from '../../errors.ts';
import { isWrongType, redisError } from './redis-errors.ts';
import {
  checkPatch,
  checkPatches,
  fieldsToMerge,
  fieldsToRead,
  mergePatch,
  readState,
} from './state-fields.ts';
import { checkKey } from './storable.ts';

export interface RedisStateStoreOptions {
  redisUrl: string;
  /** A user's state is forgotten this long after its last write. */
  ttlMs: number;
  /** Put before every key. */
  keyPrefix: string;
  commandTimeoutMs?: number;
  connectTimeoutMs?: number;
}

/** Raised when the layout of a key's fields changes: states of the other layout are then not even looked at. */
const LAYOUT = 1;
const BULK_IN_FLIGHT = 500;
/** Compare-and-set tries; each failed round means that another writer got through. */
const WRITE_TRIES = 30;

// KEYS[1] the user's hash; ARGV: expected version ('*' any, '' none), now, ttl, field, value, …
// Answers the new version, or false when another writer was faster.
const WRITE_SCRIPT = `
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local present = redis.call('HGET', KEYS[1], 'v') or ''
if ARGV[1] ~= '*' and ARGV[1] ~= present then return false end
local now = tonumber(ARGV[2])
local version = math.max((tonumber(present) or 0) + 1, now)
local written = {'v', string.format('%.0f', version), 'x', string.format('%.0f', now + tonumber(ARGV[3]))}
for i = 4, #ARGV do written[#written + 1] = ARGV[i] end
redis.call('HSET', KEYS[1], unpack(written))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return written[2]`;

interface ScriptedRedis extends Redis {
  feedrankWrite(key: string, ...args: (string | number | Uint8Array)[]): Promise<string | null>;
}

export class RedisStateStore implements StateStore, SessionStore {
  readonly kind = 'redis';
  readonly #redis: ScriptedRedis;
  readonly #prefix: string;
  readonly #ttlMs: number;
  /** Patches that wait behind a write in flight for the same user. */
  readonly #waiting = new Map<string, Write>();
  readonly #writing = new Set<string>();

  private constructor(options: RedisStateStoreOptions) {
    this.#prefix = options.keyPrefix;
    this.#ttlMs = options.ttlMs;
    this.#redis = new Redis(options.redisUrl, {
      lazyConnect: true,
      enableAutoPipelining: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 1,
      commandTimeout: options.commandTimeoutMs ?? 2_000,
      connectTimeout: options.connectTimeoutMs ?? 3_000,
      keepAlive: 10_000,
      retryStrategy: (attempt) => Math.min(2_000, 25 * 2 ** Math.min(attempt, 7)) * (0.5 + Math.random() / 2),
      reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
      connectionName: 'feedrank',
    }) as ScriptedRedis;
    this.#redis.defineCommand('feedrankWrite', { numberOfKeys: 1, lua: WRITE_SCRIPT });
    // Each failed call reports its own error; without a handler a lost connection would be logged at every retry.
    this.#redis.on('error', () => {});
  }

  /** Tries to connect once. When that fails the store still opens, fails fast and reconnects by itself. */
  static async open(options: RedisStateStoreOptions): Promise<RedisStateStore> {
    let protocol: string;
    try {
      protocol = new URL(options.redisUrl).protocol;
    } catch {
      protocol = '';
    }
    if (!['redis:', 'rediss:', 'unix:'].includes(protocol)) {
      throw new FeedrankError('invalid_input', 'REDIS_URL: must be redis://host:port/db or rediss://…', {
        fields: [{ field: 'REDIS_URL', reason: 'must be redis://host:port/db or rediss://…' }],
      });
    }
    const store = new RedisStateStore(options);
    await store.#redis.connect().catch(() => {});
    return store;
  }

  async getState(userId: string, towerVersion: string, deadline: Deadline): Promise<UserState | null> {
    checkKey(userId, 'userId');
    const fields = fieldsToRead(towerVersion);
    const values = await this.#fields(userId, fields, deadline);
    return readState(userId, towerVersion, (field) => values[fields.indexOf(field)], Date.now());
  }

  async putState(userId: string, patch: UserStatePatch, deadline: Deadline): Promise<void> {
    checkPatch(userId, patch);
    const behind = this.#waiting.get(userId);
    if (behind) {
      behind.patches.push(patch);
      return behind.done;
    }
    if (!this.#writing.has(userId)) return this.#writeInTurn(userId, [patch], deadline);
    const write = new Write([patch], deadline);
    this.#waiting.set(userId, write);
    return write.done;
  }

  async putStates(
    patches: readonly (UserStatePatch & { userId: string })[],
    deadline: Deadline,
  ): Promise<void> {
    checkPatches(patches);
    for (let at = 0; at < patches.length; at += BULK_IN_FLIGHT) {
      const batch = patches.slice(at, at + BULK_IN_FLIGHT);
      await Promise.all(batch.map((patch) => this.putState(patch.userId, patch, deadline)));
    }
  }

  async eraseState(userId: string, deadline: Deadline): Promise<void> {
    checkKey(userId, 'userId');
    await this.#call('erasing user state', deadline, () => this.#redis.unlink(this.#userKey(userId)));
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
    if (this.#redis.status === 'ready') await this.#redis.quit().catch(() => {});
    this.#redis.disconnect();
  }

  /** Writes, then whatever came in for the same user meanwhile, in one go. */
  async #writeInTurn(userId: string, patches: UserStatePatch[], deadline: Deadline): Promise<void> {
    this.#writing.add(userId);
    try {
      await this.#write(userId, patches, deadline);
    } finally {
      this.#writing.delete(userId);
      const next = this.#waiting.get(userId);
      if (next) {
        this.#waiting.delete(userId);
        this.#writeInTurn(userId, next.patches, next.deadline).then(next.resolve, next.reject);
      }
    }
  }

  async #write(userId: string, patches: UserStatePatch[], deadline: Deadline): Promise<void> {
    const needed = [...new Set(patches.flatMap(fieldsToMerge))];
    for (let attempt = 0; attempt < WRITE_TRIES; attempt++) {
      const present = new Map<string, Uint8Array | null>();
      let expected = '*';
      if (needed.length > 0) {
        const values = await this.#fields(userId, ['v', ...needed], deadline);
        expected = values[0]?.toString() ?? '';
        needed.forEach((field, i) => {
          present.set(field, values[i + 1]);
        });
      }
      const nowMs = Date.now();
      for (const patch of patches) {
        for (const [field, value] of mergePatch(patch, (name) => present.get(name) ?? null, nowMs)) {
          present.set(field, value);
        }
      }
      const args: (string | number | Uint8Array)[] = [expected, nowMs, this.#ttlMs];
      for (const [field, value] of present) if (value) args.push(field, value);
      const version = await this.#call('storing user state', deadline, () =>
        this.#redis.feedrankWrite(this.#userKey(userId), ...args),
      );
      if (version !== null) return;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 4 * (attempt + 1)));
    }
    throw new FeedrankError('conflict', 'storing user state: too many writers of one user at once');
  }

  async #fields(userId: string, fields: string[], deadline: Deadline): Promise<(Buffer | null)[]> {
    try {
      return await this.#call('reading user state', deadline, () =>
        this.#redis.hmgetBuffer(this.#userKey(userId), ...fields),
      );
    } catch (error) {
      if (isWrongType(error)) return fields.map(() => null);
      throw error;
    }
  }

  async #call<T>(what: string, deadline: Deadline, command: () => Promise<T>): Promise<T> {
    if (deadline.remainingMs() <= 0) throw new FeedrankError('timeout', `${what}: no time left`);
    const work = command();
    // The command may fail after the deadline has answered for it.
    work.catch(() => {});
    try {
      return await raceDeadline(work, deadline, what);
    } catch (error) {
      throw redisError(error, what);
    }
  }

  /** The braces keep one user's keys in one slot of a cluster. */
  #userKey(userId: string): string {
    return `${this.#prefix}state${LAYOUT}:{u:${userId}}`;
  }

  #sessionKey(key: string): string {
    return `${this.#prefix}session:${key}`;
  }
}

/** Patches of one user that are written together. */
class Write {
  readonly patches: UserStatePatch[];
  readonly deadline: Deadline;
  readonly done: Promise<void>;
  resolve: () => void = () => {};
  reject: (error: unknown) => void = () => {};

  constructor(patches: UserStatePatch[], deadline: Deadline) {
    this.patches = patches;
    this.deadline = deadline;
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}
