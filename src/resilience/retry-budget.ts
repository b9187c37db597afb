// Bounds retries to a share of the calls, so that a dependency in trouble is never asked much more than usual:
// attempts ≤ (1 + share) × calls, at any time since the start (Site Reliability Engineering, 2016, ch. 21).

/** A fifth: the usual budget (Finagle, Envoy). */
const SHARE = 0.2;
/** Calls of quiet times earn at most so many retries. */
const MOST = 10;

export class RetryBudget {
  #earned = 0;

  /** One call was made for the first time. */
  call(): void {
    this.#earned = Math.min(MOST, this.#earned + SHARE);
  }

  /** Whether one more retry is within the budget; takes it. */
  take(): boolean {
    // Five calls earn one, whatever the rounding of their sum.
    if (this.#earned < 1 - 1e-9) return false;
    this.#earned -= 1;
    return true;
  }
}
