// Numbers the 64-bit keys (authors, topics) of one ranked list 0, 1, 2, … in order of appearance.

export class KeyIds {
  #count = 0;
  readonly #mask: number;
  /** lo, hi, number + 1 of each slot. */
  readonly #slots: Uint32Array;

  /** Room for `keys` distinct ones. */
  constructor(keys: number) {
    let capacity = 16;
    while (capacity < keys * 2) capacity *= 2;
    this.#mask = capacity - 1;
    this.#slots = new Uint32Array(capacity * 3);
  }

  intern(lo: number, hi: number): number {
    const at = this.#find(lo, hi);
    if (this.#slots[at + 2] === 0) {
      this.#slots[at] = lo;
      this.#slots[at + 1] = hi;
      this.#slots[at + 2] = ++this.#count;
    }
    return this.#slots[at + 2] - 1;
  }

  /** 1 at the number of each known key among `pairs` [lo, hi, …]. */
  mark(pairs: Uint32Array): Uint8Array {
    const marks = new Uint8Array(this.#count);
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      const id = this.#slots[this.#find(pairs[i], pairs[i + 1]) + 2];
      if (id !== 0) marks[id - 1] = 1;
    }
    return marks;
  }

  #find(lo: number, hi: number): number {
    const slots = this.#slots;
    let slot = (lo ^ (hi >>> 15)) & this.#mask;
    while (slots[slot * 3 + 2] !== 0 && (slots[slot * 3] !== lo || slots[slot * 3 + 1] !== hi)) {
      slot = (slot + 1) & this.#mask;
    }
    return slot * 3;
  }
}
