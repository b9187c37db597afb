// The median of the newest values: a mean of times tells of the few that waited for a busy core.
const KEPT = 1000;

export class RecentMedian {
  readonly #values: number[] = [];
  #next = 0;

  add(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % KEPT;
  }

  /** Oldest first, as `RecentMedian.of` takes them. */
  toJSON(): number[] {
    return [...this.#values.slice(this.#next), ...this.#values.slice(0, this.#next)];
  }

  static of(values: readonly number[]): RecentMedian {
    const made = new RecentMedian();
    for (const value of values) made.add(value);
    return made;
  }

  /** null before the first value. */
  get median(): number | null {
    const sorted = [...this.#values].sort((a, b) => a - b);
    return sorted.length === 0 ? null : sorted[sorted.length >> 1];
  }
}
