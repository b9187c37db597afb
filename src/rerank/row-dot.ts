// Dot product of two rows of one matrix, in four lanes.

/** `vectors` [rows, dim]. */
export function rowDot(vectors: Float32Array, rowA: number, rowB: number, dim: number): number {
  const from = rowA * dim;
  const other = rowB * dim;
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 3 < dim; i += 4) {
    a += vectors[from + i] * vectors[other + i];
    b += vectors[from + i + 1] * vectors[other + i + 1];
    c += vectors[from + i + 2] * vectors[other + i + 2];
    d += vectors[from + i + 3] * vectors[other + i + 3];
  }
  for (; i < dim; i++) a += vectors[from + i] * vectors[other + i];
  return a + b + (c + d);
}
