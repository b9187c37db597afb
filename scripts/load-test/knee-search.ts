// Finds the highest rate that the service sustains: up by a factor until a step fails, then between the last good and
// the first bad rate, by their geometric mean. Pure. Called by campaign.ts.

export interface StepPlan {
  /** Rates in rising order, of which the factor makes more, or a list of all. */
  start: number;
  factor: number;
  max: number;
  /** Given: exactly these rates are tried, rising, until one fails. */
  list: number[] | null;
  /** Steps between the last good and the first bad rate. */
  refine: number;
}

export class KneeSearch {
  readonly #plan: StepPlan;
  #tried = 0;
  #refined = 0;
  #good: number | null = null;
  #bad: number | null = null;

  constructor(plan: StepPlan) {
    this.#plan = plan;
  }

  /** The rate to try next; null when the search is over. */
  next(): number | null {
    const { start, factor, max, list, refine } = this.#plan;
    if (this.#bad !== null) {
      // Below the first rate there is no good one to go on from: half of the bad one is tried.
      if (this.#refined >= refine) return null;
      return this.#good === null ? this.#bad / 2 : Math.sqrt(this.#good * this.#bad);
    }
    if (list !== null) return list[this.#tried] ?? null;
    const rate = start * factor ** this.#tried;
    return rate <= max * (1 + 1e-9) ? rate : null;
  }

  record(rate: number, sustained: boolean): void {
    if (this.#bad !== null) this.#refined++;
    this.#tried++;
    if (sustained) this.#good = Math.max(rate, this.#good ?? 0);
    else this.#bad = Math.min(rate, this.#bad ?? Number.POSITIVE_INFINITY);
  }

  /** Highest rate that was sustained, null when none was. */
  get knee(): number | null {
    return this.#good;
  }

  /** Whether a rate was found that is not sustained; without one the knee is a lower bound. */
  get bounded(): boolean {
    return this.#bad !== null;
  }
}
