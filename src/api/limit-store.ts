// Where rate limits are counted: by a counter that all replicas share, or, without one and while it does not answer,
// in this replica's memory. Never fails. Called by @fastify/rate-limit as its store.
import { LruMap } from '../lru-map.ts';

/** Implemented on Redis. */
export interface SharedCounter {
  /** Counts one in the window of `key` that runs now or begins now. May fail and may hang. */
  increment(key: string, windowMs: number): Promise<{ count: number; ttlMs: number }>;
}

export interface LimitCount {
  current: number;
  /** Milliseconds to the end of the window. */
  ttl: number;
}

/** Keys counted at once in memory. */
const COUNTED = 50_000;
/** A shared count that takes longer is not worth a feed's time. */
const WAIT_MS = 50;
/** After a failure the shared counter is left alone for so long. */
const PAUSE_MS = 1000;

export class LimitStore {
  readonly #shared: SharedCounter | undefined;
  readonly #onFallback: () => void;
  readonly #now: () => number;
  readonly #local = new LruMap<{ count: number; endsAtMs: number }>(COUNTED);
  #pausedUntilMs = 0;

  constructor(
    shared: SharedCounter | undefined,
    onFallback: () => void = () => {},
    now: () => number = Date.now,
  ) {
    this.#shared = shared;
    this.#onFallback = onFallback;
    this.#now = now;
  }

  /** The plugin's form. */
  incr(key: string, callback: (error: Error | null, result?: LimitCount) => void, windowMs: number): void {
    this.increment(key, windowMs).then((result) => callback(null, result), callback);
  }

  /** Keys carry their limit's name, so that one store serves all limits. */
  child(): this {
    return this;
  }

  async increment(key: string, windowMs: number): Promise<LimitCount> {
    if (!this.#shared) return this.#countHere(key, windowMs);
    if (this.#now() >= this.#pausedUntilMs) {
      try {
        const { count, ttlMs } = await inTime(this.#shared.increment(key, windowMs));
        return { current: count, ttl: ttlMs };
      } catch {
        this.#pausedUntilMs = this.#now() + PAUSE_MS;
      }
    }
    this.#onFallback();
    return this.#countHere(key, windowMs);
  }

  #countHere(key: string, windowMs: number): LimitCount {
    const now = this.#now();
    let entry = this.#local.get(key);
    if (!entry || entry.endsAtMs <= now) entry = { count: 0, endsAtMs: now + windowMs };
    entry.count++;
    this.#local.set(key, entry);
    return { current: entry.count, ttl: entry.endsAtMs - now };
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the shared counter is late')), WAIT_MS);
  });
  // It may fail after it was given up.
  work.catch(() => {});
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
