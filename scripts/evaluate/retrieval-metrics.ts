// Recall@k and NDCG@k of full rankings, by the protocol of LightGCN (He et al., SIGIR 2020), and the bounded
// best-first list that the rankings are made of.

export interface Quality {
  'recall@20': number;
  'ndcg@20': number;
}

export const TOP = 20;

/** Running mean over users that have something to find; a user without is not counted. */
export class QualityMean {
  #recall = 0;
  #ndcg = 0;
  #users = 0;

  /** `ranked`: distinct items, best first, the user's own excluded. `size`: how many of them are filled. */
  add(ranked: ArrayLike<number>, wanted: ReadonlySet<number>, size = ranked.length): void {
    if (wanted.size === 0) return;
    let hits = 0;
    let gain = 0;
    for (let rank = 0; rank < Math.min(size, TOP); rank++) {
      if (!wanted.has(ranked[rank])) continue;
      hits++;
      gain += 1 / Math.log2(rank + 2);
    }
    let ideal = 0;
    for (let rank = 0; rank < Math.min(TOP, wanted.size); rank++) ideal += 1 / Math.log2(rank + 2);
    this.#recall += hits / wanted.size;
    this.#ndcg += gain / ideal;
    this.#users++;
  }

  get users(): number {
    return this.#users;
  }

  get value(): Quality {
    const users = Math.max(1, this.#users);
    return { 'recall@20': this.#recall / users, 'ndcg@20': this.#ndcg / users };
  }
}

/** What every search maximises: both headline figures count alike. */
export function objective(quality: Quality): number {
  return quality['recall@20'] + quality['ndcg@20'];
}

/** The best `capacity` of what was offered, best first; of equal scores the earlier offer stands first. */
export class BestList {
  readonly items: Uint32Array;
  readonly scores: Float64Array;
  size = 0;

  constructor(capacity: number) {
    this.items = new Uint32Array(capacity);
    this.scores = new Float64Array(capacity);
  }

  clear(): void {
    this.size = 0;
  }

  /** Insertion from the end: cheap, because almost every offer falls below the last. */
  offer(item: number, score: number): void {
    const { items, scores } = this;
    if (this.size === items.length) {
      if (!(score > scores[this.size - 1])) return;
    } else this.size++;
    let at = this.size - 1;
    while (at > 0 && scores[at - 1] < score) {
      scores[at] = scores[at - 1];
      items[at] = items[at - 1];
      at--;
    }
    scores[at] = score;
    items[at] = item;
  }
}
