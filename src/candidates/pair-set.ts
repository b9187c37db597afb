// A set of 64-bit hashes given as [lo, hi, …] pairs; open addressing, storage kept between requests.

export class PairSet {
  size = 0;
  #mask = 63;
  #slots = new Uint32Array(128);

  /** Empties the set and makes room for `pairs` entries. */
  reset(pairs: number): void {
    let capacity = 64;
    while (capacity < pairs * 2) capacity *= 2;
    if (capacity * 2 > this.#slots.length) this.#slots = new Uint32Array(capacity * 2);
    else this.#slots.fill(0, 0, capacity * 2);
    this.#mask = capacity - 1;
    this.size = 0;
  }

  /** Adds every pair; (0, 0) means empty and is skipped. Room must have been made by `reset`. */
  addAll(pairs: Uint32Array): void {
    for (let i = 0; i + 1 < pairs.length; i += 2) this.add(pairs[i], pairs[i + 1]);
  }

  add(lo: number, hi: number): void {
    if (lo === 0 && hi === 0) return;
    const slots = this.#slots;
    let slot = (lo ^ (hi >>> 15)) & this.#mask;
    for (;;) {
      const at = slot * 2;
      if (slots[at] === 0 && slots[at + 1] === 0) {
        slots[at] = lo;
        slots[at + 1] = hi;
        this.size++;
        return;
      }
      if (slots[at] === lo && slots[at + 1] === hi) return;
      slot = (slot + 1) & this.#mask;
    }
  }

  has(lo: number, hi: number): boolean {
    if (this.size === 0) return false;
    const slots = this.#slots;
    let slot = (lo ^ (hi >>> 15)) & this.#mask;
    for (;;) {
      const at = slot * 2;
      const slotLo = slots[at];
      const slotHi = slots[at + 1];
      if (slotLo === lo && slotHi === hi) return slotLo !== 0 || slotHi !== 0;
      if (slotLo === 0 && slotHi === 0) return false;
      slot = (slot + 1) & this.#mask;
    }
  }
}
