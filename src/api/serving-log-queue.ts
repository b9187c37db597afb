// Serving records on their way to the log: bounded in memory, flushed in batches after the answers, losses counted.
// Erasing a user takes that user's records out before they are written.
import type { ServingLog, ServingRecord } from '../contracts.ts';
import { deadlineIn } from '../deadline.ts';
import { rememberOrigin } from '../tracing.ts';

/**
 * Records of one write: 4 kB each, packed on the event loop in 10 µs, so a batch must not be long. On PGlite a record costs
 * .08 CPU-ms in batches of 60 and .14 in batches of 20.
 */
const BATCH = 60;
const FLUSH_AFTER_MS = 100;
const WRITE_MS = 5000;
/** A failed batch is tried again this many times before its records count as lost. */
const ATTEMPTS = 3;
const RETRY_AFTER_MS = 500;
/**
 * Records kept while the log fails: some 20 kB each on the heap, and what lies there is copied and marked beside the
 * feeds that go on.
 */
const KEPT_WHILE_FAILING = 1000;
/** Losses are told together: each costs a log line with its error. */
const TELL_EVERY_MS = 1000;

const FULL = new Error('the queue is full');

export class ServingLogQueue {
  readonly #log: Pick<ServingLog, 'append'>;
  readonly #capacity: number;
  readonly #onLoss: (records: number, error: unknown) => void;
  #waiting: ServingRecord[] = [];
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  /** Of the batch that is tried. */
  #failures = 0;
  /** Since the log last took something. */
  #isFailing = false;
  #untold = 0;
  #telling: NodeJS.Timeout | undefined;

  constructor(
    log: Pick<ServingLog, 'append'>,
    capacity: number,
    onLoss: (records: number, error: unknown) => void,
  ) {
    this.#log = log;
    this.#capacity = capacity;
    this.#onLoss = onLoss;
  }

  get size(): number {
    return this.#waiting.length;
  }

  push(record: ServingRecord): void {
    const room = this.#isFailing ? Math.min(KEPT_WHILE_FAILING, this.#capacity) : this.#capacity;
    if (this.#waiting.length >= room) {
      this.#lose(1, FULL);
      return;
    }
    rememberOrigin(record);
    this.#waiting.push(record);
    // A log that just failed is not asked again by every page.
    if (this.#waiting.length >= BATCH && !this.#isFailing) void this.flush();
    else this.#schedule(FLUSH_AFTER_MS);
  }

  /** Drops what waits for the log of this user and waits for the batch that is being written. */
  async forget(userId: string): Promise<void> {
    const drop = () => {
      this.#waiting = this.#waiting.filter((record) => record.userId !== userId);
    };
    drop();
    await this.#flushing;
    // A batch that failed came back to the queue.
    drop();
  }

  /** Writes batches until nothing waits or one fails. */
  flush(): Promise<void> {
    this.#flushing ??= this.#run().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  /** Writes what is left, at shutdown; what the log does not take is counted as lost. */
  async close(): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS && this.#waiting.length > 0; attempt++) await this.flush();
    clearTimeout(this.#timer);
    if (this.#waiting.length > 0) this.#lose(this.#waiting.length, new Error('the service is shutting down'));
    this.#waiting = [];
    clearTimeout(this.#telling);
    this.#tell(FULL);
  }

  async #run(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH);
      try {
        await this.#log.append(batch, deadlineIn(WRITE_MS));
        this.#failures = 0;
        this.#isFailing = false;
      } catch (error) {
        this.#isFailing = true;
        this.#failures++;
        if (this.#failures >= ATTEMPTS) {
          this.#failures = 0;
          this.#lose(batch.length, error);
        } else {
          this.#waiting.unshift(...batch);
        }
        // In place of the sooner one that a page has set meanwhile.
        clearTimeout(this.#timer);
        this.#timer = undefined;
        return this.#schedule(RETRY_AFTER_MS);
      }
    }
  }

  /** The first loss is told at once, those that follow every second. */
  #lose(records: number, error: unknown): void {
    this.#untold += records;
    if (this.#telling !== undefined) return;
    this.#tell(error);
    this.#telling = setTimeout(() => {
      this.#telling = undefined;
      this.#tell(error);
    }, TELL_EVERY_MS);
    this.#telling.unref();
  }

  #tell(error: unknown): void {
    if (this.#untold > 0) this.#onLoss(this.#untold, error);
    this.#untold = 0;
  }

  #schedule(afterMs: number): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      // Also where a flush is under way: what it leaves sets the next one.
      this.#timer = undefined;
      void this.flush();
    }, afterMs);
    this.#timer.unref();
  }
}
