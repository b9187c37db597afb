// How far a model's scores lie from another's over the same candidates: the population stability index
// (Siddiqi, Credit Risk Scorecards, 2006) over the deciles of the reference.

export const DRIFT_BINS = 10;
/** An empty bin counts as this share, so that the index stays finite. */
const LEAST_SHARE = 1e-4;

/** [DRIFT_BINS] counts of `scores` that fall into each decile of `reference`; adds up over requests. */
export function decileCounts(reference: Float32Array, scores: Float32Array): number[] {
  const sorted = Float32Array.from(reference).sort();
  const edges = Array.from({ length: DRIFT_BINS - 1 }, (_, i) => {
    return sorted[Math.floor(((i + 1) * sorted.length) / DRIFT_BINS)];
  });
  const counts = new Array<number>(DRIFT_BINS).fill(0);
  for (const score of scores) {
    let bin = 0;
    while (bin < edges.length && score >= edges[bin]) bin++;
    counts[bin]++;
  }
  return counts;
}

/** Σ (a − e) ln(a ÷ e): 0 for the same distribution; above .25 is customarily called a major shift. */
export function stabilityIndex(expected: readonly number[], actual: readonly number[]): number {
  const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);
  const [expectedTotal, actualTotal] = [total(expected), total(actual)];
  if (expectedTotal === 0 || actualTotal === 0) return 0;
  return expected.reduce((sum, count, i) => {
    const e = Math.max(LEAST_SHARE, count / expectedTotal);
    const a = Math.max(LEAST_SHARE, actual[i] / actualTotal);
    return sum + (a - e) * Math.log(a / e);
  }, 0);
}
