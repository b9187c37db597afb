// A map that forgets what was not used for long once it is full: the second-chance order (clock), which forgets nearly what
// an exact order of use would. A use only marks its entry; moving it to the end costs three times the look-up.
interface Entry<V> {
  value: V;
  /** Since it last came to the front of those that are forgotten. */
  used: boolean;
}

export class LruMap<V> {
  readonly #capacity: number;
  readonly #entries = new Map<string, Entry<V>>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    entry.used = true;
    return entry.value;
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    if (this.#capacity < 1) return;
    while (this.#entries.size >= this.#capacity) this.#forgetOne();
    this.#entries.set(key, { value, used: false });
  }

  /** A copy: entries may be deleted on the way. */
  entries(): [string, V][] {
    return Array.from(this.#entries, ([key, { value }]) => [key, value]);
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }

  /** The first that was not used since it was last passed over; each of those is passed over once. */
  #forgetOne(): void {
    for (const [key, entry] of this.#entries) {
      this.#entries.delete(key);
      if (!entry.used) return;
      entry.used = false;
      this.#entries.set(key, entry);
    }
  }
}
