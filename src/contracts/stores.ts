// The stores and feeds as ports, and what is written to them. Types only; adapters lie in features/.
import type { Deadline } from '../deadline.ts';
import type { EventType, Head, Source } from '../vocabulary.ts';
import type { Edge, EngagementEvent, Post, User } from './domain.ts';
import type { PackedUser } from './request.ts';

/** A commit position: every change with a smaller or equal position is final and has been read. */
export type Position = string;

export type Change =
  | { kind: 'post'; post: Post }
  | { kind: 'post_deleted'; postId: string }
  | { kind: 'user'; user: User }
  | { kind: 'user_erased'; userId: string }
  | { kind: 'edge'; edge: Edge; on: boolean }
  /** Each turn of a follow, where `edge` gives its newest state. */
  | { kind: 'followers'; authorId: string; delta: number; seq?: number }
  /** `seq`, here and above, is unique and set by a feed: counters add each once. */
  | { kind: 'event'; event: EngagementEvent; seq?: number };

/** Source of truth for posts. SQL adapters: Postgres, PGlite. */
export interface PostStore {
  /** Upserts; true where the post was new or changed. Committed when the promise resolves. */
  putPosts(posts: readonly Post[], deadline: Deadline): Promise<boolean[]>;
  getPosts(ids: readonly string[], deadline: Deadline): Promise<(Post | null)[]>;
  /** false when there was no such post. */
  deletePost(id: string, deadline: Deadline): Promise<boolean>;
  /** All live posts in (createdAt, id) order, in batches, by keyset. */
  scanPosts(batchSize: number): AsyncIterable<Post[]>;
}

/** Source of truth for users and their edges. */
export interface UserStore {
  putUsers(users: readonly User[], deadline: Deadline): Promise<void>;
  /** The profile and every edge, or null when nothing is known of the user. */
  getUser(id: string, deadline: Deadline): Promise<{ user: User | null; edges: Edge[] } | null>;
  /** Adds or removes edges; idempotent. */
  setEdges(edges: readonly Edge[], on: boolean, deadline: Deadline): Promise<void>;
  /** Removes the profile, edges, events and serving-log rows of one user. false when nothing was stored. */
  eraseUser(id: string, deadline: Deadline): Promise<boolean>;
}

export interface EventStore {
  /** Commits before it resolves; `true` where the event was new, `false` where its id was already stored. */
  appendEvents(events: readonly EngagementEvent[], deadline: Deadline): Promise<boolean[]>;
  /** Every event in (at, id) order, in batches: the offline jobs' read. */
  scanEvents(batchSize: number): AsyncIterable<EngagementEvent[]>;
  /**
   * A user's newest engagements (everything but impressions), the newest of each post and type, newest first. Of a user
   * who repeats posts a bounded number of events is read, so there may be fewer than `limit`.
   */
  recentEvents(userId: string, limit: number, deadline: Deadline): Promise<EngagementEvent[]>;
  /** Users and edges for the offline jobs. */
  scanUsers(batchSize: number): AsyncIterable<{ user: User; edges: Edge[] }[]>;
}

/** Committed changes in commit order, from the SQL store's outbox. */
export interface ChangeFeed {
  position(deadline: Deadline): Promise<Position>;
  read(
    after: Position,
    limit: number,
    deadline: Deadline,
  ): Promise<{ changes: Change[]; position: Position }>;
}

export interface StreamRead {
  changes: Change[];
  position: Position;
  /** The newest mark among them: every transaction before `position` of the SQL feed has been read; as of `atMs`. */
  mark: { position: Position; atMs: number } | null;
}

/** Committed changes in commit order, pushed by an updater; each write once. Adapter: Redis Streams. */
export interface ChangeStream extends ChangeFeed {
  read(after: Position, limit: number, deadline: Deadline): Promise<StreamRead>;
  /** When it was last known to be complete, unix ms; null while nobody fills it. */
  completeAt(deadline: Deadline): Promise<number | null>;
}

/** The SQL feed beside a stream: `horizon` is a position after everything that is committed by now. */
export interface SqlChangeFeed extends ChangeFeed {
  horizon(deadline: Deadline): Promise<Position>;
}

export interface ServedPost {
  postId: string;
  token: string;
  position: number;
  score: number;
  /** Probability with which this post was put at this position; 1 for a deterministic order. */
  propensity: number;
  sources: Source[];
  probabilities: Record<Head, number> | null;
}

export interface ServingRecord {
  requestId: string;
  userId: string;
  at: number;
  model: string;
  index: string;
  rules: string;
  explored: boolean;
  degraded: string[];
  /** Change position that the features were read at. */
  watermark: Position;
  posts: ServedPost[];
  /** First page of an explored request: what its order was sampled from. */
  exploration?: ExplorationRecord;
  /** First page of a sampled request (FEATURE_LOG_SHARE): what the ranker read. */
  features?: FeatureRecord;
}

/** Features of a slate's first posts as the service had them, to be compared with the SQL store: scripts/features. */
export interface FeatureRecord {
  /** Time that they were computed for, unix ms. */
  atMs: number;
  /** `feature@version`, in the order of the columns. */
  features: string[];
  /** Rows of `values`. */
  postIds: string[];
  /** base64 of float32 [posts, columns], little-endian. */
  values: string;
  /** base64 of float32 [64]: the user's vector. */
  userVector: string;
  userVectorKind: PackedUser['embeddingKind'];
}

/** The pool of an explored request and the picks from it, for off-policy evaluation; read by scripts/evaluate/ope. */
export interface ExplorationRecord {
  temperature: number;
  /** base64 of float32 [size, HEADS.length], little-endian: the ranker's probabilities of the pool's posts. */
  probabilities: string;
  /** base64 of float32 [size]: product of the boosts of each post; null = all 1. */
  boosts: string | null;
  /** Value weights in force, in the order of HEADS. */
  weights: number[];
  /** The sampled beginning of the slate, also what was not shown later. */
  steps: ExplorationPick[];
}

export interface ExplorationPick {
  postId: string;
  /** Place in the pool; null where nothing was sampled (a pin). */
  pick: number | null;
  /** Probability of this pick, given the steps before. */
  propensity: number;
  /** base64 bitmap [ceil(size ÷ 8)]: place i is bit i & 7 of byte i >> 3; null = all that earlier steps left. */
  eligible: string | null;
}

export interface ServingLog {
  append(records: readonly ServingRecord[], deadline: Deadline): Promise<void>;
  scan(batchSize: number): AsyncIterable<ServingRecord[]>;
}

/** One engagement as kept with the user's online state; what history features and the user tower read. */
export interface HistoryEntry {
  postId: string;
  authorId: string;
  /** hash32 of the post's topic, 0 = none. */
  topic: number;
  type: EventType;
  at: number;
  /** Kept in whole seconds. */
  dwellMs: number;
}

/** A user's online state: rebuilt from the SQL store at any time, never the truth. */
export interface UserState {
  /** Grows with every change; part of cache keys. */
  version: number;
  /** Unit vector [64] of `towerVersion`, null when none was computed yet. */
  embedding: Float32Array | null;
  /** True: the vector is of an older history. Whoever changed it runs another tower, or has yet to store the vector. */
  embeddingLags?: boolean;
  /** Newest first, at most HISTORY_LIMIT, one entry per (post, type). */
  history: HistoryEntry[];
  /** hash64 pairs [lo, hi, …] of posts served or seen, newest last, at most SEEN_LIMIT posts, expired ones gone. */
  seen: Uint32Array;
  user: User | null;
  edges: Edge[];
}

/** Online user state. Adapters: Redis, LMDB. Expiry is stored in the values, so that both agree on it. */
export interface StateStore {
  /** One round trip. null when the user is unknown. */
  getState(userId: string, towerVersion: string, deadline: Deadline): Promise<UserState | null>;
  /** Applies parts; absent parts stay. History and seen are merged (idempotent), profile and edges replaced. */
  putState(userId: string, patch: UserStatePatch, deadline: Deadline): Promise<void>;
  /** Bulk write for the offline build, pipelined. */
  putStates(patches: readonly (UserStatePatch & { userId: string })[], deadline: Deadline): Promise<void>;
  eraseState(userId: string, deadline: Deadline): Promise<void>;
}

export interface UserStatePatch {
  embedding?: { tower: string; vector: Float32Array };
  /** An `unlike` entry is never given back; it takes out the like of its post that is not newer, now and later. */
  history?: readonly HistoryEntry[];
  /** Entries to take out again. */
  forget?: readonly { postId: string; type: EventType }[];
  /** Post ids; `atMs` is when they were seen: one time for all, or one for each. */
  seen?: { postIds: readonly string[]; atMs: number | readonly number[] };
  user?: User;
  edges?: readonly Edge[];
}

/** Feed sessions and other small expiring values, beside the user state. */
export interface SessionStore {
  get(key: string, deadline: Deadline): Promise<Uint8Array | null>;
  set(key: string, value: Uint8Array, ttlMs: number, deadline: Deadline): Promise<void>;
}
