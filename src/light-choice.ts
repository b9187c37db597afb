// Which light ranker a user gets while one is on trial, and what came of it where it had something to do: fallbacks and
// pre-ranking. Buckets have the version's own salt. On the request's path: memory only, never throws.
import type { FeedAnswer, ServingRecord } from './contracts.ts';
import type { ArmEvidence } from './ranking/lifecycle/arm-evidence.ts';
import type { TrialEvidence, TrialGroup } from './ranking/lifecycle/trial-evidence.ts';
import { LIGHT_RANKER } from './ranking/model-registry.ts';

const MADE = new RegExp(`^${LIGHT_RANKER}@`);
const FAILED = ['light_ranker_failed', 'prerank_failed'];
const LATE = ['light_ranker_late', 'prerank_late'];

export class LightChoices {
  readonly #authorOf: (postId: string) => string | null;
  /** Set by the coordinator, once the version is open in every worker. */
  trial: TrialEvidence | null = null;
  /** A version that came to everybody a short time ago. */
  probation: { version: string; evidence: ArmEvidence } | null = null;

  constructor(authorOf: (postId: string) => string | null) {
    this.#authorOf = authorOf;
  }

  choose(userId: string): { lightGroup: TrialGroup | null; light?: string } {
    const lightGroup = this.trial?.groupOf(userId) ?? null;
    return {
      lightGroup,
      ...(lightGroup === 'canary' && this.trial ? { light: this.trial.trial.version } : {}),
    };
  }

  answered(
    group: TrialGroup | null,
    answer: Pick<FeedAnswer, 'model' | 'degraded' | 'failures' | 'stageMs' | 'counts'>,
  ): void {
    const { degraded, failures, stageMs, model, counts } = answer;
    const failed = degraded.some((cause) => FAILED.includes(cause));
    const late = degraded.some((cause) => LATE.includes(cause));
    if (!failed && !late && !MADE.test(model) && counts.preRanked === undefined) return;
    // In the words that the evidence counts.
    const seen = {
      degraded: [...(failed ? ['ranker_failed'] : []), ...(late ? ['ranker_late'] : [])],
      failures,
      stageMs,
    };
    if (group) this.trial?.answered(group, seen);
    // The canary's failures are not those of what serves.
    if (group !== 'canary') this.probation?.evidence.answered(seen);
  }

  /** A page as it was delivered: one that a light ranker ordered is evidence for its group. */
  served({
    requestId,
    userId,
    model,
    posts,
  }: Pick<ServingRecord, 'requestId' | 'userId' | 'model' | 'posts'>): void {
    const group = this.trial?.groupOf(userId) ?? null;
    if (!group || !this.trial || !MADE.test(model)) return;
    const isTrials = model.split('+')[0] === `${LIGHT_RANKER}@${this.trial.trial.version}`;
    if (isTrials === (group === 'canary')) this.trial.served(group, requestId, posts, this.#authorOf);
  }
}
