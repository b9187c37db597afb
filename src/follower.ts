// Follows the committed changes for one generation and hands them to the applier, in order: from the SQL feed, and from
// the change stream while an updater fills it. One per generation; stopped when the generation is drained.
import type { Applier, LiveTable } from './applier.ts';
import type { Change, ChangeStream, Position, SqlChangeFeed } from './contracts.ts';
import { deadlineIn } from './deadline.ts';
import { FeedrankError, messageOf } from './errors.ts';
import { SequenceWindow } from './sequence-window.ts';

const READ_LIMIT = 2000;
const READ_TIMEOUT_MS = 5000;
const JOIN_TIMEOUT_MS = 500;
const MAX_BACKOFF_MS = 5000;
/** How often an idle follower asks whether an updater leads. */
const ASK_MS = 500;

/** A replica that has not read the change feed to its end for so long says so in its answers. */
export const STALE_MS = 5000;

export interface FollowerOptions {
  changes: SqlChangeFeed;
  /** Absent or null: the SQL feed only. */
  stream?: ChangeStream | null;
  applier: Pick<Applier, 'applyFromFeed' | 'applyForeignUsers'>;
  table: LiveTable;
  from: Position;
  /** Also apply the users' part: what other replicas committed, or this one before it died. An updater does it instead. */
  userState: boolean;
  pollMs: number;
  onApplied?: (kinds: string[]) => void;
  onFailure?: (reason: string) => void;
  /** The changes after `position` are not kept any more: this table must be loaded anew. */
  onExpired?: () => void;
}

export class Follower {
  readonly #options: FollowerOptions;
  readonly #counted = new SequenceWindow();
  #position: Position;
  /** Where in the stream this follower reads; null while it reads SQL. */
  #cursor: Position | null = null;
  /** A cursor to go on from as soon as the SQL feed has been read to `horizon`: all before the cursor is then known. */
  #joining: { cursor: Position; horizon: Position } | null = null;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  /** Where the users' part stands when it fell behind the catalogue's: their store was down. */
  #usersFrom: Position | null = null;
  #running: Promise<void> | undefined;
  #stopped = false;
  #wake: (() => void) | undefined;
  /** On performance.now()'s clock: setting the wall clock must not make the answers look stale. */
  #lastReadAtMs = performance.now();

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#position = options.from;
  }

  /** Position of the SQL feed up to which every change has been applied. */
  get position(): Position {
    return this.#position;
  }

  get source(): 'sql' | 'stream' {
    return this.#cursor === null ? 'sql' : 'stream';
  }

  /** Milliseconds since everything committed was known to be applied. */
  get ageMs(): number {
    return performance.now() - this.#lastReadAtMs;
  }

  /** Applies everything committed so far, from SQL. Rejects when the feed cannot be read. */
  async catchUp(onProgress?: (applied: number) => void): Promise<void> {
    let applied = 0;
    for (;;) {
      const count = await this.#readSql();
      applied += count;
      onProgress?.(applied);
      if (count === 0 || this.#stopped) return;
    }
  }

  start(): void {
    this.#running ??= this.#loop();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    await this.#running;
  }

  async #loop(): Promise<void> {
    let failures = 0;
    while (!this.#stopped) {
      let waitMs = this.#options.pollMs;
      try {
        if ((await this.#step()) >= READ_LIMIT) waitMs = 0;
        failures = 0;
      } catch (error) {
        if (error instanceof FeedrankError && error.code === 'expired_cursor' && this.#options.onExpired) {
          this.#stopped = true;
          this.#options.onExpired();
          return;
        }
        failures++;
        // Full jitter: replicas that lost the same database do not come back in step.
        waitMs = Math.random() * Math.min(MAX_BACKOFF_MS, waitMs * 2 ** failures);
        this.#options.onFailure?.(messageOf(error));
      }
      if (waitMs > 0 && !this.#stopped) await this.#sleep(waitMs);
    }
  }

  async #step(): Promise<number> {
    await this.#catchUpUsers();
    if (this.#cursor !== null) {
      try {
        return await this.#readStream(this.#cursor);
      } catch (error) {
        // Trimmed, emptied, or out of reach: SQL has every change since the last mark.
        this.#cursor = null;
        if (!(error instanceof FeedrankError)) throw error;
      }
    }
    const count = await this.#readSql();
    if (count < READ_LIMIT) await this.#join().catch(() => {});
    return count;
  }

  async #readSql(): Promise<number> {
    const { changes, userState } = this.#options;
    const startedAtMs = performance.now();
    const read = await changes.read(this.#position, READ_LIMIT, deadlineIn(READ_TIMEOUT_MS));
    await this.#apply(read.changes);
    if (userState && this.#usersFrom === null) await this.#applyUsers(read.changes);
    this.#position = read.position;
    if (read.changes.length < READ_LIMIT) this.#lastReadAtMs = startedAtMs;
    return read.changes.length;
  }

  /** Posts must not wait for the store of the users: what it did not take is read again when it is back. */
  async #applyUsers(changes: readonly Change[]): Promise<void> {
    try {
      await this.#options.applier.applyForeignUsers(changes);
    } catch (error) {
      this.#usersFrom = this.#position;
      this.#options.onFailure?.(messageOf(error));
    }
  }

  async #catchUpUsers(): Promise<void> {
    if (this.#usersFrom === null) return;
    const { changes, applier, onFailure } = this.#options;
    try {
      const read = await changes.read(this.#usersFrom, READ_LIMIT, deadlineIn(READ_TIMEOUT_MS));
      await applier.applyForeignUsers(read.changes);
      this.#usersFrom = read.position >= this.#position ? null : read.position;
    } catch (error) {
      onFailure?.(messageOf(error));
    }
  }

  async #readStream(cursor: Position): Promise<number> {
    const stream = this.#options.stream as ChangeStream;
    // Before the read: what the stream was complete with is then in what is read, however long this process slept.
    const completeAt = this.#mayAsk() ? await stream.completeAt(deadlineIn(READ_TIMEOUT_MS)) : undefined;
    const read = await stream.read(cursor, READ_LIMIT, deadlineIn(READ_TIMEOUT_MS));
    await this.#apply(read.changes);
    this.#cursor = read.position;
    if (read.mark) this.#knownAt(read.mark.atMs, read.mark.position);
    if (read.position !== cursor || completeAt === undefined) return read.changes.length;
    if (completeAt === null) this.#cursor = null;
    else this.#knownAt(completeAt);
    return read.changes.length;
  }

  /** `atMs`: wall clock, of the machine that the updater runs on. */
  #knownAt(atMs: number, position = this.#position): void {
    const ageMs = Math.max(0, Date.now() - atMs);
    this.#lastReadAtMs = Math.max(this.#lastReadAtMs, performance.now() - ageMs);
    if (position > this.#position) this.#position = position;
  }

  /**
   * From SQL to the stream without a gap: take the stream's end, then a position after everything committed by then;
   * once SQL is read up to that position, what lies before the cursor is applied. What both give is counted once.
   */
  async #join(): Promise<void> {
    const { stream, changes } = this.#options;
    if (!stream) return;
    if (this.#joining === null) {
      if (!this.#mayAsk()) return;
      // SQL waits for it: a stream that hangs must not hold up the changes.
      const deadline = deadlineIn(JOIN_TIMEOUT_MS);
      if ((await stream.completeAt(deadline)) === null) return;
      const cursor = await stream.position(deadline);
      this.#joining = { cursor, horizon: await changes.horizon(deadline) };
    }
    if (this.#position < this.#joining.horizon) return;
    this.#cursor = this.#joining.cursor;
    this.#joining = null;
  }

  #mayAsk(): boolean {
    if (performance.now() - this.#askedAtMs < ASK_MS) return false;
    this.#askedAtMs = performance.now();
    return true;
  }

  async #apply(changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return;
    const { applier, table, onApplied } = this.#options;
    await applier.applyFromFeed(changes, table, this.#counted);
    onApplied?.(changes.map((change) => change.kind));
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
