// Bounds the writes by their items: so many at once, so many waiting, the next request is refused and told when to come
// back. Memory under load is that bound, whatever clients do.
import type { Deadline } from '../deadline.ts';
import { FeedrankError } from '../errors.ts';

interface Waiting {
  weight: number;
  start: () => void;
}

export class IngestGate {
  readonly #concurrency: number;
  readonly #queueLimit: number;
  #running = 0;
  #queued = 0;
  readonly #waiting: Waiting[] = [];

  /** Items worked on at once, and waiting. */
  constructor(concurrency: number, queueLimit: number) {
    this.#concurrency = concurrency;
    this.#queueLimit = queueLimit;
  }

  /** Items that wait. */
  get queued(): number {
    return this.#queued;
  }

  /**
   * `weight` is the number of items; a request heavier than all that may run at once runs alone.
   * @throws FeedrankError `overloaded` when the queue is full or the deadline passed while waiting.
   */
  async run<T>(deadline: Deadline, work: () => Promise<T>, weight = 1): Promise<T> {
    if (this.#waiting.length > 0 || !this.#fits(weight)) await this.#wait(deadline, weight);
    else this.#running += weight;
    try {
      return await work();
    } finally {
      this.#running -= weight;
      this.#startNext();
    }
  }

  #fits(weight: number): boolean {
    return this.#running === 0 || this.#running + weight <= this.#concurrency;
  }

  #startNext(): void {
    while (this.#waiting.length > 0 && this.#fits(this.#waiting[0].weight)) {
      const next = this.#waiting.shift() as Waiting;
      this.#queued -= next.weight;
      this.#running += next.weight;
      next.start();
    }
  }

  #wait(deadline: Deadline, weight: number): Promise<void> {
    if (this.#queued + weight > this.#queueLimit) return Promise.reject(overloaded());
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        weight,
        start: () => {
          clearTimeout(timer);
          resolve();
        },
      };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        this.#queued -= weight;
        reject(overloaded());
        this.#startNext();
      }, deadline.remainingMs());
      this.#waiting.push(waiting);
      this.#queued += weight;
    });
  }
}

function overloaded(): FeedrankError {
  return new FeedrankError('overloaded', 'too many writes at once', { retryAfterSeconds: 1 });
}
