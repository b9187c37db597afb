// StateStore and SessionStore embedded: LMDB, one record per user holding what the two Redis values hold.
// LMDB is safe for several processes: scripts may write while the service runs. Opened by state-store.ts.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import type { SessionStore, StateStore, UserState, UserStatePatch } from '../../contracts.ts';
import { type Deadline, deadlineIn, raceDeadline } from '../../deadline.ts';
import { type ErrorCode, FeedrankError, messageOf } from '../../errors.ts';
import { applyPatch, checkPatch, checkPatches, nextVersion, readState, SEEN_FIELD } from './state-fields.ts';
import { packRecord, unpackHead, unpackRecord } from './state-record.ts';
import { checkKey, freeBytes } from './storable.ts';

export interface LmdbStateStoreOptions {
  dataDir: string;
  /** A user's state is forgotten this long after its last write. */
  ttlMs: number;
}

/** Users of one transaction in a bulk write: the event loop stands still that long (~20 ms). */
const BULK_ROWS = 1_000;
const SWEEP_EVERY_MS = 30_000;
const SWEEP_RECORDS = 1_000;
const SESSION_HEAD_BYTES = 8;
const FULL_BYTES = 4 * 1024 * 1024;

type Table = Database<Buffer, string>;

export class LmdbStateStore implements StateStore, SessionStore {
  readonly kind = 'lmdb';
  readonly #root: RootDatabase<Buffer, string>;
  readonly #states: Table;
  readonly #sessions: Table;
  readonly #folder: string;
  readonly #ttlMs: number;
  readonly #sweeper: NodeJS.Timeout;
  readonly #sweptTo = new Map<Table, string>();
  #closed = false;

  private constructor(root: RootDatabase<Buffer, string>, folder: string, ttlMs: number) {
    this.#root = root;
    this.#folder = folder;
    this.#ttlMs = ttlMs;
    this.#states = root.openDB<Buffer, string>({ name: 'states', encoding: 'binary' });
    this.#sessions = root.openDB<Buffer, string>({ name: 'sessions', encoding: 'binary' });
    this.#sweeper = setInterval(() => void this.sweep(Date.now()).catch(() => {}), SWEEP_EVERY_MS).unref();
  }

  /** Throws FeedrankError `storage_full`, or `unavailable` when the files cannot be opened. */
  static async open(options: LmdbStateStoreOptions): Promise<LmdbStateStore> {
    const folder = join(options.dataDir, 'state');
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      // Without batching by event turn: its promise has no owner, and a commit that fails would end the process by it.
      const settings = { path: folder, encoding: 'binary' as const, maxDbs: 4, eventTurnBatching: false };
      const root = open<Buffer, string>(settings);
      return new LmdbStateStore(root, folder, options.ttlMs);
    } catch (error) {
      throw lmdbError(error, `opening the user state in ${folder}`, folder);
    }
  }

  async getState(userId: string, towerVersion: string, deadline: Deadline): Promise<UserState | null> {
    checkKey(userId, 'userId');
    this.#check('reading user state', deadline);
    const record = unpackRecord(this.#read('reading user state', this.#states, userId));
    return readState(userId, towerVersion, record, record?.fields.get(SEEN_FIELD) ?? null, Date.now());
  }

  async putState(userId: string, patch: UserStatePatch, deadline: Deadline): Promise<void> {
    checkPatch(userId, patch);
    await this.#write('storing user state', deadline, () => this.#merge(userId, patch, Date.now()));
  }

  async putStates(
    patches: readonly (UserStatePatch & { userId: string })[],
    deadline: Deadline,
  ): Promise<void> {
    checkPatches(patches);
    for (let at = 0; at < patches.length; at += BULK_ROWS) {
      const batch = patches.slice(at, at + BULK_ROWS);
      await this.#write('storing user state', deadline, () => {
        for (const patch of batch) this.#merge(patch.userId, patch, Date.now());
      });
    }
  }

  async eraseState(userId: string, deadline: Deadline): Promise<void> {
    checkKey(userId, 'userId');
    await this.#write('erasing user state', deadline, () => {
      this.#states.removeSync(userId);
    });
  }

  async get(key: string, deadline: Deadline): Promise<Uint8Array | null> {
    checkKey(key, 'key');
    this.#check('reading a session', deadline);
    const record = this.#read('reading a session', this.#sessions, key);
    if (!record || record.length < SESSION_HEAD_BYTES || record.readDoubleLE(0) <= Date.now()) return null;
    return new Uint8Array(record.subarray(SESSION_HEAD_BYTES));
  }

  async set(key: string, value: Uint8Array, ttlMs: number, deadline: Deadline): Promise<void> {
    checkKey(key, 'key');
    const record = Buffer.alloc(SESSION_HEAD_BYTES + value.length);
    record.writeDoubleLE(Date.now() + ttlMs, 0);
    record.set(value, SESSION_HEAD_BYTES);
    await this.#write('storing a session', deadline, () => {
      this.#sessions.putSync(key, record);
    });
  }

  async ping(deadline: Deadline): Promise<void> {
    this.#check('state store ping', deadline);
    this.#read('state store ping', this.#sessions, 'ping');
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#sweeper);
    await this.#root.close();
  }

  /** Removes expired records, a part of each table at a time; returns how many went. Runs by itself. */
  async sweep(nowMs: number): Promise<number> {
    if (this.#closed) return 0;
    const doomed: [Table, string][] = [];
    for (const table of [this.#states, this.#sessions]) {
      const start = this.#sweptTo.get(table);
      let last: string | undefined;
      let count = 0;
      for (const { key, value } of table.getRange({ start, limit: SWEEP_RECORDS })) {
        count++;
        last = key;
        if (isExpired(table === this.#sessions, value, nowMs)) doomed.push([table, key]);
      }
      if (count < SWEEP_RECORDS || last === undefined) this.#sweptTo.delete(table);
      else this.#sweptTo.set(table, last);
    }
    if (doomed.length === 0) return 0;
    let removed = 0;
    await this.#write('removing expired state', deadlineIn(SWEEP_EVERY_MS), () => {
      for (const [table, key] of doomed) {
        // Again inside the transaction: it may have been written meanwhile.
        const value = table.get(key);
        if (value && isExpired(table === this.#sessions, value, nowMs)) {
          table.removeSync(key);
          removed++;
        }
      }
    });
    return removed;
  }

  #merge(userId: string, patch: UserStatePatch, nowMs: number): void {
    const bytes = this.#states.get(userId);
    const stored = unpackRecord(bytes);
    const fields = stored && stored.expiresAtMs > nowMs ? stored.fields : new Map();
    applyPatch(patch, fields, nowMs);
    const version = nextVersion(unpackHead(bytes)?.version ?? null);
    this.#states.putSync(userId, packRecord({ version, expiresAtMs: nowMs + this.#ttlMs, fields }));
  }

  #check(what: string, deadline: Deadline): void {
    if (this.#closed) throw new FeedrankError('unavailable', `${what}: the store is closed`);
    if (deadline.remainingMs() <= 0) throw new FeedrankError('timeout', `${what}: no time left`);
  }

  #read(what: string, table: Table, key: string): Buffer | undefined {
    try {
      return table.get(key);
    } catch (error) {
      throw lmdbError(error, what, this.#folder);
    }
  }

  async #write(what: string, deadline: Deadline, work: () => void): Promise<void> {
    this.#check(what, deadline);
    const written = this.#root.transaction(work);
    // A failed commit rejects this promise and one more that hangs on the error; the process must not end by either,
    // also when the deadline has answered for the write.
    written.catch((error: { commitError?: Promise<unknown> }) => error.commitError?.catch(() => {}));
    try {
      await raceDeadline(Promise.resolve(written), deadline, what);
    } catch (error) {
      throw lmdbError(error, what, this.#folder);
    }
  }
}

function isExpired(session: boolean, record: Buffer, nowMs: number): boolean {
  if (session) return record.length < SESSION_HEAD_BYTES || record.readDoubleLE(0) <= nowMs;
  return (unpackHead(record)?.expiresAtMs ?? 0) <= nowMs;
}

/** A write that the disk took only in part fails as an input/output error: the free room tells it from a bad disk. */
function lmdbError(error: unknown, what: string, folder: string): FeedrankError {
  if (error instanceof FeedrankError) return error;
  const message = messageOf(error);
  const full =
    /no space left|MDB_MAP_FULL|ENOSPC|quota/i.test(message) ||
    (/input\/output|commit failed/i.test(message) && freeBytes(folder) < FULL_BYTES);
  const code: ErrorCode = full ? 'storage_full' : 'unavailable';
  const reason = code === 'storage_full' ? 'the disk is full' : message;
  return new FeedrankError(code, `${what}: ${reason}`, { cause: error });
}
