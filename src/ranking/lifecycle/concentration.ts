// How concentrated what was served is on few authors or few posts, from counts: Simpson's index (1949) in its unbiased
// form, the probability that two draws are of the same kind. It does not depend on how much was counted.

export class Concentration {
  readonly #counts = new Map<string, number>();
  readonly #limit: number;
  #total = 0;
  #pairs = 0;

  /** Kinds beyond `limit` are not counted: memory stays bounded. */
  constructor(limit = 50_000) {
    this.#limit = limit;
  }

  add(kind: string): void {
    const before = this.#counts.get(kind);
    if (before === undefined && this.#counts.size >= this.#limit) return;
    this.#counts.set(kind, (before ?? 0) + 1);
    this.#pairs += before ?? 0;
    this.#total++;
  }

  /** What was counted, as `Concentration.of` takes it. */
  toJSON(): [kind: string, count: number][] {
    return [...this.#counts];
  }

  static of(counts: readonly (readonly [kind: string, count: number])[]): Concentration {
    const made = new Concentration();
    for (const [kind, count] of counts) {
      made.#counts.set(kind, count);
      made.#total += count;
      made.#pairs += (count * (count - 1)) / 2;
    }
    return made;
  }

  /** In [0, 1]; 0 where fewer than two were counted. */
  get index(): number {
    return this.#total < 2 ? 0 : this.#pairs / ((this.#total * (this.#total - 1)) / 2);
  }
}
