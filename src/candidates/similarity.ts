// Cosine similarity of unit vectors as a dot product in four lanes; finite for any input.

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
