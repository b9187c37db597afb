// Serving records on their way to the log: bounded in memory, flushed in batches after the answers, losses counted.
// Erasing a user takes that user's records out before they are written.
import type { ServingLog, ServingRecord } from '../contracts.ts';
import { deadlineIn } from '../deadline.ts';
import { rememberOrigin } from '../tracing.ts';

/** Records of one write: some 7 kB of JSON each, made on the event loop, so a batch must not be long. */
const BATCH = 20;
const FLUSH_AFTER_MS = 100;
const WRITE_MS = 5000;
/** A failed batch is tried again this many times before its records count as lost. */
const ATTEMPTS = 3;
const RETRY_AFTER_MS = 500;

export class ServingLogQueue {
  readonly #log: Pick<ServingLog, 'append'>;
  readonly #capacity: number;
  readonly #onLoss: (records: number, error: unknown) => void;
  #waiting: ServingRecord[] = [];
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  #failures = 0;

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
    if (this.#waiting.length >= this.#capacity) {
      this.#onLoss(1, new Error('the queue is full'));
      return;
    }
    rememberOrigin(record);
    this.#waiting.push(record);
    if (this.#waiting.length >= BATCH) void this.flush();
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
    if (this.#waiting.length > 0)
      this.#onLoss(this.#waiting.length, new Error('the service is shutting down'));
    this.#waiting = [];
  }

  async #run(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH);
      try {
        await this.#log.append(batch, deadlineIn(WRITE_MS));
        this.#failures = 0;
      } catch (error) {
        this.#failures++;
        if (this.#failures >= ATTEMPTS) {
          this.#failures = 0;
          this.#onLoss(batch.length, error);
          continue;
        }
        this.#waiting.unshift(...batch);
        return this.#schedule(RETRY_AFTER_MS);
      }
    }
  }

  #schedule(afterMs: number): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => void this.flush(), afterMs);
    this.#timer.unref();
  }
}
