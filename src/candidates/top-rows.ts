// The k best rows of a stream by score: a bounded binary min-heap. Ties go to the larger row (the newer post).
import type { Hits } from '../contracts.ts';
import { resetHits } from './source.ts';

export class TopRows {
  size = 0;
  /** Scores at or below this cannot enter; −Infinity while there is room. */
  threshold = Number.NEGATIVE_INFINITY;
  readonly capacity: number;
  readonly #rows: Uint32Array;
  readonly #scores: Float64Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#rows = new Uint32Array(capacity);
    this.#scores = new Float64Array(capacity);
  }

  clear(): void {
    this.size = 0;
    this.threshold = Number.NEGATIVE_INFINITY;
  }

  /** Offers a row; a score that is not a number is ignored. */
  offer(row: number, score: number): void {
    if (this.capacity === 0 || !(score >= this.threshold)) return;
    if (this.size < this.capacity) {
      this.#siftUp(this.size++, row, score);
      if (this.size === this.capacity) this.threshold = this.#scores[0];
      return;
    }
    if (!this.#below(this.#rows[0], this.#scores[0], row, score)) return;
    this.#siftDown(row, score);
    this.threshold = this.#scores[0];
  }

  /** Empties the heap into `out`, best first; `scores` gets the scores when given. */
  drain(out: Hits, scores?: Float64Array): void {
    resetHits(out, this.size);
    out.size = this.size;
    for (let at = this.size - 1; at >= 0; at--) {
      out.rows[at] = this.#rows[0];
      out.similarity[at] = this.#scores[0];
      if (scores) scores[at] = this.#scores[0];
      this.size--;
      if (this.size > 0) this.#siftDown(this.#rows[this.size], this.#scores[this.size]);
    }
    this.clear();
  }

  #below(rowA: number, scoreA: number, rowB: number, scoreB: number): boolean {
    return scoreA < scoreB || (scoreA === scoreB && rowA < rowB);
  }

  #siftUp(start: number, row: number, score: number): void {
    let at = start;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#below(row, score, this.#rows[parent], this.#scores[parent])) break;
      this.#rows[at] = this.#rows[parent];
      this.#scores[at] = this.#scores[parent];
      at = parent;
    }
    this.#rows[at] = row;
    this.#scores[at] = score;
  }

  #siftDown(row: number, score: number): void {
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.size) break;
      const right = child + 1;
      if (
        right < this.size &&
        this.#below(this.#rows[right], this.#scores[right], this.#rows[child], this.#scores[child])
      ) {
        child = right;
      }
      if (!this.#below(this.#rows[child], this.#scores[child], row, score)) break;
      this.#rows[at] = this.#rows[child];
      this.#scores[at] = this.#scores[child];
      at = child;
    }
    this.#rows[at] = row;
    this.#scores[at] = score;
  }
}
