// The exact search in plain JavaScript over float32: the oracle that everything else is measured against, and the
// fallback where WebAssembly SIMD is missing (about 100 ms per million rows, against 3).
import type { Hits, VectorIndex } from '../../contracts.ts';
import { DIM } from '../../vocabulary.ts';
import { rowSimilarity } from '../similarity.ts';
import { checkHits, type SearchTable } from './search-table.ts';
import { checkVector } from './vector-codes.ts';

export class PlainScan implements VectorIndex {
  readonly kind = 'plain';
  readonly #table: SearchTable;

  constructor(table: SearchTable) {
    this.#table = table;
  }

  similarities(query: Float32Array, fromRow: number, out: Float32Array): void {
    const { vectors } = this.#table;
    for (let i = 0; i < out.length; i++) out[i] = rowSimilarity(vectors, fromRow + i, query, DIM);
  }

  similaritiesOf(query: Float32Array, rows: Uint32Array, out: Float32Array): void {
    const { vectors } = this.#table;
    for (let i = 0; i < out.length; i++) out[i] = rowSimilarity(vectors, rows[i], query, DIM);
  }

  search(query: Float32Array, k: number, hits: Hits, fromRow = 0, toRow = this.#table.rows): void {
    checkVector(query, 'query');
    checkHits(k, hits, Number.MAX_SAFE_INTEGER);
    const { vectors } = this.#table;
    const heapRows = hits.rows;
    const heapSims = hits.similarity;
    let size = 0;
    for (let row = fromRow; row < toRow; row++) {
      if (this.#table.isDeleted(row)) continue;
      let sum = 0;
      for (let i = 0, at = row * DIM; i < DIM; i++) sum += query[i] * vectors[at + i];
      const similarity = Math.fround(sum);
      if (size < k) siftUp(heapRows, heapSims, size++, row, similarity);
      else if (similarity > heapSims[0]) siftDown(heapRows, heapSims, size, row, similarity);
    }
    // Heap to falling order: the worst goes to the end of what is left.
    hits.size = size;
    for (let end = size - 1; end > 0; end--) {
      const row = heapRows[end];
      const similarity = heapSims[end];
      const worstRow = heapRows[0];
      const worst = heapSims[0];
      siftDown(heapRows, heapSims, end, row, similarity);
      heapRows[end] = worstRow;
      heapSims[end] = worst;
    }
  }
}

/** Worse = lower similarity, then higher row. */
function worse(simA: number, rowA: number, simB: number, rowB: number): boolean {
  return simA < simB || (simA === simB && rowA > rowB);
}

function siftUp(rows: Uint32Array, sims: Float32Array, at: number, row: number, similarity: number): void {
  let child = at;
  while (child > 0) {
    const parent = (child - 1) >> 1;
    if (!worse(similarity, row, sims[parent], rows[parent])) break;
    rows[child] = rows[parent];
    sims[child] = sims[parent];
    child = parent;
  }
  rows[child] = row;
  sims[child] = similarity;
}

function siftDown(
  rows: Uint32Array,
  sims: Float32Array,
  size: number,
  row: number,
  similarity: number,
): void {
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= size) break;
    if (child + 1 < size && worse(sims[child + 1], rows[child + 1], sims[child], rows[child])) child++;
    if (!worse(sims[child], rows[child], similarity, row)) break;
    rows[at] = rows[child];
    sims[at] = sims[child];
    at = child;
  }
  rows[at] = row;
  sims[at] = similarity;
}
