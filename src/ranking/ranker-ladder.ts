// Main model → light model → retrieval score: the first that answers in time ranks all candidates, and every step
// that was skipped is named. Never throws for a model's sake. Called by the pipeline, one in each feed worker.
import type { CandidateSet, Catalogue, FeedQuery } from '../contracts.ts';
import { FeedrankError, messageOf } from '../errors.ts';
import type { Ranker, Scored } from './ranker.ts';
import { RetrievalRanker } from './retrieval-ranker.ts';
import type { ValueModel } from './value-model.ts';

export interface RankOutcome {
  ranked: Scored;
  /** `ranker_late`, `ranker_failed`, `ranker_missing`, the same for `light_ranker_…`; empty = full quality. */
  degraded: string[];
  /** What went wrong, for the log. */
  errors: string[];
}

export interface LadderModels {
  /** null where no model could be loaded. */
  main: Ranker | null;
  light: Ranker | null;
}

export class RankerLadder {
  readonly models: Readonly<LadderModels>;
  readonly #last = new RetrievalRanker();

  constructor(models: LadderModels) {
    this.models = models;
  }

  /** @param deadlineAtMs unix ms by which ranking must be done; leave the time that re-ranking needs. */
  async rank(
    query: FeedQuery,
    catalogue: Catalogue,
    candidates: CandidateSet,
    deadlineAtMs: number,
    value: ValueModel,
  ): Promise<RankOutcome> {
    const { main, light } = this.models;
    const degraded: string[] = [];
    const errors: string[] = [];
    // The main model must leave the light one its time, or a late main model costs both.
    const reserveMs = light?.expectedMs(candidates.size) ?? 0;
    const steps = [
      { step: 'ranker', ranker: main, deadlineAtMs: deadlineAtMs - reserveMs },
      { step: 'light_ranker', ranker: light, deadlineAtMs },
    ];
    for (const { step, ranker, deadlineAtMs: stepDeadlineAtMs } of steps) {
      if (ranker === null) {
        degraded.push(`${step}_missing`);
        continue;
      }
      try {
        const ranked = await ranker.score(query, catalogue, candidates, stepDeadlineAtMs, value);
        return { ranked, degraded, errors };
      } catch (error) {
        const late = error instanceof FeedrankError && error.code === 'timeout';
        degraded.push(`${step}_${late ? 'late' : 'failed'}`);
        errors.push(messageOf(error));
      }
    }
    const ranked = await this.#last.score(query, catalogue, candidates);
    return { ranked, degraded, errors };
  }
}
