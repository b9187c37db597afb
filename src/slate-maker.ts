// One slate: hydrate the user, hand the query to a feed worker on the current generation, name what was degraded.
import { PRIORITIES } from './admission.ts';
import type { Ranker, SlateRequest, SlateResult } from './api/app-context.ts';
import type { FeedAnswer, FeedQuery } from './contracts.ts';
import type { Deadline } from './deadline.ts';
import { FeedrankError, messageOf } from './errors.ts';
import { STALE_MS } from './follower.ts';
import type { Generation, Generations } from './generations.ts';
import { hash32 } from './hashing.ts';
import type { HydratedUser, UserHydrator } from './hydrate.ts';
import type { IndexChoices } from './index-choice.ts';
import type { LiveRecall } from './live-recall.ts';
import type { ModelChoice, ModelChoices } from './model-choice.ts';
import { type PackedAnswer, unpackAnswer } from './packed-answer.ts';
import type { WorkerPool } from './pool.ts';
import type { RulesChoice, RulesChoices } from './rules-choice.ts';
import type { SlateCache } from './slate-cache.ts';
import type { Telemetry } from './telemetry.ts';
import { inSpan, recordSteps, traceTime } from './tracing.ts';
import type { FeedJob } from './worker.ts';

export interface SlateMakerOptions {
  hydrator: UserHydrator;
  generations: Generations;
  pool: WorkerPool;
  models: Pick<ModelChoices, 'choose' | 'answered' | 'shadow'>;
  recall: Pick<LiveRecall, 'sample'>;
  cache: Pick<SlateCache, 'slate'>;
  rules: Pick<RulesChoices, 'choose' | 'answered' | 'failed'>;
  indexes: Pick<IndexChoices, 'answered' | 'failed' | 'shadow'>;
  /** Posts to rank, at most. */
  candidates: number;
  telemetry: Pick<Telemetry, 'observeAnswer' | 'poolRejected'>;
  /** Age of the changes from which an answer says `changes_late`. */
  changesLateMs: number;
  /** Share of requests whose features go to the serving log. */
  featureLogShare: number;
  /** Called for each slate in which something failed. */
  onFailures?: (requestId: string, failures: readonly string[]) => void;
}

export class SlateMaker implements Ranker {
  readonly #options: SlateMakerOptions;

  constructor(options: SlateMakerOptions) {
    this.#options = options;
  }

  /** @throws FeedrankError `overloaded`, `timeout` or `unavailable` when no worker answered. */
  async slate(request: SlateRequest, deadline: Deadline): Promise<SlateResult> {
    const { hydrator, generations, models, cache } = this.#options;
    const askedAtMs = traceTime();
    const user = await inSpan('hydrate', {}, () => hydrator.hydrate(request.userId, deadline));
    const hydrateMs = traceTime() - askedAtMs;
    if (user.known) {
      const { seen, showSensitive } = user.packed;
      request.onReader?.({ edges: user.edges, seen, showSensitive });
    }
    return generations.use(async (generation) => {
      const choice = models.choose(request.userId, request.model);
      const rules = this.#options.rules.choose(request.userId);
      const makings = { generation: generation.id, rules: rules.version, choice };
      const make = () =>
        this.#make(request, user, hydrateMs, { ranker: choice, rules }, generation, deadline);
      const slate = await cache.slate(request, user.packed, makings, deadline, make).finally(choice.done);
      return { ...slate, userVersion: user.version, edges: user.edges };
    }, request.userId);
  }

  async #make(
    request: SlateRequest,
    user: HydratedUser,
    hydrateMs: number,
    chosen: { ranker: ModelChoice; rules: RulesChoice },
    generation: Generation,
    deadline: Deadline,
  ): Promise<SlateResult> {
    const { pool, models, rules, indexes, recall, candidates, telemetry, changesLateMs } = this.#options;
    const { quality = 1, priority = 'interactive' } = request;
    const { version, arm, weights, light } = chosen.ranker;
    const { id, follower } = generation;
    const watermark = follower.position;
    const query: FeedQuery = {
      requestId: request.requestId,
      user: user.packed,
      nowMs: Date.now(),
      seed: hash32(request.requestId),
      candidates: Math.max(1, Math.round(candidates * quality)),
      slateSize: request.slateSize,
      exclude: request.exclude,
      explain: request.explain,
      explore: request.explore,
      logFeatures: hash32(`features ${request.requestId}`) / 2 ** 32 < this.#options.featureLogShare,
      deadlineAtMs: deadline.atMs,
      ranker: { version, arm, weights, light },
      rules: chosen.rules.version,
    };
    let answer: FeedAnswer;
    let queueMs = 0;
    try {
      const job: FeedJob = { generation: id, query };
      const rank = PRIORITIES.indexOf(priority);
      answer = await inSpan('feed worker', {}, async () => {
        const sentAtMs = traceTime();
        const packed = (await pool.run('feed', job, deadline.atMs, rank, request.signal)) as PackedAnswer;
        const answered = unpackAnswer(packed);
        const steps = Object.entries(answered.stageMs);
        // What is left of the whole is the wait for a worker, with the way there and back.
        queueMs = Math.max(0, traceTime() - sentAtMs - steps.reduce((sum, [, ms]) => sum + ms, 0));
        recordSteps([['queue', queueMs], ...steps], sentAtMs);
        return answered;
      });
    } catch (error) {
      const code = error instanceof FeedrankError ? error.code : 'internal';
      if (code === 'internal') {
        rules.failed(chosen.rules, messageOf(error));
        indexes.failed(request.userId, id, messageOf(error));
      }
      telemetry.poolRejected.inc({ reason: request.signal?.aborted ? 'client_gone' : code });
      throw error;
    }
    models.answered(chosen.ranker, answer);
    rules.answered(chosen.rules, answer);
    indexes.answered(request.userId, answer);
    models.shadow(id, query);
    indexes.shadow(id, query);
    recall.sample(id, user.packed.embedding, query.candidates);
    answer.degraded.unshift(...user.degraded);
    if (follower.ageMs > changesLateMs) answer.degraded.push('changes_late');
    if (follower.ageMs > STALE_MS) answer.degraded.push('changes_stale');
    if (quality < 1) answer.degraded.push('fewer_candidates');
    telemetry.observeAnswer(answer, { hydrateMs, queueMs });
    if (answer.failures.length > 0) this.#options.onFailures?.(request.requestId, answer.failures);
    return {
      ...answer,
      userVersion: user.version,
      embeddingKind: user.packed.embeddingKind,
      edges: user.edges,
      watermark,
    };
  }
}
