// The median of the newest values: a mean of times tells of the few that waited for a busy core.
const KEPT = 1000;

export class RecentMedian {
  readonly #values: number[] = [];
  #next = 0;

  add(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % KEPT;
  }

  /** Oldest first, as `addAll` takes them. */
  toJSON(): number[] {
    return [...this.#values.slice(this.#next), ...this.#values.slice(0, this.#next)];
  }

  addAll(values: readonly number[]): void {
    for (const value of values) this.add(value);
  }

  /** Of both; null before the first value. */
  medianWith(other: RecentMedian | null): number | null {
    const sorted = [...this.#values, ...(other ? other.#values : [])].sort((a, b) => a - b);
    return sorted.length === 0 ? null : sorted[sorted.length >> 1];
  }
}
