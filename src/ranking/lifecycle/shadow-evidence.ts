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

  static of(kept: z.infer<typeof keptShadow>): ShadowEvidence {
    const made = new ShadowEvidence();
    made.#samples = kept.samples;
    made.#failures = kept.failures;
    made.#lastFailure = kept.lastFailure;
    made.#correlation = kept.correlation;
    made.#topOverlap = kept.topOverlap;
    made.#latencyRatio = RecentMedian.of(kept.latencyRatio);
    for (let bin = 0; bin < DRIFT_BINS; bin++) {
      made.#serving[bin] = kept.serving[bin];
      made.#trial[bin] = kept.trial[bin];
    }
    for (let h = 0; h < HEADS.length; h++) Object.assign(made.#means[h], kept.means[h]);
    return made;
  }

  fail(reason: string): void {
    this.#failures++;
    this.#lastFailure = reason;
  }

  figures(): ShadowFigures {
    const count = Math.max(1, this.#samples);
    return {
      samples: this.#samples,
      failures: this.#failures,
      lastFailure: this.#lastFailure,
      correlation: this.#correlation / count,
      topOverlap: this.#topOverlap / count,
      drift: stabilityIndex(this.#serving, this.#trial),
      latencyRatio: this.#latencyRatio.median ?? 1,
      means: Object.fromEntries(
        HEADS.map((head, h) => {
          const { serving, trial } = this.#means[h];
          return [head, { serving: serving / count, trial: trial / count }];
        }),
      ) as ShadowFigures['means'],
    };
  }
}
