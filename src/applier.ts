// Applies committed changes: to this replica's catalogue (posts, deletes, counters) and to the users' online state.
// Idempotent: users and edges are read as they are now, histories merge by event time, counters add each change once.
import type { Change, EngagementEvent, HistoryEntry, Post, PostStore, StateStore } from './contracts.ts';
import { type Deadline, deadlineIn } from './deadline.ts';
import { FeedrankError } from './errors.ts';
import { hash64 } from './hashing.ts';
import { historyEntry, historyFrom, type StoredUser } from './hydrate.ts';
import type { SequenceWindow } from './sequence-window.ts';
import type { UserEmbedder } from './user-embedder.ts';
import { HISTORY_LIMIT, SEEN_LIMIT } from './vocabulary.ts';

const STORE_TIMEOUT_MS = 5000;
/** Events applied by this replica right after their commit; the follower does not apply their user part again. */
const RECENT_EVENTS = 50_000;
/**
 * Events that are applied right after their commit at a time, so that their user's next request sees them. More come
 * from bulk loads: these are left to the change feed, which works them off in batches and holds no answer up.
 */
const APPLIED_AT_ONCE = 16;
/** Users read in one statement. */
const USERS_PER_READ = 100;

/** The writable side of a catalogue that the applier needs. */
export interface LiveTable {
  rowOf(keyLo: number, keyHi: number): number;
  upsert(post: Post, vector: Float32Array): number;
  markDeleted(row: number): void;
  addEngagement(row: number, event: Pick<EngagementEvent, 'type' | 'dwellMs' | 'at'>): void;
  setFollower(authorId: string, delta: number): void;
}

/** Reads of the SQL store as it is now. */
export interface ApplierSource {
  getPosts: PostStore['getPosts'];
  /** The newest engagements of each user; those without any may be left out. */
  recentEventsOf(
    userIds: readonly string[],
    limit: number,
    deadline: Deadline,
  ): Promise<Map<string, EngagementEvent[]>>;
  /** In the order of the ids; null where nothing is known of the user. */
  getUsers(ids: readonly string[], deadline: Deadline): Promise<(StoredUser | null)[]>;
  /** Newest like and un-like of each pair, unix ms; null = none. */
  likesOf(
    pairs: readonly { userId: string; postId: string }[],
    deadline: Deadline,
  ): Promise<{ likedAt: number | null; unlikedAt: number | null }[]>;
}

export interface ApplierOptions {
  source: ApplierSource;
  state: StateStore;
  embedder: Pick<UserEmbedder, 'refresh'>;
  embedPosts: (posts: Post[]) => Promise<Float32Array>;
  dim: number;
  /** Called for each change, before it is applied: caches drop what it touches. */
  onChange: (change: Change) => void;
}

export class Applier {
  readonly #options: ApplierOptions;
  readonly #recent = new Set<string>();
  #pendingEvents = 0;

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /**
   * Right after a commit on this replica: posts and deletes into `tables`, and all of the user state.
   * @throws FeedrankError `overloaded` when there are too many events: the change feed applies these.
   */
  async applyNow(changes: readonly Change[], tables: readonly LiveTable[]): Promise<void> {
    for (const change of changes) this.#options.onChange(change);
    await this.#applyPosts(changes, tables);
    const events = changes.filter((change) => change.kind === 'event');
    if (this.#pendingEvents + events.length > APPLIED_AT_ONCE) {
      await this.applyUsers(changes.filter((change) => change.kind !== 'event'));
      throw new FeedrankError('overloaded', 'events are applied by the change feed');
    }
    this.#pendingEvents += events.length;
    try {
      await this.applyUsers(changes);
      for (const { event } of events) this.#remember(event);
    } finally {
      this.#pendingEvents -= events.length;
    }
  }

  /**
   * From a change feed, in its order: posts, deletes and counters into `table`.
   * @param counted which changes are in the table's counters already.
   */
  async applyFromFeed(changes: readonly Change[], table: LiveTable, counted: SequenceWindow): Promise<void> {
    for (const change of changes) this.#options.onChange(change);
    await this.#applyPosts(changes, [table]);
    for (const change of changes) {
      if (change.kind !== 'event' && change.kind !== 'followers') continue;
      if (change.seq === undefined || !counted.add(change.seq)) continue;
      if (change.kind === 'followers') {
        table.setFollower(change.authorId, change.delta);
      } else {
        const key = hash64(change.event.postId);
        const row = table.rowOf(key.lo, key.hi);
        if (row >= 0) table.addEngagement(row, change.event);
      }
    }
  }

  /** The users' part of a feed's changes, but for the events that this replica applied right after their commit. */
  async applyForeignUsers(changes: readonly Change[]): Promise<void> {
    await this.applyUsers(
      changes.filter((change) => change.kind !== 'event' || !this.#recent.has(eventKey(change.event))),
    );
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

  /** The users' part: profiles, edges, erasures, histories, seen posts, vectors. */
  async applyUsers(changes: readonly Change[]): Promise<void> {
    const { state } = this.#options;
    const events = new Map<string, EngagementEvent[]>();
    const changed = new Set<string>();
    for (const change of changes) {
      if (change.kind === 'event') push(events, change.event.userId, change.event);
      else if (change.kind === 'edge') changed.add(change.edge.userId);
      else if (change.kind === 'user') changed.add(change.user.id);
      else if (change.kind === 'user_erased') {
        events.delete(change.userId);
        changed.delete(change.userId);
        await state.eraseState(change.userId, deadlineIn(STORE_TIMEOUT_MS));
      }
    }
    await this.#refreshUsers([...changed]);
    await this.#applyEngagements(events);
  }

  /** Profile and edges as they are now: an older change that comes late cannot undo a newer one. */
  async #refreshUsers(userIds: readonly string[]): Promise<void> {
    const { source, state } = this.#options;
    for (let at = 0; at < userIds.length; at += USERS_PER_READ) {
      const ids = userIds.slice(at, at + USERS_PER_READ);
      const deadline = deadlineIn(STORE_TIMEOUT_MS);
      const stored = await source.getUsers(ids, deadline);
      await Promise.all(
        ids.map((userId, i) => {
          const user = stored[i]?.user;
          return state.putState(
            userId,
            { edges: stored[i]?.edges ?? [], ...(user ? { user } : {}) },
            deadline,
          );
        }),
      );
    }
  }

  async #applyEngagements(byUser: Map<string, EngagementEvent[]>): Promise<void> {
    if (byUser.size === 0) return;
    const { source, state, embedder } = this.#options;
    const deadline = deadlineIn(STORE_TIMEOUT_MS);
    const all = [...byUser.values()].flat();
    const ids = [...new Set(all.map((event) => event.postId))];
    const [found, unliked] = await Promise.all([
      source.getPosts(ids, deadline),
      this.#unliked(all, deadline),
    ]);
    const postOf = new Map(ids.map((id, i) => [id, found[i]]));
    // What an un-like takes out of a full history makes room for an older entry.
    const older = await this.#storedHistories([...unliked.keys()], deadline);
    await Promise.all(
      [...byUser].map(async ([userId, events]) => {
        const dead = unliked.get(userId);
        const history = newestEntries(events, postOf, dead);
        for (const [postId, at] of dead ?? []) history.push(unlikeEntry(postId, at));
        history.push(...(older.get(userId) ?? []));
        await state.putState(userId, { history, seen: seenIn(events) }, deadline);
        // A failed vector is not a failed write: the next request computes it.
        if (history.length > 0) await embedder.refresh(userId).catch(() => {});
      }),
    );
  }

  /** By user, the posts among the liked and un-liked ones whose newest word is the un-like, with its time. */
  async #unliked(
    events: readonly EngagementEvent[],
    deadline: Deadline,
  ): Promise<Map<string, Map<string, number>>> {
    const pairs = new Map<string, EngagementEvent>();
    for (const event of events) {
      if (event.type === 'like' || event.type === 'unlike')
        pairs.set(`${event.userId} ${event.postId}`, event);
    }
    const asked = [...pairs.values()];
    const likes = await this.#options.source.likesOf(asked, deadline);
    const unliked = new Map<string, Map<string, number>>();
    asked.forEach(({ userId, postId }, i) => {
      const { likedAt, unlikedAt } = likes[i];
      if (unlikedAt === null || (likedAt ?? Number.NEGATIVE_INFINITY) > unlikedAt) return;
      const posts = unliked.get(userId);
      if (posts) posts.set(postId, unlikedAt);
      else unliked.set(userId, new Map([[postId, unlikedAt]]));
    });
    return unliked;
  }

  async #storedHistories(users: string[], deadline: Deadline): Promise<Map<string, HistoryEntry[]>> {
    const { source } = this.#options;
    const histories = new Map<string, HistoryEntry[]>();
    for (let at = 0; at < users.length; at += USERS_PER_READ) {
      const part = users.slice(at, at + USERS_PER_READ);
      const recent = await source.recentEventsOf(part, HISTORY_LIMIT * 2, deadline);
      const ids = [...new Set([...recent.values()].flat().map((event) => event.postId))];
      const found = await source.getPosts(ids, deadline);
      const postOf = new Map(ids.map((id, i) => [id, found[i]]));
      for (const [userId, events] of recent) {
        const posts = events.map(({ postId }) => postOf.get(postId) ?? null);
        histories.set(userId, historyFrom(events, posts));
      }
    }
    return histories;
  }

  #remember(event: EngagementEvent): void {
    this.#recent.add(eventKey(event));
    if (this.#recent.size > RECENT_EVENTS) {
      const oldest = this.#recent.values().next().value;
      if (oldest !== undefined) this.#recent.delete(oldest);
    }
  }
}

/** Takes out the like of the post, also one that comes later with an older time. Only post and time are of use. */
function unlikeEntry(postId: string, at: number): HistoryEntry {
  return { postId, authorId: postId, topic: 0, type: 'unlike', at, dwellMs: 0 };
}

/** What of the events a history can take: one entry for each (post, type), the newest ones. */
function newestEntries(
  events: readonly EngagementEvent[],
  postOf: Map<string, Post | null>,
  dead: Map<string, number> | undefined,
): HistoryEntry[] {
  const newest = new Map<string, HistoryEntry>();
  for (const event of events) {
    const post = postOf.get(event.postId);
    const entry = post ? historyEntry(event, post) : null;
    if (entry === null || (event.type === 'like' && event.at <= (dead?.get(event.postId) ?? -1))) continue;
    const key = `${event.type} ${event.postId}`;
    const other = newest.get(key);
    if (!other || entry.at > other.at) newest.set(key, entry);
  }
  return [...newest.values()].sort((a, b) => b.at - a.at).slice(0, HISTORY_LIMIT);
}

/** The posts of the events that a state can keep as seen, each with its newest time. */
function seenIn(events: readonly EngagementEvent[]): { postIds: string[]; atMs: number[] } {
  const newest = new Map<string, number>();
  for (const { postId, at } of events) newest.set(postId, Math.max(at, newest.get(postId) ?? at));
  const kept = [...newest].sort((a, b) => b[1] - a[1]).slice(0, SEEN_LIMIT);
  return { postIds: kept.map(([postId]) => postId), atMs: kept.map(([, at]) => at) };
}

function eventKey(event: EngagementEvent): string {
  return `${event.userId} ${event.id}`;
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
