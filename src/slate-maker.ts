// One slate: hydrate the user, hand the query to a feed worker on the current generation, name what was degraded.
import type { Ranker, SlateRequest, SlateResult } from './api/app-context.ts';
import type { FeedAnswer, FeedQuery } from './contracts.ts';
import type { Deadline } from './deadline.ts';
import { FeedrankError } from './errors.ts';
import type { Generations } from './generations.ts';
import { hash32 } from './hashing.ts';
import type { UserHydrator } from './hydrate.ts';
import type { WorkerPool } from './pool.ts';
import type { Telemetry } from './telemetry.ts';
import type { FeedJob } from './worker.ts';

/** A replica that has not read the change feed to its end for so long says so. */
const STALE_MS = 5000;

export interface SlateMakerOptions {
  hydrator: UserHydrator;
  generations: Generations;
  pool: WorkerPool;
  /** Posts to rank, at most. */
  candidates: number;
  telemetry: Pick<Telemetry, 'observeAnswer' | 'poolQueue' | 'poolRejected'>;
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
    const { hydrator, generations, pool, candidates, telemetry } = this.#options;
    const user = await hydrator.hydrate(request.userId, deadline);
    return generations.use(async (generation) => {
      const { id, follower } = generation;
      const watermark = follower.position;
      const query: FeedQuery = {
        requestId: request.requestId,
        user: user.packed,
        nowMs: Date.now(),
        seed: hash32(request.requestId),
        candidates,
        slateSize: request.slateSize,
        exclude: request.exclude,
        explain: request.explain,
        explore: request.explore,
        deadlineAtMs: deadline.atMs,
      };
      telemetry.poolQueue.set(pool.queued);
      let answer: FeedAnswer;
      try {
        answer = (await pool.run(
          'feed',
          { generation: id, query } satisfies FeedJob,
          deadline.atMs,
        )) as FeedAnswer;
      } catch (error) {
        telemetry.poolRejected.inc({ reason: error instanceof FeedrankError ? error.code : 'internal' });
        throw error;
      }
      answer.degraded.unshift(...user.degraded);
      if (follower.ageMs > STALE_MS) answer.degraded.push('changes_stale');
      telemetry.observeAnswer(answer);
      if (answer.failures.length > 0) this.#options.onFailures?.(request.requestId, answer.failures);
      return {
        ...answer,
        userVersion: user.version,
        embeddingKind: user.packed.embeddingKind,
        edges: user.edges,
        watermark,
      };
    });
  }
}
