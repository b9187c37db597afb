// Who may come in. One controller of a replica owns the number of feed requests in flight, their priorities and the
// share of candidates that each may rank: quality shrinks first, then prefetches are refused, and readers last.
import { FeedrankError } from './errors.ts';
import { GradientLimit } from './resilience/gradient-limit.ts';

/** `interactive`: somebody waits for it; `prefetch`: somebody may; `background`: nobody does (shadow, offline). */
export const PRIORITIES = ['interactive', 'prefetch', 'background'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** Share of the limit up to which each is let in, counted over all that is in flight. */
const REACH: Readonly<Record<Priority, number>> = { interactive: 1, prefetch: 0.5, background: 0.25 };
/** Use of its reach from which a request ranks fewer candidates, and the least share of them. */
const FULL_QUALITY_UNTIL = 0.5;
const LEAST_QUALITY = 0.25;
/** In flight, a worker: one works and three wait at least; at the start, before anything is known; at most. */
const PER_WORKER = { min: 4, start: 24, max: 64 };
/** Part of the deadline that a request may take on average when a queue has built up: it leaves the rest to its p99. */
const TARGET_SHARE = 0.35;
/** Seconds after which a refused client may come back, drawn at random so that they do not come back in step. */
const RETRY_AFTER_S = [1, 2, 3];
/** Made once: ten times the load must not cost ten times the stack traces. */
const REFUSALS = RETRY_AFTER_S.map(
  (retryAfterSeconds) =>
    new FeedrankError('overloaded', 'too many feed requests at once', { retryAfterSeconds }),
);

export interface AdmissionOptions {
  /** Feed workers: what the limit is a multiple of. */
  workers: number;
  deadlineMs: number;
  /** False while no worker answers at all: nobody is overloaded then, and everybody gets the next rung. Default: true. */
  workersAnswer?: () => boolean;
  onDecision?: (priority: Priority, admitted: boolean, quality: number) => void;
}

export interface Grant {
  /** (0, 1]: share of the usual candidates to rank. */
  readonly quality: number;
  /**
   * Set by the work: `measured` when it took the feed workers' time, for only then does its latency say something of the
   * load; `missed` when it had to do without them, which counts as a whole deadline, however soon it gave up: its place
   * stays taken for so long, or cheap fallbacks would let in ever more and leave the workers ever less.
   */
  outcome: 'measured' | 'missed' | null;
}

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #limit: GradientLimit;
  readonly #inFlight: Record<Priority, number> = { interactive: 0, prefetch: 0, background: 0 };

  constructor(options: AdmissionOptions) {
    const { workers, deadlineMs } = options;
    this.#options = options;
    this.#limit = new GradientLimit({
      min: workers * PER_WORKER.min,
      max: workers * PER_WORKER.max,
      start: workers * PER_WORKER.start,
      unqueued: workers,
      targetMs: deadlineMs * TARGET_SHARE,
    });
  }

  /** Feed requests that may be in flight now. */
  get limit(): number {
    return this.#limit.limit;
  }

  inFlight(priority: Priority): number {
    return this.#inFlight[priority];
  }

  /** For the door, before anything is read or checked: `overloaded` with the seconds to wait, null while there is room. */
  refusal(priority: Priority): FeedrankError | null {
    if (this.#total() + 1 <= this.#reach(priority)) return null;
    this.#options.onDecision?.(priority, false, 0);
    return REFUSALS[Math.floor(Math.random() * REFUSALS.length)];
  }

  /** @throws what `refusal` gives. */
  refuseWhenFull(priority: Priority): void {
    const refusal = this.refusal(priority);
    if (refusal) throw refusal;
  }

  /**
   * Runs the work when there is room for its priority.
   * @throws FeedrankError `overloaded`, at once, when there is none; what `work` throws.
   */
  async run<T>(priority: Priority, work: (grant: Grant) => Promise<T>): Promise<T> {
    this.refuseWhenFull(priority);
    const inFlight = this.#total() + 1;
    const quality = qualityAt(inFlight / this.#reach(priority));
    this.#options.onDecision?.(priority, true, quality);
    const grant: Grant = { quality, outcome: null };
    const startedAtMs = performance.now();
    this.#inFlight[priority]++;
    try {
      return await work(grant);
    } finally {
      this.#leave(priority, grant.outcome, inFlight, startedAtMs);
    }
  }

  #leave(priority: Priority, outcome: Grant['outcome'], inFlight: number, startedAtMs: number): void {
    const { workersAnswer, deadlineMs } = this.#options;
    const now = performance.now();
    const tookMs = now - startedAtMs;
    if (outcome === 'measured') this.#limit.observe(tookMs, inFlight, now);
    if (outcome !== 'missed' || !(workersAnswer?.() ?? true)) {
      this.#inFlight[priority]--;
      return;
    }
    this.#limit.observe(Math.max(tookMs, deadlineMs), inFlight, now);
    setTimeout(() => this.#inFlight[priority]--, Math.max(0, deadlineMs - tookMs)).unref();
  }

  /** In flight, of all priorities, up to which this one is let in. */
  #reach(priority: Priority): number {
    return Math.max(1, this.limit * REACH[priority]);
  }

  #total(): number {
    const { interactive, prefetch, background } = this.#inFlight;
    return interactive + prefetch + background;
  }
}

/** Falls in a straight line from 1 at half use to the least at full use. */
export function qualityAt(use: number): number {
  const over = Math.min(1, Math.max(0, (use - FULL_QUALITY_UNTIL) / (1 - FULL_QUALITY_UNTIL)));
  return 1 - over * (1 - LEAST_QUALITY);
}
