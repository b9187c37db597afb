// Hydrates a request's user: one read of the online state; a user whose state or vector is missing is rebuilt from
// the SQL store off the loop, and served a cold-start vector when that is not ready in time.
import type {
  Edge,
  EngagementEvent,
  HistoryEntry,
  PackedUser,
  Post,
  StateStore,
  User,
  UserState,
} from './contracts.ts';
import { type Deadline, raceDeadline } from './deadline.ts';
import type { OnlineStore } from './features/store/state-store.ts';
import { hash32, packHashes } from './hashing.ts';
import { LruMap } from './lru-map.ts';
import { packUser } from './pack-user.ts';
import type { UserEmbedder } from './user-embedder.ts';
import { engagementCode, HISTORY_LIMIT, UNDATED } from './vocabulary.ts';

/** Time a request waits for a vector that is being computed; then it goes on with the one it has. */
const EMBEDDING_WAIT_MS = 40;
/** A user of whom the SQL store knows nothing is not looked for again for so long. */
const UNKNOWN_TTL_MS = 10_000;
const UNKNOWN_LIMIT = 50_000;
/** Shares of the request's time: the user store's, then the SQL store's where it has to stand in, counted together. */
export const STATE_SHARE = 0.25;
const STORE_SHARE = 0.45;
/**
 * What the SQL store gave while the user store was down is believed for so long: it is asked once, not at each page.
 * Changes of the user are heard of all the same, and end it.
 */
const STAND_IN_MS = 60_000;
const STAND_INS = 2000;

export interface HydrateContext {
  state: StateStore & Pick<OnlineStore, 'lastKnown'>;
  users: { getUser(id: string, deadline: Deadline): Promise<StoredUser | null> };
  events: { recentEvents(userId: string, limit: number, deadline: Deadline): Promise<EngagementEvent[]> };
  posts: { getPosts(ids: readonly string[], deadline: Deadline): Promise<(Post | null)[]> };
  embedder: UserEmbedder;
  tower: string;
  /** Unit vector [64] for a user without history: from interests where there are some. */
  coldStart(user: User | null): Promise<Float32Array>;
  /** The tower's fixed cold-start vector, at hand without any call. */
  coldVector: Float32Array;
  /** Time a request waits for a vector that is being computed; default EMBEDDING_WAIT_MS. */
  embeddingWaitMs?: number;
}

/** What the SQL store knows of a user. */
export interface StoredUser {
  user: User | null;
  edges: Edge[];
}

export interface HydratedUser {
  packed: PackedUser;
  edges: Edge[];
  /** False when no store could say what the user's edges are. */
  known: boolean;
  version: number;
  degraded: string[];
}

export class UserHydrator {
  readonly #context: HydrateContext;
  readonly #rebuilding = new Map<string, Promise<UserState | null>>();
  /** Users without anything stored, and until when that is believed. */
  readonly #unknown = new Map<string, number>();
  readonly #standIns = new LruMap<{ state: UserState; untilMs: number }>(STAND_INS);

  constructor(context: HydrateContext) {
    this.#context = context;
  }

  /** Never rejects: what could not be read is named in `degraded`. */
  async hydrate(userId: string, deadline: Deadline): Promise<HydratedUser> {
    const { state: store, tower, embedder, coldVector } = this.#context;
    const waitMs = this.#context.embeddingWaitMs ?? EMBEDDING_WAIT_MS;
    const degraded: string[] = [];
    const leftMs = deadline.remainingMs();
    const stateDeadline = deadline.within(leftMs * STATE_SHARE);
    const storeDeadline = deadline.within(leftMs * STORE_SHARE);
    let state: UserState | null = null;
    let isDown = false;
    try {
      state = await raceDeadline(
        store.getState(userId, tower, stateDeadline),
        stateDeadline,
        'the user store',
      );
    } catch {
      isDown = true;
      degraded.push('user_state_unavailable');
    }
    if (state === null || state.user === null) {
      try {
        state =
          (isDown ? this.#known(userId) : null) ??
          (await this.#rebuildBy(userId, storeDeadline, isDown)) ??
          state;
      } catch {
        degraded.push('user_unknown');
      }
    }
    let vector = state?.embedding ?? null;
    let kind: PackedUser['embeddingKind'] = 'stored';
    const hasHistory = (state?.history.length ?? 0) > 0;
    const needed = hasHistory && (vector === null || state?.embeddingLags === true);
    // Without the store there is nowhere to read from, or to write to: the history at hand is all there is.
    const pending = isDown
      ? needed && state && embedder.compute(state.history)
      : (embedder.pending(userId) ?? (needed ? embedder.refresh(userId) : undefined));
    if (pending) {
      try {
        const computed = await raceDeadline(pending, deadline.within(waitMs), 'the user tower');
        if (computed) {
          vector = computed;
          kind = 'computed';
          // A stand-in is asked for again; nobody else has this object.
          if (isDown && state) state.embedding = computed;
        }
      } catch {
        if (vector === null) degraded.push('user_embedding_late');
      }
    }
    if (vector === null) {
      kind = 'cold';
      const cold = this.#context.coldStart(state?.user ?? null);
      vector = await raceDeadline(cold, deadline.within(waitMs), 'cold start').catch(() => coldVector);
    }
    return {
      packed: packUser(userId, state, vector, kind),
      edges: state?.edges ?? [],
      known: !degraded.includes('user_unknown'),
      version: state?.version ?? 0,
      degraded,
    };
  }

  /** Looks for a user again at the next request: something about it was stored. */
  forget(userId: string): void {
    this.#unknown.delete(userId);
    this.#standIns.delete(userId);
  }

  /** While the store is down: what it last gave, or what the SQL store gave in its place. */
  #known(userId: string): UserState | null {
    const kept = this.#standIns.get(userId);
    if (kept && kept.untilMs > Date.now()) return kept.state;
    const { state, tower } = this.#context;
    const known = state.lastKnown?.(userId, tower) ?? null;
    return known?.user ? known : null;
  }

  /** A request that joins a rebuild has its own deadline. */
  #rebuildBy(userId: string, deadline: Deadline, isDown: boolean): Promise<UserState | null> {
    return raceDeadline(this.#rebuild(userId, deadline, isDown), deadline, 'the SQL store');
  }

  /**
   * Reads a user from the SQL store and fills the online state again, unless that is down; null when nothing is
   * stored. One at a time a user.
   */
  #rebuild(userId: string, deadline: Deadline, isDown: boolean): Promise<UserState | null> {
    const running = this.#rebuilding.get(userId);
    if (running) return running;
    if ((this.#unknown.get(userId) ?? 0) > Date.now()) return Promise.resolve(null);
    const work = this.#readFromSql(userId, deadline, isDown).finally(() => this.#rebuilding.delete(userId));
    this.#rebuilding.set(userId, work);
    return work;
  }

  async #readFromSql(userId: string, deadline: Deadline, isDown: boolean): Promise<UserState | null> {
    const { users, events, posts, state, tower } = this.#context;
    const [stored, recent] = await Promise.all([
      users.getUser(userId, deadline),
      events.recentEvents(userId, HISTORY_LIMIT * 2, deadline),
    ]);
    if (stored === null && recent.length === 0) {
      if (this.#unknown.size >= UNKNOWN_LIMIT) this.#unknown.clear();
      this.#unknown.set(userId, Date.now() + UNKNOWN_TTL_MS);
      return null;
    }
    const found = await posts.getPosts(
      recent.map((event) => event.postId),
      deadline,
    );
    const history = historyFrom(recent, found);
    const patch = {
      history,
      seen: { postIds: recent.map((event) => event.postId), atMs: Date.now() },
      // A profile marks the state as complete: one without it was only touched and is rebuilt again.
      user: stored?.user ?? { id: userId, createdAt: UNDATED },
      edges: stored?.edges ?? [],
    };
    if (!isDown) {
      await state.putState(userId, patch, deadline).catch(() => {});
      const fresh = await state.getState(userId, tower, deadline).catch(() => null);
      if (fresh) return fresh;
    }
    const standIn = {
      version: 0,
      embedding: null,
      history,
      seen: packHashes(patch.seen.postIds),
      user: stored?.user ?? null,
      edges: stored?.edges ?? [],
    };
    this.#standIns.set(userId, { state: standIn, untilMs: Date.now() + STAND_IN_MS });
    return standIn;
  }
}

/** Engagements as history entries, newest first; an un-like takes its like out; posts that are gone are left out. */
export function historyFrom(
  events: readonly EngagementEvent[],
  posts: readonly (Post | null)[],
): HistoryEntry[] {
  const unlikedAt = new Map<string, number>();
  for (const event of events) {
    if (event.type === 'unlike')
      unlikedAt.set(event.postId, Math.max(event.at, unlikedAt.get(event.postId) ?? 0));
  }
  const history: HistoryEntry[] = [];
  const taken = new Set<string>();
  events.forEach((event, i) => {
    const post = posts[i];
    const entry = post ? historyEntry(event, post) : null;
    const key = `${event.type} ${event.postId}`;
    if (
      entry === null ||
      taken.has(key) ||
      (event.type === 'like' && event.at <= (unlikedAt.get(event.postId) ?? -1))
    )
      return;
    taken.add(key);
    if (history.length < HISTORY_LIMIT) history.push(entry);
  });
  return history;
}

/** null for an event that is no engagement. */
export function historyEntry(
  event: EngagementEvent,
  post: Pick<Post, 'authorId' | 'topic'>,
): HistoryEntry | null {
  if (engagementCode(event.type, event.dwellMs ?? 0) === 0) return null;
  return {
    postId: event.postId,
    authorId: post.authorId,
    topic: post.topic ? hash32(post.topic) : 0,
    type: event.type,
    at: event.at,
    dwellMs: event.dwellMs ?? 0,
  };
}
