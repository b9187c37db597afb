// Small open-addressed tables over hash pairs, filled once a request and read for every candidate.

/** Half-life of an author's or topic's affinity: a week, so that a daily reader's last month still counts a little. */
const AFFINITY_HALF_LIFE_MS = 7 * 24 * 3_600_000;

/** Decayed and plain counts of positive and negative engagements by key. At most `limit` keys; never grows. */
export class HistoryTally {
  /** Sum of 2^(−age / half-life) over positives and over negatives, and the number of positives, by entry. */
  readonly positive: Float64Array;
  readonly negative: Float64Array;
  readonly count: Uint16Array;
  /** Positives over all keys. */
  total = 0;
  readonly #lo: Uint32Array;
  readonly #hi: Uint32Array;
  readonly #slots: Int16Array;
  readonly #mask: number;
  #size = 0;

  constructor(limit: number) {
    const slots = 2 ** Math.ceil(Math.log2(limit * 4));
    this.#slots = new Int16Array(slots);
    this.#mask = slots - 1;
    this.#lo = new Uint32Array(limit);
    this.#hi = new Uint32Array(limit);
    this.positive = new Float64Array(limit);
    this.negative = new Float64Array(limit);
    this.count = new Uint16Array(limit);
  }

  clear(): void {
    this.#slots.fill(0);
    this.#size = 0;
    this.total = 0;
  }

  /** Ages below 0, from clocks in the future, and ages that are no number count as now. */
  add(lo: number, hi: number, negative: boolean, ageMs: number): void {
    const entry = this.#entry(lo, hi);
    const weight = ageMs > 0 ? 2 ** (-ageMs / AFFINITY_HALF_LIFE_MS) : 1;
    if (negative) {
      this.negative[entry] += weight;
    } else {
      this.positive[entry] += weight;
      this.count[entry]++;
      this.total++;
    }
  }

  /** −1 when the key was not added. */
  find(lo: number, hi: number): number {
    if (this.#size === 0) return -1;
    for (let slot = lo & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const entry = this.#slots[slot] - 1;
      if (entry < 0) return -1;
      if (this.#lo[entry] === lo && this.#hi[entry] === hi) return entry;
    }
  }

  #entry(lo: number, hi: number): number {
    const found = this.find(lo, hi);
    if (found >= 0) return found;
    const entry = this.#size++;
    this.#lo[entry] = lo;
    this.#hi[entry] = hi;
    this.positive[entry] = this.negative[entry] = this.count[entry] = 0;
    let slot = lo & this.#mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = entry + 1;
    return entry;
  }
}

/** Set of [lo, hi, …] pairs; grows to the largest set it was given. */
export class HashSet64 {
  #slots = new Int32Array(64);
  #mask = 63;
  #pairs: Uint32Array = new Uint32Array(0);

  /** Replaces the content; keeps a reference to `pairs`. */
  fill(pairs: Uint32Array): void {
    const size = pairs.length >>> 1;
    if (size * 2 > this.#slots.length) {
      this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(size * 4)));
      this.#mask = this.#slots.length - 1;
    } else {
      this.#slots.fill(0);
    }
    this.#pairs = pairs;
    for (let i = 0; i < size; i++) {
      if (this.has(pairs[2 * i], pairs[2 * i + 1])) continue;
      let slot = pairs[2 * i] & this.#mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
      this.#slots[slot] = i + 1;
    }
  }

  has(lo: number, hi: number): boolean {
    for (let slot = lo & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const entry = this.#slots[slot] - 1;
      if (entry < 0) return false;
      if (this.#pairs[2 * entry] === lo && this.#pairs[2 * entry + 1] === hi) return true;
    }
  }
}
