// Which requests a device runs next. Pure: no clock, no timer. Dispatch at once when idle; while the device is busy,
// queue by deadline; then take the earliest and all of its model that fits and harms no deadline (earliest deadline
// first: Liu and Layland, 1973). What cannot finish in time is refused when it comes. Called by device-loop.ts.

export interface Waiting {
  id: number;
  model: number;
  rows: number;
  /** Unix milliseconds. */
  deadlineAtMs: number;
}

export type Refusal = 'full' | 'late';

export interface BatchQueueOptions {
  /** Requests that may wait. */
  limit: number;
  /** Rows of a batch, at most. A request has no more than that. */
  maxRows: number;
  /** Expected milliseconds of a batch of so many rows of a model; must not fall as rows grow. */
  costMs: (model: number, rows: number) => number;
}

export interface Taken<T extends Waiting> {
  /** Of one model, by deadline; empty only where nothing is left to do. */
  batch: T[];
  /** Requests that can no longer finish in time: they left the queue. */
  late: T[];
}

export class BatchQueue<T extends Waiting = Waiting> {
  readonly #options: BatchQueueOptions;
  /** By deadline; those of equal deadline as they came. */
  readonly #waiting: T[] = [];

  constructor(options: BatchQueueOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** Takes the request in, or says why not. `idleAtMs`: when the batch in progress is expected to end. */
  offer(request: T, nowMs: number, idleAtMs: number): Refusal | null {
    if (this.#waiting.length >= this.#options.limit) return 'full';
    const before = (other: Waiting) => other.deadlineAtMs <= request.deadlineAtMs;
    const place = this.#waiting.findLastIndex(before) + 1;
    const ahead = [...this.#waiting.slice(0, place), request];
    if (Math.max(nowMs, idleAtMs) + timeOf(ahead, this.#options) > request.deadlineAtMs) return 'late';
    this.#waiting.splice(place, 0, request);
    return null;
  }

  /** The next batch of an idle device. */
  take(nowMs: number): Taken<T> {
    const { costMs, maxRows } = this.#options;
    const late: T[] = [];
    for (;;) {
      const head = this.#waiting.shift();
      if (head === undefined) return { batch: [], late };
      if (nowMs + costMs(head.model, head.rows) > head.deadlineAtMs) {
        late.push(head);
        continue;
      }
      const batch = [head];
      let rows = head.rows;
      for (let i = 0; i < this.#waiting.length; ) {
        const next = this.#waiting[i];
        const fits =
          next.model === head.model &&
          rows + next.rows <= maxRows &&
          nowMs + costMs(head.model, rows + next.rows) <= head.deadlineAtMs;
        if (!fits) {
          i++;
          continue;
        }
        this.#waiting.splice(i, 1);
        batch.push(next);
        rows += next.rows;
      }
      return { batch, late };
    }
  }

  has({ id }: Pick<Waiting, 'id'>): boolean {
    return this.#waiting.some((request) => request.id === id);
  }

  /** Takes out every request that `gone` names. */
  remove(gone: (request: T) => boolean): T[] {
    const removed = this.#waiting.filter(gone);
    if (removed.length > 0) {
      const kept = this.#waiting.filter((request) => !removed.includes(request));
      this.#waiting.splice(0, this.#waiting.length, ...kept);
    }
    return removed;
  }
}

/** Expected milliseconds of some requests: each model's in full batches, and one for what is left. */
export function timeOf(
  requests: readonly Waiting[],
  { costMs, maxRows }: Pick<BatchQueueOptions, 'costMs' | 'maxRows'>,
): number {
  const rowsOf = new Map<number, number>();
  for (const { model, rows } of requests) rowsOf.set(model, (rowsOf.get(model) ?? 0) + rows);
  let ms = 0;
  for (const [model, rows] of rowsOf) {
    const full = Math.floor(rows / maxRows);
    const rest = rows % maxRows;
    ms += full * (full > 0 ? costMs(model, maxRows) : 0) + (rest > 0 ? costMs(model, rest) : 0);
  }
  return ms;
}
