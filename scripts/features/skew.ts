// Differences of features that the service used and that were recomputed, feature by feature. Pure. Called by diff.ts.
import { compilePlan } from '../../src/features/feature-schema.ts';

export interface FeatureSkew {
  feature: string;
  /** Numbers compared: rows × width. */
  values: number;
  max: number;
  mean: number;
  /** Share of the numbers that are not equal but for rounding. */
  unequal: number;
}

/**
 * Relative, absolute below 1. Counters are float32 sums of decayed amounts, and their order is not kept: a thousand
 * additions move the last digits.
 */
const ROUNDING = 1e-4;

export class SkewTally {
  readonly #features = new Map<string, { values: number; max: number; sum: number; unequal: number }>();
  rows = 0;

  /** @param used, recomputed [columns] one post's row, columns as `ids` say */
  add(ids: readonly string[], used: Float32Array, recomputed: Float32Array): void {
    this.rows++;
    let column = 0;
    for (const { id, width } of compilePlan(ids).features) {
      const tally = this.#features.get(id) ?? { values: 0, max: 0, sum: 0, unequal: 0 };
      this.#features.set(id, tally);
      for (const end = column + width; column < end; column++) {
        const difference = Math.abs(used[column] - recomputed[column]);
        tally.values++;
        tally.sum += difference;
        tally.max = Math.max(tally.max, difference);
        const scale = Math.max(1, Math.abs(used[column]), Math.abs(recomputed[column]));
        if (!(difference <= ROUNDING * scale)) tally.unequal++;
      }
    }
  }

  /** Worst first. */
  report(): FeatureSkew[] {
    return [...this.#features]
      .map(([feature, { values, max, sum, unequal }]) => ({
        feature,
        values,
        max: Number(max.toPrecision(3)),
        mean: Number((sum / values).toPrecision(3)),
        unequal: unequal / values,
      }))
      .sort((a, b) => b.unequal - a.unequal || b.max - a.max);
  }
}
