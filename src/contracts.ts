// Domain types and ports; types only, imported by every stage. Rows live inside (retrieve → slate), keys outside.
import type { Deadline } from './deadline.ts';
import type { RecordViews } from './post-record.ts';
import type { EventType, Head, RemovalReason, Source } from './vocabulary.ts';

// ---------------------------------------------------------------- domain (keys are strings, times unix ms)

export interface Post {
  id: string;
  authorId: string;
  createdAt: number;
  title?: string;
  text?: string;
  topic?: string;
  /** ISO 639-1; detected from the text on ingestion when absent. */
  language?: string;
  url?: string;
  mediaType?: 'none' | 'image' | 'video' | 'link';
  replyTo?: string;
  sensitive?: boolean;
  /** Free-form, stored and given back; at most 4 kB of JSON. */
  extra?: Record<string, unknown>;
}

export interface User {
  id: string;
  createdAt: number;
  languages?: string[];
  country?: string;
  /** Interests given at sign-up; they make the cold-start vector. */
  topics?: string[];
  showSensitive?: boolean;
}

export type EdgeKind = 'follow' | 'block' | 'mute_author' | 'mute_word' | 'mute_topic';

export interface Edge {
  userId: string;
  kind: EdgeKind;
  /** An author (= user) id, a word, or a topic. */
  target: string;
  createdAt: number;
}

export interface EngagementEvent {
  /** Idempotency key; unique per user. Made from the other fields when the client gives none. */
  id: string;
  userId: string;
  postId: string;
  type: EventType;
  at: number;
  dwellMs?: number;
  /** Tracking token of the served post. */
  token?: string;
  /** 0-based position in the feed at which it was shown. */
  position?: number;
}

// ---------------------------------------------------------------- stores

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
  /** A user's newest engagements (everything but impressions), newest first. */
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
  topic: string;
  type: EventType;
  at: number;
  dwellMs: number;
}

/** A user's online state: rebuilt from the SQL store at any time, never the truth. */
export interface UserState {
  /** Grows with every change; part of cache keys. */
  version: number;
  /** Unit vector [64] of `towerVersion`, null when none was computed yet. */
  embedding: Float32Array | null;
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

// ---------------------------------------------------------------- catalogue and index (rows)

/** Read view of one generation's posts. Base rows `[0, baseRows)` lie in createdAt order; live rows follow. */
export interface Catalogue {
  readonly generation: string;
  readonly dim: number;
  readonly baseRows: number;
  /** Rows in use now, base and live; grows. */
  readonly rows: number;
  /** [capacity, dim] row-major, unit norm. */
  readonly vectors: Float32Array;
  readonly records: RecordViews;
  /** −1 when absent. */
  rowOf(keyLo: number, keyHi: number): number;
  keyOf(row: number): string;
  /** Newest row of an author, −1 when none; older ones follow by FIELD.previousByAuthor. */
  newestByAuthor(authorLo: number, authorHi: number): number;
  /** Author counters, see AUTHOR_FIELD in post-record.ts. */
  readonly authors: Float32Array;
}

/** Hits of a search, best first; reused between calls. */
export interface Hits {
  rows: Uint32Array;
  /** Cosine similarity, higher is nearer. */
  similarity: Float32Array;
  size: number;
}

export interface VectorIndex {
  /** `hnsw`, `exact`, …: shown in explain and in health. */
  readonly kind: string;
  /**
   * The `k` nearest rows to a finite unit vector [dim], best first. Deleted rows are left out.
   * `fromRow` restricts an exact scan to rows ≥ it (the live tier). Throws FeedrankError(invalid_input) on a
   * vector of wrong length or with a number that is not finite.
   */
  search(query: Float32Array, k: number, hits: Hits, fromRow?: number): void;
}

/** Candidates of one request, in rows of one generation. */
export interface CandidateSet {
  rows: Uint32Array;
  /** Cosine similarity to the user vector. */
  similarity: Float32Array;
  /** Bit `1 << SOURCES.indexOf(source)`. */
  sources: Uint8Array;
  /** `[size × SOURCES.length]`: 1-based rank within each source, 0 = not from it. */
  sourceRanks: Uint16Array;
  size: number;
}

export interface Removal {
  row: number;
  reason: RemovalReason;
}

// ---------------------------------------------------------------- the request, as a feed worker sees it

/** Everything about the user that the pipeline reads; made on the main thread, structured-cloned to a worker. */
export interface PackedUser {
  userLo: number;
  userHi: number;
  /** Unit vector [64]. */
  embedding: Float32Array;
  /** Where the vector came from. */
  embeddingKind: 'stored' | 'computed' | 'cold';
  /** Newest first; parallel arrays of length H. Hash pairs as [lo, hi, …]. */
  historyKeys: Uint32Array;
  historyAuthors: Uint32Array;
  historyTopics: Uint32Array;
  /** ENGAGEMENT_CODES. */
  historyTypes: Uint8Array;
  historyAtMs: Float64Array;
  /** hash64 pairs. */
  seen: Uint32Array;
  follows: Uint32Array;
  blockedAuthors: Uint32Array;
  mutedAuthors: Uint32Array;
  /** hash32 of topics. */
  mutedTopics: Uint32Array;
  interestTopics: Uint32Array;
  /** wordHash of muted words. */
  mutedWords: Uint16Array;
  /** Codes of LANGUAGES the user reads; empty = any. */
  languages: Uint8Array;
  accountCreatedAtMs: number;
  showSensitive: boolean;
}

export interface FeedQuery {
  requestId: string;
  user: PackedUser;
  nowMs: number;
  /** 32-bit; same query, generation and seed give the same slate. */
  seed: number;
  /** Candidates to rank, at most. */
  candidates: number;
  /** Length of the re-ranked list that pages are cut from. */
  slateSize: number;
  /** hash64 pairs of posts that must not appear. */
  exclude: Uint32Array;
  /** 0 none, 1 for the posts shown, 2 also what was dropped. */
  explain: 0 | 1 | 2;
  /** True: order by Plackett–Luce sampling and report propensities. */
  explore: boolean;
  deadlineAtMs: number;
  /** What the main thread chose for this user; absent = what serves. */
  ranker?: RankerChoice;
}

export interface RankerChoice {
  /** Version of the main ranker; null where none can serve. */
  version: string | null;
  /** `canary`, or an experiment's arm: follows the model's name, `ranker@4+canary`. null = neither. */
  arm: string | null;
  /** Value weights of the arm; null = the configured ones. */
  weights: Record<Head, number> | null;
}

export interface RankedSet {
  /** Rows, by falling score. */
  rows: Uint32Array;
  scores: Float32Array;
  /** `[size × HEADS.length]`, null where a fallback ranked. */
  probabilities: Float32Array | null;
  /** Index into the CandidateSet. */
  candidate: Uint32Array;
  size: number;
  /** `ranker@3`, `light@1`, `retrieval`. */
  model: string;
}

export interface SlateEntry {
  row: number;
  score: number;
  propensity: number;
  /** Index into the RankedSet. */
  ranked: number;
  /** Names of the rules that moved it, with what they did. */
  rules: { rule: string; effect: string }[];
}

export interface SlatePost {
  postId: string;
  score: number;
  propensity: number;
  similarity: number;
  sources: Source[];
  probabilities: Record<Head, number> | null;
  explain?: PostExplanation;
}

export interface PostExplanation {
  sources: { source: Source; rank: number }[];
  /** probability × weight for each head. */
  heads: { head: Head; probability: number; weight: number; contribution: number }[];
  rules: { rule: string; effect: string }[];
  rankedPosition: number;
}

export type Stage = 'retrieve' | 'filter' | 'encode' | 'rank' | 'rerank' | 'present';

export interface FeedAnswer {
  requestId: string;
  generation: string;
  model: string;
  rules: string;
  search: string;
  posts: SlatePost[];
  /** Causes, for example `index_unavailable`, `ranker_late`. Empty = full quality. */
  degraded: string[];
  stageMs: Partial<Record<Stage, number>>;
  counts: { retrieved: number; kept: number; ranked: number };
  /** With explain = 2. */
  dropped?: { postId: string; reason: RemovalReason }[];
  /** Of an explored request; absent where a fallback without probabilities ranked. */
  exploration?: ExplorationRecord;
  /** What went wrong where something was degraded, for the log; never shown to a client. */
  failures: string[];
}
