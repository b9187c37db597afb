// Which item follows which, learned click by click: each item keeps its strongest followers of the last hours and of the
// last day, in a fixed number of slots. Called by the replays.

/** Half-lives after which stored weights are brought back to scale. */
const REBASE_AFTER = 400;

export interface EdgeOptions {
  itemCount: number;
  /** Followers kept per item; a new one takes the place of the weakest. */
  slots: number;
  fastHalfLifeMs: number;
  slowHalfLifeMs: number;
}

export class ItemEdges {
  readonly slots: number;
  /** [itemCount, slots]: the follower in each slot, −1 where free. */
  readonly to: Int32Array;
  /** [itemCount, slots]: decayed counts on the scale of `fastFactor` and `slowFactor`. */
  readonly fast: Float64Array;
  readonly slow: Float64Array;
  /** [itemCount]: all edges that ever left the item, the displaced included, on the same scales. */
  readonly fastDegree: Float64Array;
  readonly slowDegree: Float64Array;
  readonly #options: EdgeOptions;
  #originMs = Number.NaN;

  constructor(options: EdgeOptions) {
    this.#options = options;
    this.slots = options.slots;
    const cells = options.itemCount * options.slots;
    this.to = new Int32Array(cells).fill(-1);
    this.fast = new Float64Array(cells);
    this.slow = new Float64Array(cells);
    this.fastDegree = new Float64Array(options.itemCount);
    this.slowDegree = new Float64Array(options.itemCount);
  }

  /** `atMs` never goes back. */
  add(from: number, to: number, atMs: number, weight = 1): void {
    if (Number.isNaN(this.#originMs)) this.#originMs = atMs;
    if ((atMs - this.#originMs) / this.#options.fastHalfLifeMs > REBASE_AFTER) this.#rebase(atMs);
    const elapsed = atMs - this.#originMs;
    const fast = weight * 2 ** (elapsed / this.#options.fastHalfLifeMs);
    const slow = weight * 2 ** (elapsed / this.#options.slowHalfLifeMs);
    this.fastDegree[from] += fast;
    this.slowDegree[from] += slow;
    const start = from * this.slots;
    let at = start;
    for (let slot = start; slot < start + this.slots; slot++) {
      if (this.to[slot] === to) {
        this.fast[slot] += fast;
        this.slow[slot] += slow;
        return;
      }
      if (this.slow[slot] < this.slow[at]) at = slot;
    }
    this.to[at] = to;
    this.fast[at] = fast;
    this.slow[at] = slow;
  }

  fastFactor(atMs: number): number {
    return this.#factor(atMs, this.#options.fastHalfLifeMs);
  }

  slowFactor(atMs: number): number {
    return this.#factor(atMs, this.#options.slowHalfLifeMs);
  }

  #factor(atMs: number, halfLifeMs: number): number {
    return Number.isNaN(this.#originMs) ? 1 : 2 ** -((atMs - this.#originMs) / halfLifeMs);
  }

  #rebase(atMs: number): void {
    const fast = this.fastFactor(atMs);
    const slow = this.slowFactor(atMs);
    for (let i = 0; i < this.fast.length; i++) {
      this.fast[i] *= fast;
      this.slow[i] *= slow;
    }
    for (let i = 0; i < this.fastDegree.length; i++) {
      this.fastDegree[i] *= fast;
      this.slowDegree[i] *= slow;
    }
    this.#originMs = atMs;
  }
}
