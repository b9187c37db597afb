// Diversity by a determinantal point process: greedy MAP inference with incremental Cholesky rows
// (Chen, Zhang, Zhou: Fast Greedy MAP Inference for Determinantal Point Process, NeurIPS 2018), evaluated lazily
// (Minoux: Accelerated greedy algorithms for maximizing submodular set functions, 1978).
import { DppKernel } from './dpp-kernel.ts';

/**
 * Share of the identity in the kernel. It bounds what repetition can cost (log 0.05 ≈ −3 for an exact copy), and keeps
 * the kernel regular beyond the rank of the vectors, so that the order stays defined for any number of picks.
 */
export const RIDGE = 0.05;

let kernel: DppKernel | undefined;

/**
 * Picks `picks` of N items. `relevance` [N] in [0, 1]; item i's vector is row `rows[i]` of `vectors`
 * [any, dim], unit norm, one that is not finite counts as zeros; `theta` in [0, 1): the greedy maximum of
 * θ · Σ relevance + (1 − θ) · log det S over the picked, with S = (1 − RIDGE)(1 + cosine)/2 + RIDGE · I.
 * Returns positions in the order of picking; equal gains go to the earlier position.
 */
export function dppOrder(
  relevance: Float64Array,
  vectors: Float32Array,
  rows: Uint32Array,
  dim: number,
  picks: number,
  theta: number,
): Uint32Array {
  const n = relevance.length;
  const count = Math.min(picks, n);
  const picked = new Uint32Array(count);
  kernel ??= new DppKernel();
  kernel.load(vectors, rows, dim, count);
  const weight = theta / (1 - theta);
  /** The gain when the item was last looked at: variances only fall, so it is an upper bound of the gain now. */
  const bound = new Float64Array(n);
  for (let i = 0; i < n; i++) bound[i] = weight * relevance[i];
  /** The items that are not picked, as a heap: the most promising first spares most of the others an evaluation. */
  const heap = new Uint32Array(n);
  let size = n;
  const put = (item: number, hole: number): void => {
    const own = bound[item];
    let at = hole;
    for (let child = 2 * at + 1; child < size; child = 2 * at + 1) {
      const right = child + 1;
      if (right < size && isBefore(bound, heap[right], heap[child])) child = right;
      const other = heap[child];
      if (bound[other] < own || (bound[other] === own && other > item)) break;
      heap[at] = other;
      at = child;
    }
    heap[at] = item;
  };
  for (let i = n - 1; i >= 0; i--) put(i, i);

  for (let pick = 0; pick < count; pick++) {
    let best = heap[0];
    size--;
    if (size > 0) put(heap[size], 0);
    bound[best] = weight * relevance[best] + Math.log(kernel.variance(best, pick));
    while (size > 0 && isBefore(bound, heap[0], best)) {
      const item = heap[0];
      bound[item] = weight * relevance[item] + Math.log(kernel.variance(item, pick));
      const wins = isBefore(bound, item, best);
      put(wins ? best : item, 0);
      if (wins) best = item;
    }
    picked[pick] = best;
    kernel.choose(best, pick);
  }
  return picked;
}

function isBefore(bound: Float64Array, a: number, b: number): boolean {
  return bound[a] > bound[b] || (bound[a] === bound[b] && a < b);
}
