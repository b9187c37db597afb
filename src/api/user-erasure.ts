// Erases a user from every store and every memory of this replica. Ends with nothing queued that could write the user
// again; safe to repeat.
import type { StateStore, UserStore } from '../contracts.ts';
import type { Deadline } from '../deadline.ts';
import { FeedrankError } from '../errors.ts';
import type { ApplyAfterCommit } from './apply-after-commit.ts';
import type { FeedSessions } from './feed-sessions.ts';
import type { SeenRecorder } from './seen-recorder.ts';
import type { ServingLogQueue } from './serving-log-queue.ts';

export interface UserErasureParts {
  users: Pick<UserStore, 'eraseUser'>;
  state: Pick<StateStore, 'eraseState'>;
  sessions: FeedSessions;
  seen: SeenRecorder;
  servingLog: ServingLogQueue;
  apply: ApplyAfterCommit;
}

export class UserErasure {
  readonly #parts: UserErasureParts;

  constructor(parts: UserErasureParts) {
    this.#parts = parts;
  }

  /**
   * Profile, edges, events and serving log from the SQL store, then online state and feed sessions. Posts that the user
   * wrote are deleted one by one by DELETE /posts/:id. false when the SQL store knew nothing of the user.
   * @throws FeedrankError `unavailable` when a store did not do it: what is done stays done, repeating is safe.
   */
  async erase(userId: string, deadline: Deadline): Promise<boolean> {
    const { users, state, sessions, seen, servingLog, apply } = this.#parts;
    await servingLog.forget(userId);
    const erased = await users.eraseUser(userId, deadline);
    await seen.forget(userId);
    await apply.before([{ kind: 'user_erased', userId }]);
    try {
      await Promise.all([state.eraseState(userId, deadline), sessions.forget(userId, deadline)]);
    } catch (error) {
      throw new FeedrankError('unavailable', 'erased from the database only; repeat the request', {
        retryAfterSeconds: 1,
        cause: error,
      });
    }
    return erased;
  }
}
