// The features' inputs as they were at a commit position: replays the SQL store's changes in commit order into the
// structures that serving uses (PostTable, packUser), and stops where a request's watermark stood. Called by diff.ts.
import { newPostOf, PostTable } from '../../src/candidates/index/post-table.ts';
import { CatalogueWriter } from '../../src/catalogue-writer.ts';
import type { Change, Edge, EngagementEvent, Position, Post, User, UserState } from '../../src/contracts.ts';
import { RECENT_EVENTS_READ } from '../../src/features/store/postgres-events.ts';
import { historyFrom } from '../../src/hydrate.ts';
import { towerPost } from '../../src/post-text.ts';
import { DIM, HISTORY_LIMIT, UNDATED } from '../../src/vocabulary.ts';
import type { FeatureStore } from './feature-store.ts';

const READ_LIMIT = 2000;
const KEY_BYTES = 64;
/** Posts that may be written while the replay runs. */
const SPARE_ROWS = 10_000;

interface KnownUser {
  user: User | null;
  edges: Map<string, { edge: Edge; on: boolean }>;
  /** But impressions, in commit order. */
  events: EngagementEvent[];
}

export type EmbedPosts = (posts: ReturnType<typeof towerPost>[]) => Promise<Float32Array>;

export class AsOfReplay {
  readonly table: PostTable;
  readonly #store: FeatureStore;
  readonly #embedPosts: EmbedPosts;
  readonly #writer: CatalogueWriter;
  readonly #users = new Map<string, KnownUser>();
  /** Posts whose row has its true vector. */
  readonly #embedded = new Set<string>();
  readonly #noVector = new Float32Array(DIM).fill(1);
  #position: Position = '';

  private constructor(store: FeatureStore, posts: number, userIds: Iterable<string>, embedPosts: EmbedPosts) {
    const capacity = posts + SPARE_ROWS;
    this.table = PostTable.create({
      generation: 'as of',
      baseRows: 0,
      capacity,
      keyBytes: capacity * KEY_BYTES,
    });
    this.#writer = new CatalogueWriter(this.table);
    this.#store = store;
    this.#embedPosts = embedPosts;
    for (const userId of userIds) this.#users.set(userId, { user: null, edges: new Map(), events: [] });
  }

  /** @param userIds whose state will be asked for; of others only what counts for posts is kept */
  static async open(
    store: FeatureStore,
    userIds: Iterable<string>,
    embedPosts: EmbedPosts,
  ): Promise<AsOfReplay> {
    return new AsOfReplay(store, await store.countPosts(), userIds, embedPosts);
  }

  /** Applies every change up to a position; positions must rise from call to call. Returns how many there were. */
  async advanceTo(position: Position): Promise<number> {
    if (position <= this.#position) return 0;
    const changes = await this.#store.countChanges(this.#position, position);
    for (let left = changes; left > 0; ) {
      const read = await this.#store.readChanges(this.#position, Math.min(READ_LIMIT, left));
      for (const change of read.changes) this.#apply(change);
      this.#position = read.position;
      left -= READ_LIMIT;
    }
    this.#position = position;
    return changes;
  }

  /** The user's state as the online store should have held it, without vector and seen posts; null when unknown. */
  async stateOf(userId: string, atMs: number): Promise<UserState | null> {
    const known = this.#users.get(userId)!;
    const recent = recentOf(known.events);
    const inForce = [...known.edges.values()].filter(({ on }) => on).map(({ edge }) => edge);
    // The feed gives an edge's newest state only, so one that was removed later is not among them.
    const edges = [...inForce, ...(await this.#store.edgesRemovedAfter(userId, this.#position, atMs))];
    if (known.user === null && edges.length === 0 && recent.length === 0) return null;
    const posts = await this.#store.posts(recent.map(({ postId }) => postId));
    const history = historyFrom(recent, posts);
    await this.embed(posts.filter((post) => post !== null));
    const user = known.user ?? { id: userId, createdAt: UNDATED };
    return { version: 0, embedding: null, history, seen: new Uint32Array(0), user, edges };
  }

  /** Gives these posts' rows their true vectors. */
  async embed(posts: readonly Post[]): Promise<void> {
    const due = posts.filter(({ id }) => !this.#embedded.has(id) && this.table.rowOfId(id) >= 0);
    if (due.length === 0) return;
    const vectors = await this.#embedPosts(due.map(towerPost));
    due.forEach((post, i) => {
      const vector = vectors.subarray(i * DIM, (i + 1) * DIM);
      this.table.updatePost(this.table.rowOfId(post.id), newPostOf(post), vector);
      this.#embedded.add(post.id);
    });
  }

  #apply(change: Change): void {
    switch (change.kind) {
      case 'post':
        this.#publish(change.post);
        return;
      case 'post_deleted': {
        const row = this.table.rowOfId(change.postId);
        if (row >= 0) this.#writer.markDeleted(row);
        return;
      }
      case 'followers':
        this.#writer.setFollower(change.authorId, change.delta);
        return;
      case 'event':
        this.#event(change.event);
        return;
      case 'user':
        this.#known(change.user.id, (known) => {
          known.user = change.user;
        });
        return;
      case 'edge':
        this.#known(change.edge.userId, (known) => {
          known.edges.set(`${change.edge.kind} ${change.edge.target}`, change);
        });
        return;
      case 'user_erased':
        this.#known(change.userId, (known) => {
          Object.assign(known, { user: null, edges: new Map(), events: [] });
        });
    }
  }

  #publish(post: Post): void {
    this.#writer.upsert(post, this.#noVector);
    this.#embedded.delete(post.id);
  }

  #event(event: EngagementEvent): void {
    const row = this.table.rowOfId(event.postId);
    if (row >= 0) this.#writer.addEngagement(row, event);
    if (event.type !== 'impression') this.#known(event.userId, ({ events }) => events.push(event));
  }

  #known(userId: string, change: (known: KnownUser) => void): void {
    const known = this.#users.get(userId);
    if (known) change(known);
  }
}

/** As the SQL store gives them to a rebuild: newest first, by id at equal times, the newest of each post and type. */
function recentOf(events: readonly EngagementEvent[]): EngagementEvent[] {
  const newestFirst = events.toSorted((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1));
  const latest = new Map<string, EngagementEvent>();
  for (const event of newestFirst.slice(0, RECENT_EVENTS_READ)) {
    const key = `${event.type} ${event.postId}`;
    if (!latest.has(key)) latest.set(key, event);
  }
  return [...latest.values()].slice(0, 2 * HISTORY_LIMIT);
}
