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

  add(kind: string, count = 1): void {
    const before = this.#counts.get(kind);
    if (before === undefined && this.#counts.size >= this.#limit) return;
    this.#counts.set(kind, (before ?? 0) + count);
    this.#pairs += (before ?? 0) * count + pairsOf(count);
    this.#total += count;
  }

  /** What was counted, as `addAll` takes it. */
  toJSON(): [kind: string, count: number][] {
    return [...this.#counts];
  }

  addAll(counts: readonly (readonly [kind: string, count: number])[]): void {
    for (const [kind, count] of counts) this.add(kind, count);
  }

  /** In [0, 1], of both counts together; 0 where fewer than two were counted. */
  indexWith(other: Concentration | null): number {
    const total = this.#total + (other ? other.#total : 0);
    if (total < 2) return 0;
    const [fewer, more] =
      other && other.#counts.size < this.#counts.size
        ? [other.#counts, this.#counts]
        : [this.#counts, other ? other.#counts : null];
    let across = 0;
    if (more) for (const [kind, count] of fewer) across += count * (more.get(kind) ?? 0);
    return (this.#pairs + (other ? other.#pairs : 0) + across) / pairsOf(total);
  }
}

function pairsOf(count: number): number {
  return (count * (count - 1)) / 2;
}
