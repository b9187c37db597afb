// A map that forgets what was not used for longest once it is full. While it is less than half full nothing is about to
// be forgotten, and a use does not move its entry: that costs three times the look-up.
export class LruMap<V> {
  readonly #capacity: number;
  readonly #entries = new Map<string, V>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get(key: string): V | undefined {
    const value = this.#entries.get(key);
    if (value === undefined || this.#entries.size * 2 < this.#capacity) return value;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#capacity) return;
    const oldest = this.#entries.keys().next().value;
    if (oldest !== undefined) this.#entries.delete(oldest);
  }

  /** A copy: entries may be deleted on the way. */
  entries(): [string, V][] {
    return [...this.#entries];
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }
}
