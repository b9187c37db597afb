// A hard cap: at most so many items of one key in any window of consecutive positions.
import type { Constraint } from './constraint.ts';
import { WindowCounts } from './window-counts.ts';

export class WindowCap implements Constraint {
  readonly name: string;
  readonly #counts: WindowCounts;
  readonly #perWindow: number;

  /** `keys` [items]: dense numbers from 0; items of a negative key are free. */
  constructor(name: string, keys: Int32Array, window: number, perWindow: number) {
    this.name = name;
    this.#counts = new WindowCounts(keys, window);
    this.#perWindow = perWindow;
  }

  allows(item: number): boolean {
    return this.#counts.before(item) < this.#perWindow;
  }

  placed(item: number): void {
    this.#counts.place(item);
  }
}
