// What shadow scoring found so far about one trial: sums, so that memory does not grow.
import { z } from 'zod';
import { HEADS, type Head } from '../../vocabulary.ts';
import { RecentMedian } from './recent-median.ts';
import { DRIFT_BINS, stabilityIndex } from './score-drift.ts';
import type { ShadowSample } from './shadow-comparison.ts';

export interface ShadowFigures {
  samples: number;
  /** Comparisons in which the trial failed. */
  failures: number;
  lastFailure: string;
  /** Means over the samples. */
  correlation: number;
  topOverlap: number;
  /** Stability index of the values, all samples together. */
  drift: number;
  /** Time a row, trial ÷ serving; median. */
  latencyRatio: number;
  means: Record<Head, { serving: number; trial: number }>;
}

const bins = z.array(z.number()).length(DRIFT_BINS);

/** The evidence as it is kept over a restart. */
export const keptShadow = z.strictObject({
  samples: z.number(),
  failures: z.number(),
  lastFailure: z.string(),
  correlation: z.number(),
  topOverlap: z.number(),
  latencyRatio: z.array(z.number()),
  serving: bins,
  trial: bins,
  means: z.array(z.object({ serving: z.number(), trial: z.number() })).length(HEADS.length),
});

export class ShadowEvidence {
  #samples = 0;
  #failures = 0;
  #lastFailure = '';
  #correlation = 0;
  #topOverlap = 0;
  #latencyRatio = new RecentMedian();
  readonly #serving = new Array<number>(DRIFT_BINS).fill(0);
  readonly #trial = new Array<number>(DRIFT_BINS).fill(0);
  readonly #means = HEADS.map(() => ({ serving: 0, trial: 0 }));

  add(sample: ShadowSample): void {
    this.#samples++;
    this.#correlation += sample.correlation;
    this.#topOverlap += sample.topOverlap;
    this.#latencyRatio.add(sample.trialMsPerRow / sample.servingMsPerRow);
    for (let bin = 0; bin < DRIFT_BINS; bin++) {
      this.#serving[bin] += sample.servingDeciles[bin];
      this.#trial[bin] += sample.trialDeciles[bin];
    }
    this.#means.forEach((mean, h) => {
      mean.serving += sample.servingMeans[h];
      mean.trial += sample.trialMeans[h];
    });
  }

  toJSON(): z.infer<typeof keptShadow> {
    return {
      samples: this.#samples,
      failures: this.#failures,
      lastFailure: this.#lastFailure,
      correlation: this.#correlation,
      topOverlap: this.#topOverlap,
      latencyRatio: this.#latencyRatio.toJSON(),
      serving: this.#serving,
      trial: this.#trial,
      means: this.#means,
    };
  }

  /** Adds what another replica saw, or this one before it was started again. */
  addKept(kept: z.infer<typeof keptShadow>): void {
    this.#samples += kept.samples;
    this.#failures += kept.failures;
    this.#lastFailure ||= kept.lastFailure;
    this.#correlation += kept.correlation;
    this.#topOverlap += kept.topOverlap;
    this.#latencyRatio.addAll(kept.latencyRatio);
    for (let bin = 0; bin < DRIFT_BINS; bin++) {
      this.#serving[bin] += kept.serving[bin];
      this.#trial[bin] += kept.trial[bin];
    }
    this.#means.forEach((mean, h) => {
      mean.serving += kept.means[h].serving;
      mean.trial += kept.means[h].trial;
    });
  }

  fail(reason: string): void {
    this.#failures++;
    this.#lastFailure = reason;
  }

  /** Of this evidence and the others' together. */
  figures(others: ShadowEvidence | null = null): ShadowFigures {
    const sum = (read: (one: ShadowEvidence) => number) => read(this) + (others ? read(others) : 0);
    const bins = (read: (one: ShadowEvidence) => number[]) =>
      read(this).map((_, i) => sum((one) => read(one)[i]));
    const samples = sum((one) => one.#samples);
    const count = Math.max(1, samples);
    return {
      samples,
      failures: sum((one) => one.#failures),
      lastFailure: this.#lastFailure || (others ? others.#lastFailure : ''),
      correlation: sum((one) => one.#correlation) / count,
      topOverlap: sum((one) => one.#topOverlap) / count,
      drift: stabilityIndex(
        bins((one) => one.#serving),
        bins((one) => one.#trial),
      ),
      latencyRatio: this.#latencyRatio.medianWith(others ? others.#latencyRatio : null) ?? 1,
      means: Object.fromEntries(
        HEADS.map((head, h) => [
          head,
          {
            serving: sum((one) => one.#means[h].serving) / count,
            trial: sum((one) => one.#means[h].trial) / count,
          },
        ]),
      ) as ShadowFigures['means'],
    };
  }
}
