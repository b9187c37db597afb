// Puts committed changes in force on this replica before the answer is sent. The change feed delivers them again, so a
// failure here delays and loses nothing.
import type { FastifyBaseLogger } from 'fastify';
import type { Change } from '../contracts.ts';
import { deadlineIn, raceDeadline } from '../deadline.ts';
import { FeedrankError } from '../errors.ts';
import type { AppContext } from './app-context.ts';

export class ApplyAfterCommit {
  readonly #applyNow: AppContext['applyNow'];
  readonly #logger: Pick<FastifyBaseLogger, 'error'>;
  readonly #onFailure: () => void;
  readonly #waitMs: number;

  /** @param waitMs how long an answer is held up for it. */
  constructor(
    applyNow: AppContext['applyNow'],
    logger: Pick<FastifyBaseLogger, 'error'>,
    onFailure: () => void,
    waitMs: number,
  ) {
    this.#applyNow = applyNow;
    this.#logger = logger;
    this.#onFailure = onFailure;
    this.#waitMs = waitMs;
  }

  /** For what may come into force a moment later: `['apply_delayed']` when it does. */
  async soon(changes: Change[]): Promise<string[]> {
    if (changes.length === 0) return [];
    try {
      await this.#apply(changes);
      return [];
    } catch (error) {
      // Left to the change feed on purpose: nothing went wrong.
      if (!(error instanceof FeedrankError && error.code === 'overloaded')) this.#failed(error);
      return ['apply_delayed'];
    }
  }

  /**
   * For deletes, blocks and erasure, which must hold from the next request.
   * @throws FeedrankError `unavailable`: committed, not in force yet; repeating the request is safe.
   */
  async before(changes: Change[]): Promise<void> {
    try {
      await this.#apply(changes);
    } catch (error) {
      this.#failed(error);
      throw new FeedrankError('unavailable', 'stored, but not in force yet; repeat the request', {
        retryAfterSeconds: 1,
        cause: error,
      });
    }
  }

  #apply(changes: Change[]): Promise<void> {
    return raceDeadline(this.#applyNow(changes), deadlineIn(this.#waitMs), 'what applies changes');
  }

  #failed(error: unknown): void {
    this.#onFailure();
    this.#logger.error({ err: error }, 'committed changes could not be applied');
  }
}
