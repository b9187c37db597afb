// A user's follows, blocks and mutes as of now: from the online state where it is complete, else from the truth.
import type { StateStore, UserStore } from '../contracts.ts';
import { type Deadline, raceDeadline } from '../deadline.ts';
import type { KnownReader } from './app-context.ts';

/** The state store's share of the time before the SQL store is asked. */
const STATE_SHARE = 0.3;
/** No tower has this name: the state comes without its vector. */
const NO_TOWER = '';

export class UserEdges {
  readonly #state: Pick<StateStore, 'getState'>;
  readonly #users: Pick<UserStore, 'getUser'>;

  constructor(state: Pick<StateStore, 'getState'>, users: Pick<UserStore, 'getUser'>) {
    this.#state = state;
    this.#users = users;
  }

  /** null when neither store answers in time. */
  async read(userId: string, deadline: Deadline): Promise<KnownReader | null> {
    let seen = new Uint32Array(0);
    try {
      const within = deadline.within(deadline.remainingMs() * STATE_SHARE);
      const state = await raceDeadline(
        this.#state.getState(userId, NO_TOWER, within),
        within,
        'the user store',
      );
      if (state !== null) {
        seen = Uint32Array.from(state.seen);
        // A state without a profile was only touched: its edges may be missing.
        if (state.user !== null) {
          return { edges: state.edges, seen, showSensitive: state.user.showSensitive ?? false };
        }
      }
    } catch {
      // The SQL store knows the same edges.
    }
    try {
      const stored = await raceDeadline(this.#users.getUser(userId, deadline), deadline, 'the user store');
      return { edges: stored?.edges ?? [], seen, showSensitive: stored?.user?.showSensitive ?? false };
    } catch {
      return null;
    }
  }
}
