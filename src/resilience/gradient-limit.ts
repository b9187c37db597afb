// How many requests may be in flight, learned from their latency: the limit follows the gradient between the latency
// wanted and the latency seen (Netflix concurrency-limits, Gradient2, 2018; head-room √limit as in Envoy's adaptive
// concurrency filter, 2019). Pure but for its state; called by admission.ts.

export interface GradientLimitOptions {
  /** Bounds, and where it starts. */
  min: number;
  max: number;
  start: number;
  /** Requests that find a free worker when no more than so many are in flight: they show the latency without a queue. */
  unqueued: number;
  /** Mean latency that is still good when a queue has built up. */
  targetMs: number;
}

/** One decision a window: at least so long, and so many answers. */
const WINDOW_MS = 200;
const WINDOW_ANSWERS = 10;
/** Share of the new limit in the next one: a burst of half a second moves it by a third. */
const SMOOTHING = 0.2;
/** The limit halves at most, in a window, before it is smoothed. */
const STEEPEST = 0.5;
const BASELINE_WEIGHT = 0.02;
/** A queue may make a request take so many times as long as it does alone; on two workers that keeps them busy. */
const QUEUEING = { least: 2, most: 12 };

export class GradientLimit {
  readonly #options: GradientLimitOptions;
  #limit: number;
  /** Latency without a queue: a mean over some fifty requests; 0 before the first. */
  #baselineMs = 0;
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #answers = 0;
  #sumMs = 0;
  #mostInFlight = 0;

  constructor(options: GradientLimitOptions) {
    this.#options = options;
    this.#limit = options.start;
  }

  get limit(): number {
    return Math.floor(this.#limit);
  }

  /** Mean latency of requests that found a free worker, 0 before the first. */
  get baselineMs(): number {
    return this.#baselineMs;
  }

  /** @param inFlight when the request began, itself included; `nowMs` on a clock that never jumps. */
  observe(latencyMs: number, inFlight: number, nowMs: number): void {
    const { unqueued, min, max, start } = this.#options;
    if (inFlight <= unqueued) {
      const before = this.#baselineMs || latencyMs;
      this.#baselineMs = before + (latencyMs - before) * BASELINE_WEIGHT;
    }
    if (this.#answers === 0) this.#windowStartMs = nowMs;
    this.#answers++;
    this.#sumMs += latencyMs;
    this.#mostInFlight = Math.max(this.#mostInFlight, inFlight);
    if (this.#answers < WINDOW_ANSWERS || nowMs - this.#windowStartMs < WINDOW_MS) return;
    const gradient = Math.max(STEEPEST, Math.min(1, this.#wantedMs() / (this.#sumMs / this.#answers)));
    // What is hardly used has not shown that more would be good; but what a fault took comes back by itself, or the
    // next burst of a quiet hour would be served fewer candidates.
    const isLearned = this.#mostInFlight * 2 >= this.#limit || this.#limit < start;
    if (gradient < 1 || isLearned) {
      const next = this.#limit * gradient + Math.sqrt(this.#limit);
      this.#limit = Math.max(min, Math.min(max, this.#limit + (next - this.#limit) * SMOOTHING));
    }
    this.#answers = 0;
    this.#sumMs = 0;
    this.#mostInFlight = 0;
  }

  #wantedMs(): number {
    const { targetMs } = this.#options;
    if (this.#baselineMs === 0) return targetMs;
    const { least, most } = QUEUEING;
    return Math.max(least * this.#baselineMs, Math.min(targetMs, most * this.#baselineMs));
  }
}
