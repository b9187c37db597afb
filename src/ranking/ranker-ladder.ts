// Main model → light model → retrieval score: the first that answers in time ranks all candidates, and every step
// that was skipped is named. Never throws for a model's sake. Called by the pipeline, one in each feed worker.
import type { CandidateSet, Catalogue, FeedQuery } from '../contracts.ts';
import { FeedrankError, messageOf } from '../errors.ts';
import { joinRanked, type PreRanked, preRank } from './pre-ranker.ts';
import type { Ranker, Scored } from './ranker.ts';
import { RetrievalRanker } from './retrieval-ranker.ts';
import type { ValueModel } from './value-model.ts';

export interface RankOutcome {
  ranked: Scored;
  /** `ranker_on_cpu`, `ranker_late`, `ranker_failed`, `ranker_missing`, the last three for `light_ranker_…`, `prerank_late`, `prerank_failed`; empty = full quality. */
  degraded: string[];
  /** What went wrong, for the log. */
  errors: string[];
}

export interface LadderModels {
  /** null where no model could be loaded. */
  main: Ranker | null;
  light: Ranker | null;
  /** True where the main model runs on the CPU because the configured device does not take it. */
  onCpu?: boolean;
  /** Candidates that the light model leaves to the main one; 0 = all. */
  preRank?: number;
}

export class RankerLadder {
  readonly models: Readonly<LadderModels>;
  readonly #last = new RetrievalRanker();

  constructor(models: LadderModels) {
    this.models = models;
  }

  /** @param deadlineAtMs on steady-clock.ts's clock, by which ranking must be done; leave the time that re-ranking needs. */
  async rank(
    query: FeedQuery,
    catalogue: Catalogue,
    candidates: CandidateSet,
    deadlineAtMs: number,
    value: ValueModel,
  ): Promise<RankOutcome> {
    const { main, light } = this.models;
    const degraded: string[] = this.models.onCpu ? ['ranker_on_cpu'] : [];
    const errors: string[] = [];
    let pre: PreRanked | null = null;
    const keep = this.models.preRank ?? 0;
    if (main !== null && light !== null && keep > 0 && keep < candidates.size) {
      try {
        pre = await preRank(light, keep, query, catalogue, candidates, deadlineAtMs, value);
      } catch (error) {
        // The main model ranks all of them, if there is time.
        degraded.push(`prerank_${causeOf(error)}`);
        errors.push(messageOf(error));
      }
    }
    // The main model must leave the light one its time, or a late main model costs both.
    const reserveMs = pre ? 0 : (light?.expectedMs(candidates.size) ?? 0);
    if (main === null) degraded.push('ranker_missing');
    else {
      try {
        const set = pre?.kept ?? candidates;
        const ranked = await main.score(query, catalogue, set, deadlineAtMs - reserveMs, value);
        return { ranked: pre ? joinRanked(ranked, pre, candidates) : ranked, degraded, errors };
      } catch (error) {
        degraded.push(`ranker_${causeOf(error)}`);
        errors.push(messageOf(error));
      }
    }
    if (pre) return { ranked: pre.light, degraded, errors };
    if (light === null) degraded.push('light_ranker_missing');
    else {
      try {
        const ranked = await light.score(query, catalogue, candidates, deadlineAtMs, value);
        return { ranked, degraded, errors };
      } catch (error) {
        degraded.push(`light_ranker_${causeOf(error)}`);
        errors.push(messageOf(error));
      }
    }
    const ranked = await this.#last.score(query, catalogue, candidates);
    return { ranked, degraded, errors };
  }
}

function causeOf(error: unknown): 'late' | 'failed' {
  return error instanceof FeedrankError && error.code === 'timeout' ? 'late' : 'failed';
}
