// Shared by the tower tests: where the committed towers lie, and small vector arithmetic.
import { fileURLToPath } from 'node:url';

export const POST_TOWER = fileURLToPath(new URL('../../../models/post-tower/1', import.meta.url));
export const USER_TOWER = fileURLToPath(new URL('../../../models/user-tower/1', import.meta.url));

export function row(vectors: Float32Array, index: number, dim = 64): Float32Array {
  return vectors.subarray(index * dim, (index + 1) * dim);
}

export function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

export function largestDifference(a: Float32Array, b: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i] - b[i]));
  return largest;
}
