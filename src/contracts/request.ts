// A feed request from the packed user to the answer, as a feed worker sees it. Types only.
import type { Head, RemovalReason, Source } from '../vocabulary.ts';
import type { ExplorationRecord, FeatureRecord } from './stores.ts';

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
  /** True: report the features of the slate's first posts. */
  logFeatures?: boolean;
  deadlineAtMs: number;
  /** What the main thread chose for this user; absent = what serves. */
  ranker?: RankerChoice;
  /** Version of the rules; absent, or not open in the worker = those that serve. */
  rules?: string;
}

export interface RankerChoice {
  /** Version of the main ranker; null where none can serve. */
  version: string | null;
  /** `canary`, or an experiment's arm: follows the model's name, `ranker@4+canary`. null = neither. */
  arm: string | null;
  /** Value weights of the arm; null = the configured ones. */
  weights: Record<Head, number> | null;
  /** Version of the light ranker on trial, where this user is to get it; absent = the one that serves. */
  light?: string;
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
  /** Where a lighter model chose the `kept` candidates that `model` scored, [candidate] 1 in `byMain`. */
  preRanked?: { model: string; kept: number; byMain: Uint8Array; ms: number };
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
  /** The model whose probabilities these are; null where a fallback without any ranked. */
  rankedBy?: string | null;
}

export type Stage = 'retrieve' | 'filter' | 'prerank' | 'encode' | 'rank' | 'rerank' | 'present';

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
  /** `ranked`: put in order; `preRanked`: of these, how many the main model saw, where a lighter one chose them. */
  counts: { retrieved: number; kept: number; ranked: number; preRanked?: number };
  /** With explain = 2. */
  dropped?: { postId: string; reason: RemovalReason }[];
  /** Of an explored request; absent where a fallback without probabilities ranked. */
  exploration?: ExplorationRecord;
  /** Where FeedQuery.logFeatures asked for it. */
  features?: FeatureRecord;
  /** What went wrong where something was degraded, for the log; never shown to a client. */
  failures: string[];
}
