// Which ranker a user gets, and what came of it: experiment arm, canary or control by sticky buckets; answers, pages
// and events become evidence; sampled requests are scored in shadow. On the request's path: memory only, never throws.
import type { Change, FeedAnswer, FeedQuery, RankerChoice, ServingRecord } from './contracts.ts';
import { FeedrankError, messageOf } from './errors.ts';
import type { ExperimentsFile } from './experiments-file.ts';
import { LightChoices } from './light-choice.ts';
import type { WorkerPool } from './pool.ts';
import type { ArmEvidence } from './ranking/lifecycle/arm-evidence.ts';
import { type Arm, armOf } from './ranking/lifecycle/rollout-config.ts';
import type { ShadowSample } from './ranking/lifecycle/shadow-comparison.ts';
import type { TrialEvidence, TrialGroup } from './ranking/lifecycle/trial-evidence.ts';
import { MAIN_RANKER } from './ranking/model-registry.ts';
import type { ValueWeights } from './ranking/value-model.ts';
import type { RolloutMetrics } from './rollout-metrics.ts';
import type { ServingModels } from './serving-models.ts';
import type { ShadowJob } from './worker.ts';

export interface ModelChoice extends RankerChoice {
  group: TrialGroup | null;
  /** The user's group in a trial of the light ranker. */
  lightGroup: TrialGroup | null;
  /** Must be called when the request is over: the version stays open until then. */
  done(): void;
}

export interface ModelChoicesOptions {
  models: ServingModels;
  experiments: ExperimentsFile;
  /** The configured weights, which an arm's change single heads of. */
  weights: ValueWeights;
  pool: Pick<WorkerPool, 'background'>;
  metrics: RolloutMetrics;
  /** A key of the author of a servable post, null when it is gone. */
  authorOf(postId: string): string | null;
  /** Something failed in the trial or in a version on probation: worth a look at the gates. */
  onFailure(): void;
}

const CANARY = 'canary';
const MODEL = new RegExp(`^${MAIN_RANKER}@([1-9]\\d*)(?:\\+(.+))?$`);
/** Bytes of a request id at the beginning of a tracking token (api/tracking-token.ts), which ingestion has verified. */
const REQUEST_ID_BYTES = 16;

/** The request whose page a tracking token belongs to. */
export function requestOf(token: string): string {
  return Buffer.from(token, 'base64url').subarray(0, REQUEST_ID_BYTES).toString('base64url');
}

export class ModelChoices {
  readonly #options: ModelChoicesOptions;
  #shadowing = false;
  /** Set by the coordinator: the trial that is on, and the version that was promoted a short time ago. */
  trial: TrialEvidence | null = null;
  probation: { version: string; evidence: ArmEvidence } | null = null;
  /** The same of the light ranker, once it is open in every worker. */
  readonly light: LightChoices;

  constructor(options: ModelChoicesOptions) {
    this.#options = options;
    this.light = new LightChoices(options.authorOf);
  }

  /**
   * `preferred` is the model that made the feed's slates so far (`ranker@3+likes`): a feed stays with its version
   * while that is open.
   */
  choose(userId: string, preferred?: string): ModelChoice {
    const { models, experiments } = this.#options;
    const arm = armOf(experiments.current, userId);
    const group = arm === null ? (this.trial?.groupOf(userId) ?? null) : null;
    const kept = preferred === undefined ? null : MODEL.exec(preferred);
    let choice: RankerChoice;
    if (kept && models.isOpen(kept[1])) {
      const name = kept[2] ?? null;
      const same = experiments.current?.arms.find((one) => one.name === name);
      choice = { version: kept[1], arm: name, weights: same ? this.#weightsOf(same) : null };
    } else if (arm !== null) {
      const version = arm.ranker !== undefined && models.isOpen(arm.ranker) ? arm.ranker : models.serving;
      choice = { version, arm: arm.name, weights: this.#weightsOf(arm) };
    } else if (group === 'canary' && this.trial && models.isOpen(this.trial.trial.version)) {
      choice = { version: this.trial.trial.version, arm: CANARY, weights: null };
    } else {
      choice = { version: models.serving, arm: null, weights: null };
    }
    return {
      ...choice,
      ...this.light.choose(userId),
      group: this.#counts(group, choice.version) ? group : null,
      done: models.use(choice.version),
    };
  }

  answered(choice: ModelChoice, answer: FeedAnswer): void {
    const arm = choice.arm ?? (choice.group === 'control' ? 'control' : 'default');
    this.#options.metrics.slates.inc({ arm, model: answer.model.split('+')[0] });
    if (choice.group) this.trial?.answered(choice.group, answer);
    this.light.answered(choice.lightGroup, answer);
    const onProbation = this.probation?.version === choice.version;
    if (onProbation) this.probation?.evidence.answered(answer);
    const failed = answer.degraded.includes('ranker_failed') || answer.degraded.includes('ranker_missing');
    if (failed && (choice.group === 'canary' || onProbation)) this.#options.onFailure();
  }

  /** Scores a sampled request by the trial too, after its answer and only on a worker that has nothing to do. */
  shadow(generation: string, query: FeedQuery): void {
    const { models, pool, metrics } = this.#options;
    const { serving } = models;
    if (serving === null) return;
    const isMain = this.trial !== null && models.isOpen(this.trial.trial.version);
    const evidence = isMain ? this.trial : this.light.trial;
    if (!evidence?.samples(query.requestId)) return;
    const of = isMain ? 'main' : 'light';
    const job: ShadowJob = { generation, query, serving, trial: evidence.trial.version, of };
    const work = this.#shadowing ? null : pool.background('shadow', job);
    if (work === null) {
      metrics.shadow.inc({ outcome: 'skipped' });
      return;
    }
    const done = [models.use(serving), ...(isMain ? [models.use(job.trial)] : [])];
    this.#shadowing = true;
    work
      .then(
        (sample) => {
          metrics.shadow.inc({ outcome: sample === null ? 'skipped' : 'compared' });
          if (sample !== null) evidence.shadow.add(sample as ShadowSample);
        },
        (error: unknown) => {
          const busy = error instanceof FeedrankError && error.code === 'timeout';
          metrics.shadow.inc({ outcome: busy ? 'skipped' : 'failed' });
          if (busy) return;
          evidence.shadow.fail(messageOf(error));
          this.#options.onFailure();
        },
      )
      .finally(() => {
        this.#shadowing = false;
        for (const release of done) release();
      });
  }

  /** A page as it was delivered. */
  served(record: Pick<ServingRecord, 'requestId' | 'userId' | 'model' | 'posts'>): void {
    const { requestId, userId, model, posts } = record;
    this.light.served(record);
    const made = MODEL.exec(model);
    const group = this.trial?.groupOf(userId) ?? null;
    // Pages cut from a slate of before this stage are nobody's evidence.
    const isCanary = made?.[2] === CANARY;
    if (!group || !made || isCanary !== (group === 'canary') || !this.#counts(group, made[1])) return;
    if (group === 'control' && made[2] !== undefined) return;
    this.trial?.served(group, requestId, posts, this.#options.authorOf);
  }

  /** What readers did, wherever it came in. */
  onChange(change: Change): void {
    if (change.kind !== 'event' || change.event.token === undefined || this.trial?.trial.stage !== 'canary')
      return;
    const { token, postId, type } = change.event;
    this.trial.engaged(requestOf(token), postId, type);
  }

  /** Whether a choice of this version is evidence for its group. */
  #counts(group: TrialGroup | null, version: string | null): boolean {
    if (group === null || !this.trial) return false;
    return version === (group === 'canary' ? this.trial.trial.version : this.#options.models.serving);
  }

  #weightsOf(arm: Arm): ValueWeights | null {
    return arm.weights === undefined ? null : { ...this.#options.weights, ...arm.weights };
  }
}
