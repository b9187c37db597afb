// Follows the change feed for one generation: reads committed changes after a position and hands them to the
// applier, in order. One per generation; stopped when the generation is drained.
import type { Applier, LiveTable } from './applier.ts';
import type { ChangeFeed, Position } from './contracts.ts';
import { deadlineIn } from './deadline.ts';
import { messageOf } from './errors.ts';

const READ_LIMIT = 2000;
const READ_TIMEOUT_MS = 5000;
const MAX_BACKOFF_MS = 5000;

export interface FollowerOptions {
  changes: ChangeFeed;
  applier: Applier;
  table: LiveTable;
  from: Position;
  /** Also apply the users' part: what other replicas committed, or this one before it died. */
  userState: boolean;
  pollMs: number;
  onApplied?: (kinds: string[]) => void;
  onFailure?: (reason: string) => void;
}

export class Follower {
  readonly #options: FollowerOptions;
  #position: Position;
  #running: Promise<void> | undefined;
  #stopped = false;
  #wake: (() => void) | undefined;
  #lastReadAtMs = 0;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#position = options.from;
  }

  /** Every change up to here has been applied. */
  get position(): Position {
    return this.#position;
  }

  /** Milliseconds since the feed was last read to its end. */
  get ageMs(): number {
    return Date.now() - this.#lastReadAtMs;
  }

  /** Applies everything committed so far. Rejects when the feed cannot be read. */
  async catchUp(onProgress?: (applied: number) => void): Promise<void> {
    let applied = 0;
    for (;;) {
      const count = await this.#step();
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
        failures++;
        // Full jitter: replicas that lost the same database do not come back in step.
        waitMs = Math.random() * Math.min(MAX_BACKOFF_MS, waitMs * 2 ** failures);
        this.#options.onFailure?.(messageOf(error));
      }
      if (waitMs > 0 && !this.#stopped) await this.#sleep(waitMs);
    }
  }

  async #step(): Promise<number> {
    const { changes, applier, table, userState } = this.#options;
    const read = await changes.read(this.#position, READ_LIMIT, deadlineIn(READ_TIMEOUT_MS));
    if (read.changes.length > 0) {
      await applier.applyFromFeed(read.changes, table, userState);
      this.#options.onApplied?.(read.changes.map((change) => change.kind));
    }
    this.#position = read.position;
    this.#lastReadAtMs = Date.now();
    return read.changes.length;
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
