// Who is answered by an index on trial, and what came of it: answers, pages and events become evidence, sampled requests
// are looked for in both. Buckets have the version's own salt. On the request's path: memory only, never throws.
import type { Change, FeedAnswer, FeedQuery, ServingRecord } from './contracts.ts';
import { FeedrankError, messageOf } from './errors.ts';
import type { IndexShadowJob } from './index-shadow.ts';
import { requestOf } from './model-choice.ts';
import type { WorkerPool } from './pool.ts';
import { ArmEvidence, type ArmFigures } from './ranking/lifecycle/arm-evidence.ts';
import { bucketOf } from './ranking/lifecycle/buckets.ts';
import type { ShadowSample } from './ranking/lifecycle/shadow-comparison.ts';
import type { TrialEvidence, TrialGroup } from './ranking/lifecycle/trial-evidence.ts';

export interface IndexChoicesOptions {
  pool: Pick<WorkerPool, 'background'>;
  /** A key of the author of a servable post, null when it is gone. */
  authorOf(postId: string): string | null;
  /** Slates after which what is known of the serving index is begun anew: figures must not be of another season. */
  watchedSlates: number;
}

/** Users whose answers tell how things were before a swap, and how they are after it: the same ones. */
const WATCHED_SHARE = 0.25;

export class IndexChoices {
  readonly #options: IndexChoicesOptions;
  #shadowing = false;
  /** What serves, as watched users see it: filled now, and full before. */
  #watched: { version: string; now: ArmEvidence; before: ArmEvidence | null } | null = null;
  /** Set by the coordinator: what serves, and the trial once it is open in every worker. */
  serving: string | null = null;
  trial: TrialEvidence | null = null;
  /** A version that came to everybody a short time ago, against what served before it. */
  probation: { version: string; evidence: ArmEvidence; before: ArmFigures } | null = null;

  constructor(options: IndexChoicesOptions) {
    this.#options = options;
  }

  isCanary(userId: string): boolean {
    return this.trial?.groupOf(userId) === 'canary';
  }

  /** Figures of the version that serves, as far as they are watched. */
  figuresOf(version: string): ArmFigures {
    const { now, before } = this.#watched?.version === version ? this.#watched : newWatch(version);
    return (before ?? now).figures();
  }

  answered(
    userId: string,
    answer: Pick<FeedAnswer, 'generation' | 'posts' | 'degraded' | 'failures' | 'stageMs'>,
  ): void {
    const { generation, posts, failures, stageMs } = answer;
    const failed = answer.degraded.some(
      (cause) => cause === 'index_unavailable' || cause === 'nearest_failed',
    );
    // In the words of the ladder, which the evidence counts: what failed, and what is late or, here, without a post.
    const degraded = [...(failed ? ['ranker_failed'] : []), ...(posts.length === 0 ? ['ranker_late'] : [])];
    const rank = (stageMs.retrieve ?? 0) + (stageMs.filter ?? 0);
    for (const evidence of this.#armsOf(userId, generation)) {
      evidence.answered({ degraded, failures: failures.slice(0, 1), stageMs: { rank } });
    }
  }

  /** No slate came of this index, and not for want of time or room. */
  failed(userId: string, generation: string, reason: string): void {
    for (const evidence of this.#armsOf(userId, generation)) evidence.failed(reason);
  }

  /** A page as it was delivered. */
  served({
    requestId,
    userId,
    index,
    posts,
  }: Pick<ServingRecord, 'requestId' | 'userId' | 'index' | 'posts'>): void {
    for (const evidence of this.#armsOf(userId, index))
      evidence.served(requestId, posts, this.#options.authorOf);
  }

  /** What readers did, wherever it came in. */
  onChange(change: Change): void {
    if (change.kind !== 'event' || change.event.token === undefined || this.trial === null) return;
    const { token, postId, type } = change.event;
    this.trial.engaged(requestOf(token), postId, type);
  }

  /** Looks for a sampled request in both, after its answer and only on a worker that has nothing to do. */
  shadow(serving: string, query: FeedQuery): void {
    const evidence = this.trial;
    if (!evidence?.samples(query.requestId) || this.#shadowing || serving === evidence.trial.version) return;
    const job: IndexShadowJob = { serving, trial: evidence.trial.version, query };
    const work = this.#options.pool.background('index-shadow', job);
    if (work === null) return;
    this.#shadowing = true;
    work
      .then(
        (sample) => {
          if (sample !== null) evidence.shadow.add(sample as ShadowSample);
        },
        (error: unknown) => {
          if (!(error instanceof FeedrankError && error.code === 'timeout'))
            evidence.shadow.fail(messageOf(error));
        },
      )
      .finally(() => {
        this.#shadowing = false;
      });
  }

  #armsOf(userId: string, generation: string): Pick<ArmEvidence, 'answered' | 'failed' | 'served'>[] {
    const { trial, probation } = this;
    const arms: Pick<ArmEvidence, 'answered' | 'failed' | 'served'>[] = [];
    const group: TrialGroup | null = trial?.groupOf(userId) ?? null;
    if (trial && group && (generation === trial.trial.version) === (group === 'canary'))
      arms.push(trial.arm(group));
    if (generation === trial?.trial.version || bucketOf('index-watch', userId) >= WATCHED_SHARE) return arms;
    if (probation?.version === generation) arms.push(probation.evidence);
    if (generation === this.serving) arms.push(this.#watch(generation));
    return arms;
  }

  #watch(version: string): ArmEvidence {
    if (this.#watched?.version !== version) this.#watched = newWatch(version);
    const watched = this.#watched;
    if (watched.now.slates >= this.#options.watchedSlates) {
      watched.before = watched.now;
      watched.now = new ArmEvidence();
    }
    return watched.now;
  }
}

const newWatch = (version: string) => ({ version, now: new ArmEvidence(), before: null });
