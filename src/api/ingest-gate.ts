// Bounds the bulk writes: so many at once, so many waiting, the next one is refused and told when to come back.
import type { Deadline } from '../deadline.ts';
import { FeedrankError } from '../errors.ts';

export class IngestGate {
  readonly #concurrency: number;
  readonly #queueLimit: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(concurrency: number, queueLimit: number) {
    this.#concurrency = concurrency;
    this.#queueLimit = queueLimit;
  }

  /** @throws FeedrankError `overloaded` when the queue is full or the deadline passed while waiting. */
  async run<T>(deadline: Deadline, work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#concurrency) await this.#wait(deadline);
    this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  #wait(deadline: Deadline): Promise<void> {
    if (this.#waiting.length >= this.#queueLimit) return Promise.reject(overloaded());
    return new Promise((resolve, reject) => {
      const start = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1);
        reject(overloaded());
      }, deadline.remainingMs());
      this.#waiting.push(start);
    });
  }
}

function overloaded(): FeedrankError {
  return new FeedrankError('overloaded', 'too many writes at once', { retryAfterSeconds: 1 });
}
