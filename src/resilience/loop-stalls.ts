// Whether the event loop stood still a moment ago: an answer that took long may then have lain unread in its socket.
// Called by resilience.ts.

const TICK_MS = 20;
/** Later than a collection of the young generation makes it. */
const STALLED_MS = 25;

export class LoopStalls {
  readonly #timer: NodeJS.Timeout;
  /** On performance.now()'s clock. */
  #tickedAtMs = performance.now();
  #stalledAtMs = Number.NEGATIVE_INFINITY;

  constructor() {
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  /** Whether it stood still at some time since `atMs` (performance.now()'s clock). */
  since(atMs: number): boolean {
    return this.#stalledAtMs >= atMs || this.#isLate(performance.now());
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const now = performance.now();
    if (this.#isLate(now)) this.#stalledAtMs = now;
    this.#tickedAtMs = now;
  }

  #isLate(nowMs: number): boolean {
    return nowMs - this.#tickedAtMs > TICK_MS + STALLED_MS;
  }
}
