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
import { packUser } from './pack-user.ts';
import type { UserEmbedder } from './user-embedder.ts';
import { engagementCode, HISTORY_LIMIT } from './vocabulary.ts';

/** Time a request waits for a vector that is being computed; then it goes on with the one it has. */
const EMBEDDING_WAIT_MS = 40;
/** A user of whom the SQL store knows nothing is not looked for again for so long. */
const UNKNOWN_TTL_MS = 10_000;
const UNKNOWN_LIMIT = 50_000;
/** Share of the request's time that the stores may take. */
const STORE_SHARE = 0.4;

export interface HydrateContext {
  state: StateStore;
  users: { getUser(id: string, deadline: Deadline): Promise<{ user: User | null; edges: Edge[] } | null> };
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

export interface HydratedUser {
  packed: PackedUser;
  edges: Edge[];
  version: number;
  degraded: string[];
}

export class UserHydrator {
  readonly #context: HydrateContext;
  readonly #rebuilding = new Map<string, Promise<UserState | null>>();
  /** Users without anything stored, and until when that is believed. */
  readonly #unknown = new Map<string, number>();

  constructor(context: HydrateContext) {
    this.#context = context;
  }

  /** Never rejects: what could not be read is named in `degraded`. */
  async hydrate(userId: string, deadline: Deadline): Promise<HydratedUser> {
    const { state: store, tower, embedder, coldVector } = this.#context;
    const waitMs = this.#context.embeddingWaitMs ?? EMBEDDING_WAIT_MS;
    const degraded: string[] = [];
    const storeDeadline = deadline.within(deadline.remainingMs() * STORE_SHARE);
    let state: UserState | null = null;
    try {
      state = await raceDeadline(
        store.getState(userId, tower, storeDeadline),
        storeDeadline,
        'the user store',
      );
      if (state === null || state.user === null)
        state = (await this.#rebuild(userId, storeDeadline)) ?? state;
    } catch {
      degraded.push('user_state_unavailable');
      state = await this.#rebuild(userId, storeDeadline).catch(() => null);
      if (state === null) degraded.push('user_unknown');
    }
    let vector = state?.embedding ?? null;
    let kind: PackedUser['embeddingKind'] = 'stored';
    const hasHistory = (state?.history.length ?? 0) > 0;
    const pending =
      embedder.pending(userId) ?? (vector === null && hasHistory ? embedder.refresh(userId) : undefined);
    if (pending) {
      try {
        const computed = await raceDeadline(pending, deadline.within(waitMs), 'the user tower');
        if (computed) {
          vector = computed;
          kind = 'computed';
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
      version: state?.version ?? 0,
      degraded,
    };
  }

  /** Looks for a user again at the next request: something about it was stored. */
  forget(userId: string): void {
    this.#unknown.delete(userId);
  }

  /**
   * Reads a user from the SQL store and fills the online state again; null when nothing is stored. One at a time a
   * user.
   */
  #rebuild(userId: string, deadline: Deadline): Promise<UserState | null> {
    const running = this.#rebuilding.get(userId);
    if (running) return running;
    if ((this.#unknown.get(userId) ?? 0) > Date.now()) return Promise.resolve(null);
    const work = this.#readFromSql(userId, deadline).finally(() => this.#rebuilding.delete(userId));
    this.#rebuilding.set(userId, work);
    return work;
  }

  async #readFromSql(userId: string, deadline: Deadline): Promise<UserState | null> {
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
      user: stored?.user ?? { id: userId, createdAt: recent.at(-1)?.at ?? Date.now() },
      edges: stored?.edges ?? [],
    };
    await state.putState(userId, patch, deadline).catch(() => {});
    const fresh = await state.getState(userId, tower, deadline).catch(() => null);
    return (
      fresh ?? {
        version: 0,
        embedding: null,
        history,
        seen: new Uint32Array(0),
        user: stored?.user ?? null,
        edges: stored?.edges ?? [],
      }
    );
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
    topic: post.topic ?? '',
    type: event.type,
    at: event.at,
    dwellMs: event.dwellMs ?? 0,
  };
}
