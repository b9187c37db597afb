// Metrics of one ordered list against known gains. Pure; called by demo.ts.

const GREEDY_POOL = 3_000;

/** Discount of 0-based position k: 1 / log2(k + 2) (Järvelin & Kekäläinen, 2002). */
export function discount(position: number): number {
  return 1 / Math.log2(position + 2);
}

/**
 * DCG@k with linear gains: the gain is itself an expected number (the probability of a satisfied engagement), so that
 * DCG is the expected count under the discount. `factor(before, item)` scales a gain by what was listed before.
 */
export function dcg(
  list: readonly number[],
  gainOf: (item: number) => number,
  k: number,
  factor: (before: readonly number[], item: number) => number = () => 1,
): number {
  let sum = 0;
  for (let position = 0; position < Math.min(k, list.length); position++) {
    const gain = gainOf(list[position]);
    if (gain > 0) sum += gain * factor(list.slice(0, position), list[position]) * discount(position);
  }
  return sum;
}

/** The k items of largest gain, best first; items of gain 0 are left out. Ties by item. */
export function idealList(gains: Float32Array, k: number): number[] {
  const floor = k < gains.length ? gains.slice().sort()[gains.length - k] : 0;
  const items: number[] = [];
  for (let item = 0; item < gains.length; item++) {
    if (gains[item] >= floor && gains[item] > 0) items.push(item);
  }
  return items.sort((a, b) => gains[b] - gains[a] || a - b).slice(0, k);
}

/**
 * The list made by always taking the item of largest gain × factor: the usual stand-in for the ideal of a gain that
 * depends on the list (finding the true one is NP-hard; alpha-nDCG, Clarke et al., 2008, does the same). Factors ≤ 1;
 * only the GREEDY_POOL items of largest gain are looked at.
 */
export function greedyIdealList(
  gains: Float32Array,
  k: number,
  factor: (before: readonly number[], item: number) => number,
): number[] {
  const items = idealList(gains, GREEDY_POOL);
  const taken = new Set<number>();
  const list: number[] = [];
  while (list.length < Math.min(k, items.length)) {
    let best = -1;
    let bestGain = -1;
    for (const item of items) {
      if (gains[item] <= bestGain) break;
      if (taken.has(item)) continue;
      const gain = gains[item] * factor(list, item);
      if (gain > bestGain) {
        best = item;
        bestGain = gain;
      }
    }
    list.push(best);
    taken.add(best);
  }
  return list;
}

/** 1 − mean similarity over all pairs; 0 for fewer than two items. */
export function intraListDiversity(
  list: readonly number[],
  similarity: (a: number, b: number) => number,
): number {
  let sum = 0;
  let pairs = 0;
  for (let i = 0; i < list.length; i++) {
    for (let j = 0; j < i; j++) {
      sum += similarity(list[i], list[j]);
      pairs++;
    }
  }
  return pairs === 0 ? 0 : 1 - sum / pairs;
}

/** Mean and its standard error. */
export function meanOf(values: readonly number[]): { mean: number; standardError: number } {
  const n = values.length;
  if (n === 0) return { mean: Number.NaN, standardError: Number.NaN };
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, standardError: n > 1 ? Math.sqrt(squares / (n - 1) / n) : 0 };
}
