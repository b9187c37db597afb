// Item vectors learned click by click from what is read together: skip-gram with negative sampling (Mikolov et al.,
// 2013) over each reader's last clicks. A reader's vector is made of their clicks, so it moves with each. Called by the replays.
import { mulberry32 } from './retrieval-data.ts';

/** Recent clicks from which negatives are drawn: what is popular now, in proportion. */
const RECENT = 16_384;
const NEGATIVES = 5;
const RATE = 0.06;
/** Weight of a click against the one after it in the reader's vector. */
const RECENCY = 0.7;

export class ItemVectors {
  readonly dim: number;
  /** Items whose own vector the latest step moved. */
  readonly moved: number[] = [];
  readonly #inward: Float32Array;
  readonly #outward: Float32Array;
  readonly #recent = new Int32Array(RECENT);
  #clicks = 0;
  readonly #random: () => number;
  readonly #reader: Float32Array;
  readonly #step: Float32Array;

  constructor(itemCount: number, dim: number, seed: number) {
    this.dim = dim;
    // One source for the start and one for the steps: the steps do not depend on how many items there will be.
    const start = mulberry32(seed);
    this.#random = mulberry32(seed + 1);
    this.#inward = Float32Array.from({ length: itemCount * dim }, () => (start() - 0.5) / dim);
    this.#outward = new Float32Array(itemCount * dim);
    this.#reader = new Float32Array(dim);
    this.#step = new Float32Array(dim);
  }

  /** Writes the vector of a reader of `history` (latest last) into `vector` [dim]; zeros for no history. */
  readerVector(history: ArrayLike<number>, vector: Float32Array): void {
    vector.fill(0);
    let weight = 1;
    let sum = 0;
    for (let h = history.length - 1; h >= 0 && weight > 0.1; h--) {
      const at = history[h] * this.dim;
      for (let d = 0; d < this.dim; d++) vector[d] += weight * this.#inward[at + d];
      sum += weight;
      weight *= RECENCY;
    }
    if (sum > 0) for (let d = 0; d < this.dim; d++) vector[d] /= sum;
  }

  /** Writes the item's own vector [dim]: what a reader's is compared with. */
  itemVector(item: number, vector: Float32Array): void {
    vector.set(this.#outward.subarray(item * this.dim, (item + 1) * this.dim));
    // Before its first step it has no direction: a tiny one of its own, so that it is no one's neighbour.
    if (vector.every((x) => x === 0))
      vector.set(this.#inward.subarray(item * this.dim, (item + 1) * this.dim));
  }

  /** Log-odds, against recent popularity, that such a reader opens the item. */
  score(vector: Float32Array, item: number): number {
    const at = item * this.dim;
    let dot = 0;
    for (let d = 0; d < this.dim; d++) dot += vector[d] * this.#outward[at + d];
    return dot;
  }

  /** A reader of `history` opened `item`: one step for it and against some of what others opened lately. */
  learn(history: ArrayLike<number>, item: number): void {
    this.moved.length = 0;
    if (history.length > 0 && this.#clicks > 0) {
      this.readerVector(history, this.#reader);
      this.#step.fill(0);
      this.#pull(item, 1);
      const recent = Math.min(this.#clicks, RECENT);
      for (let n = 0; n < NEGATIVES; n++) {
        const negative = this.#recent[Math.floor(this.#random() * recent)];
        if (negative !== item) this.#pull(negative, 0);
      }
      let weight = 1;
      for (let h = history.length - 1; h >= 0 && weight > 0.1; h--) {
        const at = history[h] * this.dim;
        for (let d = 0; d < this.dim; d++) this.#inward[at + d] += weight * this.#step[d];
        weight *= RECENCY;
      }
    }
    this.#recent[this.#clicks++ % RECENT] = item;
  }

  #pull(item: number, label: number): void {
    this.moved.push(item);
    const slope = RATE * (label - 1 / (1 + Math.exp(-this.score(this.#reader, item))));
    const at = item * this.dim;
    for (let d = 0; d < this.dim; d++) {
      this.#step[d] += slope * this.#outward[at + d];
      this.#outward[at + d] += slope * this.#reader[d];
    }
  }
}
