// A hard cap: at most so many items of one key in any window of consecutive positions.
import type { Constraint } from './constraint.ts';
import { WindowCounts } from './window-counts.ts';

export class WindowCap implements Constraint {
  readonly name: string;
  /** Unplaced items that it allows next. */
  open: number;
  readonly #keys: Int32Array;
  readonly #counts: WindowCounts;
  readonly #perWindow: number;
  /** Unplaced items of each key. */
  readonly #left: Uint16Array;

  /** `keys` [items]: dense numbers from 0; items of a negative key are free. */
  constructor(name: string, keys: Int32Array, window: number, perWindow: number) {
    this.name = name;
    this.open = keys.length;
    this.#keys = keys;
    this.#counts = new WindowCounts(keys, window);
    this.#perWindow = perWindow;
    const left = new Uint16Array(this.#counts.keys);
    for (let item = 0; item < keys.length; item++) if (keys[item] >= 0) left[keys[item]]++;
    this.#left = left;
  }

  allows(item: number): boolean {
    return this.#counts.before(item) < this.#perWindow;
  }

  placed(item: number): void {
    const last = this.#counts.leaving();
    const leaving = last >= 0 && this.#keys[last] !== this.#keys[item] ? last : -1;
    this.#close(item);
    if (leaving >= 0) this.#close(leaving);
    if (this.#keys[item] >= 0) this.#left[this.#keys[item]]--;
    else this.open--;
    this.#counts.place(item);
    this.#reopen(item);
    if (leaving >= 0) this.#reopen(leaving);
  }

  /** Takes the items of a key out of `open`, as counted now, … */
  #close(item: number): void {
    const key = this.#keys[item];
    if (key >= 0 && this.allows(item)) this.open -= this.#left[key];
  }

  /** … and counts them again. */
  #reopen(item: number): void {
    const key = this.#keys[item];
    if (key >= 0 && this.allows(item)) this.open += this.#left[key];
  }
}
