// Diversity by maximal marginal relevance (Carbonell, Goldstein: SIGIR 1998).
import { rowDot } from './row-dot.ts';

/**
 * Picks `picks` of N items: each maximises λ · relevance − (1 − λ) · largest cosine to a picked one.
 * `relevance` [N] in [0, 1]; item i's vector is row `rows[i]` of `vectors` [any, dim], unit norm, one that is not finite
 * counts as zeros; `lambda` in [0, 1].
 * Returns positions in the order of picking; equal gains go to the earlier position.
 */
export function mmrOrder(
  relevance: Float64Array,
  vectors: Float32Array,
  rows: Uint32Array,
  dim: number,
  picks: number,
  lambda: number,
): Uint32Array {
  const n = relevance.length;
  const count = Math.min(picks, n);
  const picked = new Uint32Array(count);
  const used = new Uint8Array(n);
  const nearest = new Float64Array(n).fill(-1);
  for (let pick = 0; pick < count; pick++) {
    let best = -1;
    let bestGain = Number.NEGATIVE_INFINITY;
    for (let item = 0; item < n; item++) {
      if (used[item] === 1) continue;
      const gain = lambda * relevance[item] - (1 - lambda) * nearest[item];
      if (best < 0 || gain > bestGain) {
        best = item;
        bestGain = gain;
      }
    }
    picked[pick] = best;
    used[best] = 1;
    if (pick + 1 === count) break;
    for (let item = 0; item < n; item++) {
      if (used[item] === 1) continue;
      const dot = rowDot(vectors, rows[best], rows[item], dim);
      const cosine = dot - dot === 0 ? dot : 0;
      if (cosine > nearest[item]) nearest[item] = cosine;
    }
  }
  return picked;
}
