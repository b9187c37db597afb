// Cosine similarity of unit vectors as a dot product in four lanes; finite for any input.
import type { Catalogue, VectorIndex } from '../contracts.ts';

/** Dot product of row `row` of `vectors` [rows, dim] with `vector` [dim]; 0 when the result is not finite. */
export function rowSimilarity(vectors: Float32Array, row: number, vector: Float32Array, dim: number): number {
  const from = row * dim;
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 3 < dim; i += 4) {
    a += vectors[from + i] * vector[i];
    b += vectors[from + i + 1] * vector[i + 1];
    c += vectors[from + i + 2] * vector[i + 2];
    d += vectors[from + i + 3] * vector[i + 3];
  }
  for (; i < dim; i++) a += vectors[from + i] * vector[i];
  const sum = a + b + (c + d);
  return sum - sum === 0 ? sum : 0;
}

/** Similarities of scattered rows, by the index where it can; storage is kept between requests. */
export class RowSimilarities {
  readonly #index: VectorIndex | null;
  #out = new Float32Array(0);

  constructor(index: VectorIndex | null) {
    this.#index = index;
  }

  /** The similarity of each of `rows` to `vector` [dim], 0 where it is not finite; to be read before the next call. */
  of(
    vector: Float32Array,
    rows: Uint32Array,
    { vectors, dim }: Pick<Catalogue, 'vectors' | 'dim'>,
  ): Float32Array {
    if (this.#out.length < rows.length) this.#out = new Float32Array(2 * rows.length);
    const out = this.#out.subarray(0, rows.length);
    if (this.#index?.similaritiesOf) {
      this.#index.similaritiesOf(vector, rows, out);
      for (let i = 0; i < out.length; i++) if (out[i] - out[i] !== 0) out[i] = 0;
    } else {
      for (let i = 0; i < out.length; i++) out[i] = rowSimilarity(vectors, rows[i], vector, dim);
    }
    return out;
  }
}
