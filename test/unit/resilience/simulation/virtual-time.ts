// A clock of its own in place of the real one: timers, Date, performance.now and Math.random of everything that runs.
// Time moves from timer to timer as fast as the code runs; the same seed gives the same run.
import { Rng } from '../../../../scripts/generate/rng.ts';

interface Timer {
  atMs: number;
  order: number;
  run: (() => void) | null;
  ref(): Timer;
  unref(): Timer;
}

const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setImmediate: globalThis.setImmediate,
  now: Date.now,
  performanceNow: performance.now,
  random: Math.random,
};

export class VirtualTime {
  nowMs = Date.UTC(2026, 10, 24);
  readonly #timers: Timer[] = [];
  #order = 0;

  constructor(seed: number) {
    const rng = new Rng(seed, 'virtual-time');
    globalThis.setTimeout = ((run: () => void, ms = 0) => this.#add(run, ms)) as never;
    globalThis.clearTimeout = ((timer: Timer | undefined) => {
      if (timer) timer.run = null;
    }) as never;
    Date.now = () => this.nowMs;
    performance.now = () => this.nowMs;
    Math.random = () => rng.next();
  }

  restore(): void {
    globalThis.setTimeout = real.setTimeout;
    globalThis.clearTimeout = real.clearTimeout;
    Date.now = real.now;
    performance.now = real.performanceNow;
    Math.random = real.random;
  }

  /** Runs all that is due until then, each timer to the end of what it set in motion. */
  async runUntil(untilMs: number): Promise<void> {
    await settled();
    for (;;) {
      const next = this.#timers[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#pop();
      if (next.run === null) continue;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
      await settled();
    }
    this.nowMs = untilMs;
  }

  /** A binary heap by time, then by the order in which timers were set. */
  #add(run: () => void, ms: number): Timer {
    const atMs = this.nowMs + Math.max(1, Number.isFinite(ms) ? ms : 1);
    const timer: Timer = { atMs, order: this.#order++, run, ref: () => timer, unref: () => timer };
    const heap = this.#timers;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(timer, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = timer;
    return timer;
  }

  #pop(): void {
    const heap = this.#timers;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (!isBefore(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(one: Timer, other: Timer): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}

/** Two turns of the real event loop: promises, and what they put off to the next turn. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise<void>((resolve) => real.setImmediate(resolve));
}
