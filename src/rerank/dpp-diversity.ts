// Diversity by a determinantal point process: greedy MAP inference with incremental Cholesky rows
// (Chen, Zhang, Zhou: Fast Greedy MAP Inference for Determinantal Point Process, NeurIPS 2018).
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
  /** Conditional variance of each item given the picked ones; the gain of an item is its log. */
  const variance = new Float64Array(n).fill(1);
  /** [n, count]: each item's Cholesky coefficients with the picked items. */
  const cholesky = new Float64Array(n * count);
  const weight = theta / (1 - theta);
  for (let pick = 0; pick < count; pick++) {
    let best = -1;
    let bestGain = Number.NEGATIVE_INFINITY;
    for (let item = 0; item < n; item++) {
      if (used[item] === 1) continue;
      const gain = weight * relevance[item] + Math.log(variance[item]);
      if (best < 0 || gain > bestGain) {
        best = item;
        bestGain = gain;
      }
    }
    picked[pick] = best;
    used[best] = 1;
    if (pick + 1 === count) break;
    const scale = 1 / Math.sqrt(variance[best]);
    for (let item = 0; item < n; item++) {
      if (used[item] === 1) continue;
      let residual = (1 - RIDGE) * 0.5 * (1 + rowDot(vectors, best, item, dim));
      const a = best * count;
      const b = item * count;
      for (let i = 0; i < pick; i++) residual -= cholesky[a + i] * cholesky[b + i];
      const coefficient = residual * scale;
      cholesky[b + pick] = coefficient;
      // The exact value is at least RIDGE; rounding, or a vector that is not unit, must not pass below.
      variance[item] = Math.max(RIDGE, variance[item] - coefficient * coefficient);
    }
  }
  return picked;
}
