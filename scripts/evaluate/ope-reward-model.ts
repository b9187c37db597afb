// A reward model for rows of (item, position, reward count): position rate × item factor, the factor shrunk to the
// mean by as much as the data asks for. Cross-fitted, so that no row is predicted by a model that saw it.
import { seededRandom } from '../../src/rerank/seeded-random.ts';

export interface ItemRows {
  /** [N] 0 … items − 1 */
  items: Int32Array;
  /** [N] 0 … positions − 1 */
  positions: Int32Array;
  /** [N] counts, 0 or more */
  rewards: Float64Array;
  itemCount: number;
  positionCount: number;
}

export interface ItemPredictions {
  /** [N] for the row's own item. */
  logged: Float64Array;
  /** [N] expectation over the new policy's items at the row's position. */
  target: Float64Array;
}

const FOLDS = 5;
/** Prior strengths tried, in expected rewards; the ends are "no sharing" and "all items alike". */
const STRENGTHS = [0.5, 1, 2, 4, 8, 16, 32, 64];
/** Prior means tried, over the mean reward of the log: a good logging policy shows the better items more. */
const LEVELS = [1, 0.8, 0.6, 0.4];

/** `targetOf(position)` = the new policy's probability of each item there, [itemCount]. */
export function crossFit(
  rows: ItemRows,
  targetOf: (position: number) => Float64Array,
  seed: number,
): ItemPredictions {
  const { items, positions } = rows;
  const size = items.length;
  const random = seededRandom(seed);
  const fold = Uint8Array.from({ length: size }, () => Math.floor(random() * FOLDS));
  const logged = new Float64Array(size);
  const target = new Float64Array(size);
  for (let held = 0; held < FOLDS; held++) {
    const { base, factor } = fitItems(rows, (row) => fold[row] !== held);
    const expected = Float64Array.from(base, (rate, position) => {
      const probabilities = targetOf(position);
      return rate * factor.reduce((sum, value, item) => sum + probabilities[item] * value, 0);
    });
    for (let row = 0; row < size; row++) {
      if (fold[row] !== held) continue;
      logged[row] = base[positions[row]] * factor[items[row]];
      target[row] = expected[positions[row]];
    }
  }
  return { logged, target };
}

/**
 * Gamma–Poisson empirical Bayes (Robbins 1956; Clayton & Kaldor, Biometrics 1987): with e the rewards expected of an
 * item's rows at the position rates, its factor is (rewards + κ) ÷ (e m + κ) · m; κ and m by marginal likelihood.
 */
export function fitItems(
  { items, positions, rewards, itemCount, positionCount }: ItemRows,
  included: (row: number) => boolean,
): { base: Float64Array; factor: Float64Array } {
  const shown = new Float64Array(positionCount);
  const got = new Float64Array(positionCount);
  for (let row = 0; row < items.length; row++) {
    if (!included(row)) continue;
    shown[positions[row]]++;
    got[positions[row]] += rewards[row];
  }
  const mean = sum(got) / Math.max(1, sum(shown));
  // One expected reward at the common rate steadies a position that was hardly shown.
  const base = Float64Array.from(got, (count, p) => (mean > 0 ? (count + 1) / (shown[p] + 1 / mean) : 0));
  const expected = new Float64Array(itemCount);
  const counts = new Float64Array(itemCount);
  for (let row = 0; row < items.length; row++) {
    if (!included(row)) continue;
    expected[items[row]] += base[positions[row]];
    counts[items[row]] += rewards[row];
  }
  let best = { likelihood: Number.NEGATIVE_INFINITY, strength: 1, level: 1 };
  for (const level of LEVELS) {
    for (const strength of STRENGTHS) {
      let likelihood = 0;
      for (let item = 0; item < itemCount; item++) {
        likelihood += negativeBinomial(counts[item], expected[item] * level, strength);
      }
      if (likelihood > best.likelihood) best = { likelihood, strength, level };
    }
  }
  const { strength, level } = best;
  const factor = Float64Array.from(
    counts,
    (count, item) => (level * (count + strength)) / (expected[item] * level + strength),
  );
  return { base, factor };
}

/** Log probability of `count` rewards where `expected` are and the factor is Gamma(strength, strength), up to a constant. */
function negativeBinomial(count: number, expected: number, strength: number): number {
  const share = expected / (expected + strength);
  const hits = count > 0 ? count * Math.log(share) : 0;
  return logGamma(count + strength) - logGamma(strength) + strength * Math.log(1 - share) + hits;
}

/** Stirling's series after shifting the argument above 7. */
function logGamma(x: number): number {
  let shift = 0;
  let at = x;
  for (; at < 7; at++) shift -= Math.log(at);
  return (
    shift + (at - 0.5) * Math.log(at) - at + 0.5 * Math.log(2 * Math.PI) + 1 / (12 * at) - 1 / (360 * at ** 3)
  );
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}
