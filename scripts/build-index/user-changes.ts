// What happened to users while the build reads and writes them: a block or an erasure that a running service applied
// must not be undone by a bulk write of something older. Called between the batches of write-users.ts.
import type { Change, ChangeFeed, Position, StateStore, UserStore } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';

const PAGE = 1000;
const TIMEOUT_MS = 30_000;

export class UserChanges {
  readonly #store: Pick<ChangeFeed, 'read'> & Pick<UserStore, 'getUser'>;
  readonly #state: StateStore;
  #position: Position;
  /** Users erased since the build began. */
  readonly erased = new Set<string>();
  /** Users of whom anything changed since the build began: what a bulk write has of them may be older. */
  readonly #touched = new Set<string>();

  constructor(
    store: Pick<ChangeFeed, 'read'> & Pick<UserStore, 'getUser'>,
    state: StateStore,
    position: Position,
  ) {
    this.#store = store;
    this.#state = state;
    this.#position = position;
  }

  /**
   * Brings the online state of every user that changed since the last call up to the SQL store's, and of those written
   * since who changed before.
   */
  async apply(written: readonly string[] = []): Promise<void> {
    const changed = new Set<string>();
    for (;;) {
      const page = await this.#store.read(this.#position, PAGE, deadlineIn(TIMEOUT_MS));
      for (const change of page.changes) this.#note(change, changed);
      const moved = page.position !== this.#position;
      this.#position = page.position;
      if (!moved || page.changes.length < PAGE) break;
    }
    for (const userId of changed) this.#touched.add(userId);
    for (const userId of written) if (this.#touched.has(userId)) changed.add(userId);
    for (const userId of changed) await this.#refresh(userId);
  }

  #note(change: Change, changed: Set<string>): void {
    if (change.kind === 'user_erased') {
      this.erased.add(change.userId);
      changed.add(change.userId);
    } else if (change.kind === 'user') {
      this.erased.delete(change.user.id);
      changed.add(change.user.id);
    } else if (change.kind === 'edge') {
      changed.add(change.edge.userId);
    }
  }

  async #refresh(userId: string): Promise<void> {
    const deadline = deadlineIn(TIMEOUT_MS);
    if (this.erased.has(userId)) return this.#state.eraseState(userId, deadline);
    const stored = await this.#store.getUser(userId, deadline);
    if (!stored) return;
    const user = stored.user ?? undefined;
    await this.#state.putState(userId, { edges: stored.edges, ...(user ? { user } : {}) }, deadline);
  }
}
