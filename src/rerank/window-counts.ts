// How many of the last `window − 1` placed items share an item's key: what decays and caps count.

export class WindowCounts {
  readonly #keys: Int32Array;
  readonly #window: number;
  readonly #counts: Uint16Array;
  readonly #placed: number[] = [];

  /** `keys` [items]: dense numbers from 0; a negative key is shared with nobody. */
  constructor(keys: Int32Array, window: number) {
    this.#keys = keys;
    this.#window = window;
    let largest = -1;
    for (const key of keys) if (key > largest) largest = key;
    this.#counts = new Uint16Array(largest + 1);
  }

  /** Items of the same key that would stand in one window with `item`, were it placed next. */
  before(item: number): number {
    const key = this.#keys[item];
    return key < 0 ? 0 : this.#counts[key];
  }

  place(item: number): void {
    if (this.#window > 1) {
      const key = this.#keys[item];
      if (key >= 0) this.#counts[key]++;
    }
    this.#placed.push(item);
    const leaving = this.#placed.length - this.#window;
    if (leaving < 0 || this.#window <= 1) return;
    const left = this.#keys[this.#placed[leaving]];
    if (left >= 0) this.#counts[left]--;
  }
}
