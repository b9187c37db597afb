// How many of the last `window − 1` placed items share an item's key: what decays and caps count.

export class WindowCounts {
  /** Number of distinct keys. */
  readonly keys: number;
  readonly #keys: Int32Array;
  readonly #window: number;
  readonly #counts: Uint16Array;
  readonly #placed: number[] = [];

  /** `keys` [items]: dense numbers from 0; a negative key is shared with nobody. */
  constructor(keys: Int32Array, window: number) {
    this.#keys = keys;
    this.#window = window;
    let largest = -1;
    for (let item = 0; item < keys.length; item++) if (keys[item] > largest) largest = keys[item];
    this.keys = largest + 1;
    this.#counts = new Uint16Array(this.keys);
  }

  /** Items of the same key that would stand in one window with `item`, were it placed next. */
  before(item: number): number {
    const key = this.#keys[item];
    return key < 0 ? 0 : this.#counts[key];
  }

  /** The placed item that no longer counts once another is placed; −1 when there is none. */
  leaving(): number {
    const at = this.#placed.length + 1 - this.#window;
    return this.#window > 1 && at >= 0 ? this.#placed[at] : -1;
  }

  place(item: number): void {
    const left = this.leaving();
    this.#placed.push(item);
    if (this.#window <= 1) return;
    if (this.#keys[item] >= 0) this.#counts[this.#keys[item]]++;
    if (left >= 0 && this.#keys[left] >= 0) this.#counts[this.#keys[left]]--;
  }
}
