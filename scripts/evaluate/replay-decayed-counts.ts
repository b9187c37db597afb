// Click counters that halve every so often, with the largest kept in order. Updated click by click, never rebuilt: a
// click costs one addition. Forward decay (Cormode et al., ICDE 2009). Called by the replays.

/** Half-lives after which stored weights are brought back to scale: well inside the range of a double. */
const REBASE_AFTER = 400;

export class DecayedCounts {
  readonly halfLifeMs: number;
  /** Weight of each item at `#originMs`, times 2^(time since then / half-life): comparable across items as they are. */
  readonly raw: Float64Array;
  /** The items of most weight, most first: the first `topCount` of it. */
  readonly top: Int32Array;
  topCount = 0;
  rawTotal = 0;
  readonly #position: Int32Array;
  #originMs = Number.NaN;

  constructor(itemCount: number, halfLifeMs: number, topSize: number) {
    this.halfLifeMs = halfLifeMs;
    this.raw = new Float64Array(itemCount);
    this.top = new Int32Array(topSize);
    this.#position = new Int32Array(topSize > 0 ? itemCount : 0).fill(-1);
  }

  /** `atMs` never goes back. */
  add(item: number, atMs: number, weight = 1): void {
    if (Number.isNaN(this.#originMs)) this.#originMs = atMs;
    let halfLives = (atMs - this.#originMs) / this.halfLifeMs;
    if (halfLives > REBASE_AFTER) {
      this.#rebase(atMs);
      halfLives = 0;
    }
    const added = weight * 2 ** halfLives;
    this.raw[item] += added;
    this.rawTotal += added;
    if (this.top.length > 0) this.#raise(item);
  }

  /** What `raw` and `rawTotal` are to be multiplied by to be counts at `atMs`. */
  factor(atMs: number): number {
    return Number.isNaN(this.#originMs) ? 1 : 2 ** -((atMs - this.#originMs) / this.halfLifeMs);
  }

  value(item: number, atMs: number): number {
    return this.raw[item] * this.factor(atMs);
  }

  #rebase(atMs: number): void {
    const factor = this.factor(atMs);
    for (let i = 0; i < this.raw.length; i++) this.raw[i] *= factor;
    this.rawTotal *= factor;
    this.#originMs = atMs;
  }

  /** Weights only grow relative to each other on a click, so the list stays right by moving that one item up. */
  #raise(item: number): void {
    const { top, raw } = this;
    let at = this.#position[item];
    if (at < 0) {
      if (this.topCount < top.length) at = this.topCount++;
      else if (raw[top[top.length - 1]] >= raw[item]) return;
      else {
        at = top.length - 1;
        this.#position[top[at]] = -1;
      }
    }
    while (at > 0 && raw[top[at - 1]] < raw[item]) {
      top[at] = top[at - 1];
      this.#position[top[at]] = at;
      at--;
    }
    top[at] = item;
    this.#position[item] = at;
  }
}

/**
 * Decayed counts of (context, item) pairs in a table of fixed size: pairs share a cell where their hashes meet, which a
 * table some times larger than the live pairs makes rare.
 */
export class HashedPairCounts {
  readonly #cells: DecayedCounts;
  readonly #shift: number;

  constructor(bits: number, halfLifeMs: number) {
    this.#cells = new DecayedCounts(2 ** bits, halfLifeMs, 0);
    this.#shift = 32 - bits;
  }

  add(context: number, item: number, atMs: number): void {
    this.#cells.add(this.#cell(context, item), atMs);
  }

  factor(atMs: number): number {
    return this.#cells.factor(atMs);
  }

  raw(context: number, item: number): number {
    return this.#cells.raw[this.#cell(context, item)];
  }

  #cell(context: number, item: number): number {
    let hash = Math.imul(context + 1, 0x9e3779b1) ^ Math.imul(item + 1, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    hash = Math.imul(hash ^ (hash >>> 13), 0x297a2d39);
    return (hash ^ (hash >>> 16)) >>> this.#shift;
  }
}
