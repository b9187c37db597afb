// Diversity by a determinantal point process: greedy MAP inference with incremental Cholesky rows
// (Chen, Zhang, Zhou: Fast Greedy MAP Inference for Determinantal Point Process, NeurIPS 2018), evaluated lazily
// (Minoux: Accelerated greedy algorithms for maximizing submodular set functions, 1978).
import { rowDot } from './row-dot.ts';

/**
 * Share of the identity in the kernel. It bounds what repetition can cost (log 0.05 ≈ −3 for an exact copy), and keeps
 * the kernel regular beyond the rank of the vectors, so that the order stays defined for any number of picks.
 */
export const RIDGE = 0.05;

/**
 * Picks `picks` of N items. `relevance` [N] in [0, 1]; `vectors` [N, dim] unit norm; `theta` in [0, 1): the greedy
 * maximum of θ · Σ relevance + (1 − θ) · log det S over the picked, with S = (1 − RIDGE)(1 + cosine)/2 + RIDGE · I.
 * Returns positions in the order of picking; equal gains go to the earlier position.
 */
export function dppOrder(
  relevance: Float64Array,
  vectors: Float32Array,
  dim: number,
  picks: number,
  theta: number,
): Uint32Array {
  const n = relevance.length;
  const count = Math.min(picks, n);
  const picked = new Uint32Array(count);
  const used = new Uint8Array(n);
  /** Conditional variance of each item given the first `known[item]` picked; its log is the item's own gain. */
  const variance = new Float64Array(n).fill(1);
  const known = new Uint32Array(n);
  /** 1 / √variance of the picked items when they were picked. */
  const scale = new Float64Array(count);
  /** [n, count]: each item's Cholesky coefficients with the picked items. */
  const cholesky = new Float64Array(n * count);
  const weight = theta / (1 - theta);
  /** The gain when the item was last looked at: variances only fall, so it is an upper bound of the gain now. */
  const bound = Float64Array.from(relevance, (value) => weight * value);

  /** Brings an item up to date with the first `pick` picks; its gain. */
  const gainOf = (item: number, pick: number): number => {
    const b = item * count;
    for (let k = known[item]; k < pick; k++) {
      const other = picked[k];
      const a = other * count;
      let residual = (1 - RIDGE) * 0.5 * (1 + rowDot(vectors, other, item, dim));
      for (let i = 0; i < k; i++) residual -= cholesky[a + i] * cholesky[b + i];
      const coefficient = residual * scale[k];
      cholesky[b + k] = coefficient;
      // The exact value is at least RIDGE; rounding, or a vector that is not unit, must not pass below.
      variance[item] = Math.max(RIDGE, variance[item] - coefficient * coefficient);
    }
    known[item] = pick;
    return (bound[item] = weight * relevance[item] + Math.log(variance[item]));
  };

  for (let pick = 0; pick < count; pick++) {
    let best = -1;
    let bestGain = Number.NEGATIVE_INFINITY;
    // The most promising first: it spares most of the others an evaluation.
    let first = -1;
    for (let item = 0; item < n; item++) {
      if (used[item] === 0 && (first < 0 || bound[item] > bound[first])) first = item;
    }
    const consider = (item: number): void => {
      const gain = gainOf(item, pick);
      if (gain > bestGain || (gain === bestGain && item < best)) {
        best = item;
        bestGain = gain;
      }
    };
    consider(first);
    for (let item = 0; item < n; item++) {
      const promising = bound[item] > bestGain || (bound[item] === bestGain && item < best);
      if (used[item] === 0 && item !== first && promising) consider(item);
    }
    picked[pick] = best;
    used[best] = 1;
    scale[pick] = 1 / Math.sqrt(variance[best]);
  }
  return picked;
}
