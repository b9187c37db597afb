// Applies committed changes: to this replica's catalogue (posts, deletes, counters) and to the users' online state.
// Every step is idempotent except counters, which only the follower applies, once per position.
import type { Change, Edge, EngagementEvent, Post, PostStore, StateStore, UserStore } from './contracts.ts';
import { deadlineIn } from './deadline.ts';
import { hash64 } from './hashing.ts';
import { historyEntry } from './hydrate.ts';
import type { UserEmbedder } from './user-embedder.ts';

const STORE_TIMEOUT_MS = 5000;
/** Events applied by this replica right after their commit; the follower does not apply their user part again. */
const RECENT_EVENTS = 50_000;

/** The writable side of a catalogue that the applier needs. */
export interface LiveTable {
  rowOf(keyLo: number, keyHi: number): number;
  upsert(post: Post, vector: Float32Array): number;
  markDeleted(row: number): void;
  addEngagement(row: number, event: Pick<EngagementEvent, 'type' | 'dwellMs' | 'at'>): void;
  setFollower(authorId: string, delta: number): void;
}

export interface ApplierOptions {
  posts: Pick<PostStore, 'getPosts'>;
  users: Pick<UserStore, 'getUser'>;
  state: StateStore;
  embedder: UserEmbedder;
  embedPosts: (posts: Post[]) => Promise<Float32Array>;
  dim: number;
  /** Called for each change, before it is applied: caches drop what it touches. */
  onChange: (change: Change) => void;
}

export class Applier {
  readonly #options: ApplierOptions;
  readonly #recent = new Set<string>();

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /** Right after a commit on this replica: posts and deletes into `tables`, and all of the user state. */
  async applyNow(changes: readonly Change[], tables: readonly LiveTable[]): Promise<void> {
    for (const change of changes) {
      this.#options.onChange(change);
      if (change.kind === 'event') this.#remember(change.event);
    }
    await this.#applyPosts(changes, tables);
    await this.#applyUsers(changes);
  }

  /** From the change feed, in commit order: posts, deletes and counters into `table`, other replicas' user state. */
  async applyFromFeed(changes: readonly Change[], table: LiveTable, userState: boolean): Promise<void> {
    for (const change of changes) this.#options.onChange(change);
    await this.#applyPosts(changes, [table]);
    for (const change of changes) {
      if (change.kind === 'event') {
        const key = hash64(change.event.postId);
        const row = table.rowOf(key.lo, key.hi);
        if (row >= 0) table.addEngagement(row, change.event);
      } else if (change.kind === 'edge' && change.edge.kind === 'follow') {
        table.setFollower(change.edge.target, change.on ? 1 : -1);
      }
    }
    if (!userState) return;
    const foreign = changes.filter(
      (change) => change.kind !== 'event' || !this.#recent.has(eventKey(change.event)),
    );
    await this.#applyUsers(foreign);
  }

  async #applyPosts(changes: readonly Change[], tables: readonly LiveTable[]): Promise<void> {
    // The last word on each post wins: a post that was made and deleted in one batch is only deleted.
    const last = new Map<string, Post | null>();
    for (const change of changes) {
      if (change.kind === 'post') last.set(change.post.id, change.post);
      else if (change.kind === 'post_deleted') last.set(change.postId, null);
    }
    const alive = [...last.values()].filter((post) => post !== null);
    const { embedPosts, dim } = this.#options;
    const vectors = alive.length > 0 ? await embedPosts(alive) : new Float32Array(0);
    for (const table of tables) {
      alive.forEach((post, i) => {
        table.upsert(post, vectors.subarray(i * dim, (i + 1) * dim));
      });
      for (const [id, post] of last) {
        if (post !== null) continue;
        const key = hash64(id);
        const row = table.rowOf(key.lo, key.hi);
        if (row >= 0) table.markDeleted(row);
      }
    }
  }

  async #applyUsers(changes: readonly Change[]): Promise<void> {
    const { state } = this.#options;
    const deadline = deadlineIn(STORE_TIMEOUT_MS);
    const events = new Map<string, EngagementEvent[]>();
    const edged = new Set<string>();
    const erased = new Set<string>();
    for (const change of changes) {
      if (change.kind === 'event') push(events, change.event.userId, change.event);
      else if (change.kind === 'edge') edged.add(change.edge.userId);
      else if (change.kind === 'user') await state.putState(change.user.id, { user: change.user }, deadline);
      else if (change.kind === 'user_erased') {
        erased.add(change.userId);
        events.delete(change.userId);
        edged.delete(change.userId);
        await state.eraseState(change.userId, deadline);
      }
    }
    await Promise.all([...edged].map((userId) => this.#refreshEdges(userId)));
    await this.#applyEngagements(events);
  }

  async #refreshEdges(userId: string): Promise<void> {
    const deadline = deadlineIn(STORE_TIMEOUT_MS);
    const stored = await this.#options.users.getUser(userId, deadline);
    const edges: Edge[] = stored?.edges ?? [];
    await this.#options.state.putState(userId, { edges }, deadline);
  }

  async #applyEngagements(byUser: Map<string, EngagementEvent[]>): Promise<void> {
    if (byUser.size === 0) return;
    const { posts, state, embedder } = this.#options;
    const deadline = deadlineIn(STORE_TIMEOUT_MS);
    const ids = [...new Set([...byUser.values()].flat().map((event) => event.postId))];
    const found = await posts.getPosts(ids, deadline);
    const postOf = new Map(ids.map((id, i) => [id, found[i]]));
    await Promise.all(
      [...byUser].map(async ([userId, events]) => {
        const unliked = lastUnlikes(events);
        const history = events.flatMap((event) => {
          const post = postOf.get(event.postId);
          const entry = post ? historyEntry(event, post) : null;
          return entry && !(event.type === 'like' && unliked.has(event.postId)) ? [entry] : [];
        });
        const forget = [...unliked].map((postId) => ({ postId, type: 'like' as const }));
        const seenIds = [...new Set(events.map((event) => event.postId))];
        const seen = { postIds: seenIds, atMs: Math.max(...events.map((event) => event.at)) };
        await state.putState(userId, { history, forget, seen }, deadline);
        // A failed vector is not a failed write: the next request computes it.
        if (history.length > 0 || forget.length > 0) await embedder.refresh(userId).catch(() => {});
      }),
    );
  }

  #remember(event: EngagementEvent): void {
    this.#recent.add(eventKey(event));
    if (this.#recent.size > RECENT_EVENTS) {
      const oldest = this.#recent.values().next().value;
      if (oldest !== undefined) this.#recent.delete(oldest);
    }
  }
}

/** Posts whose newest like or un-like in the batch, by event time, is the un-like. */
function lastUnlikes(events: readonly EngagementEvent[]): Set<string> {
  const last = new Map<string, EngagementEvent>();
  for (const event of events) {
    if (event.type !== 'like' && event.type !== 'unlike') continue;
    const before = last.get(event.postId);
    if (before === undefined || event.at >= before.at) last.set(event.postId, event);
  }
  return new Set([...last.values()].filter((event) => event.type === 'unlike').map((event) => event.postId));
}

function eventKey(event: EngagementEvent): string {
  return `${event.userId} ${event.id}`;
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
