// Which changes were counted already, by their sequence number: a bitmap over the newest of them. Feeds may overlap
// (a restart, the other feed, a redelivery), sums may not. One per generation; used by applier.ts.

/** Changes that an overlap of two feeds can span, with much to spare: 512 kB. */
const WINDOW = 1 << 22;

export class SequenceWindow {
  readonly #bits = new Uint32Array(WINDOW / 32);
  /** Numbers below it are not known any more. */
  #from = -1;

  /** True the first time; also for numbers that have left the window, which no overlap reaches. */
  add(sequence: number): boolean {
    if (this.#from < 0) this.#from = Math.max(0, sequence - WINDOW / 2);
    if (sequence < this.#from) return true;
    if (sequence >= this.#from + WINDOW) this.#moveTo(sequence - WINDOW + 1);
    const at = sequence % WINDOW;
    const bit = 1 << (at & 31);
    if (this.#bits[at >>> 5] & bit) return false;
    this.#bits[at >>> 5] |= bit;
    return true;
  }

  #moveTo(from: number): void {
    if (from - this.#from >= WINDOW) this.#bits.fill(0);
    else for (let i = this.#from; i < from; i++) this.#bits[(i % WINDOW) >>> 5] &= ~(1 << (i & 31));
    this.#from = from;
  }
}
