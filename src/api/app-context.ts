// What the HTTP layer needs of the rest of the service: implemented by compose, by fakes for ranker and clock in
// tests. Types only; each route takes the narrow part of it that it uses.
import type { FastifyBaseLogger } from 'fastify';
import type { Registry } from 'prom-client';
import type { Admission, Priority } from '../admission.ts';
import type { CacheOutcome } from '../cache-outcome.ts';
import type {
  Change,
  Edge,
  EventStore,
  FeedAnswer,
  PackedUser,
  Position,
  PostStore,
  ServingLog,
  ServingRecord,
  SessionStore,
  StateStore,
  UserStore,
} from '../contracts.ts';
import type { Deadline } from '../deadline.ts';
import type { NewPostsCount, NewPostsQuery } from '../new-posts.ts';
import type { ApiConfig } from './api-config.ts';
import type { Authenticator } from './auth/authenticator.ts';
import type { Draining } from './draining.ts';
import type { FeedJobs } from './jobs/feed-jobs.ts';
import type { SharedCounter } from './limit-store.ts';

export interface SlateRequest {
  requestId: string;
  userId: string;
  slateSize: number;
  /** hash64 pairs of posts that must not appear, as in FeedQuery.exclude. */
  exclude: Uint32Array;
  /** 0 none, 1 for the posts of the slate, 2 also what was dropped. */
  explain: 0 | 1 | 2;
  /** True: order by sampling, propensities reported. */
  explore: boolean;
  /** Model of the feed's slates so far, `ranker@3`: the next is made by the same version while that is open. */
  model?: string;
  /** (0, 1]: share of the usual candidates to rank; default 1. */
  quality?: number;
  /** Which requests go first where they wait for a worker; default interactive. */
  priority?: Priority;
  /** Aborted when nobody waits for the answer any more: the slate need not be made. */
  signal?: AbortSignal;
  /** Told of the user before the posts are looked for, unless no store knew; what fails afterwards holds to it too. */
  onReader?(reader: KnownReader): void;
}

/** What decides which posts a user may see at all, as of now. */
export interface KnownReader {
  edges: Edge[];
  /** hash64 pairs. */
  seen: Uint32Array;
  showSensitive: boolean;
}

export interface SlateResult extends FeedAnswer {
  /** Whether it was made for this request; absent: it was. */
  cache?: CacheOutcome;
  /** Version of the user state that was read. */
  userVersion: number;
  embeddingKind: PackedUser['embeddingKind'];
  /** The user's follows, blocks and mutes as they were read. */
  edges: Edge[];
  /** Change position that the features were read at. */
  watermark: Position;
}

export interface Ranker {
  /**
   * Hydrates the user and runs retrieve → slate. An empty `posts` means that nothing eligible is left.
   * @throws FeedrankError; the page then comes from the last good slate or from `CatalogueView.trending`.
   */
  slate(request: SlateRequest, deadline: Deadline): Promise<SlateResult>;
}

/** What the memory of this replica knows of a servable post. */
export interface CatalogueEntry {
  authorLo: number;
  authorHi: number;
  /** hash32 of the topic, 0 = none. */
  topic: number;
  sensitive: boolean;
}

/** The generation that is served now, read synchronously. */
export interface CatalogueView {
  /** null when the post is unknown or deleted, that is, must not be served. */
  find(postId: string): CatalogueEntry | null;
  /** The last rung of the ladder: servable posts by recent engagement, then the newest; at most `limit`. */
  trending(limit: number): string[];
  /** Posts that wait for a user. */
  countNew(query: NewPostsQuery): NewPostsCount;
  /** Whether what others wrote in the last seconds may be missing here. */
  isStale(): boolean;
  /** Nearest servable posts, without the post itself, nearest first. null when the post has no vector here. */
  similar(
    postId: string,
    limit: number,
    deadline: Deadline,
  ): Promise<{ postId: string; similarity: number }[] | null>;
}

/** Body of /health/ready. */
export interface Readiness {
  ready: boolean;
  /** Why not ready; empty when ready. */
  reasons: string[];
  /** Ready, but with something missing, for example `gpu_unavailable`. */
  degraded: string[];
  index: { kind: string; generation: string; posts: number };
  /** Model and execution provider by name, for example `{ ranker: 'ranker@3 on cpu' }`. */
  models: Record<string, string>;
  /** Adapter by port, for example `{ posts: 'postgres', state: 'redis' }`. */
  stores: Record<string, string>;
}

export interface Stores {
  posts: PostStore;
  /** Contents of posts for pages; absent: `posts`. */
  texts?: Pick<PostStore, 'getPosts'>;
  users: UserStore;
  events: EventStore;
  state: StateStore;
  sessions: SessionStore;
  servingLog: ServingLog;
}

/** The life cycle of the rankers, as /admin/models drives it. */
export interface ModelAdmin {
  status(): object;
  /** Newest first. */
  history(limit: number): Promise<object[]>;
  /** @throws FeedrankError when the move cannot be made. Resolves with the new status. */
  move(request: {
    action: 'shadow' | 'canary' | 'promote' | 'rollback';
    /** Of the ranker; not needed to roll back. */
    version?: string;
    share?: number;
    reason?: string;
  }): Promise<object>;
}

/** The life of the rules file, as /admin/rules drives it. */
export interface RulesAdmin {
  status(): object;
  /**
   * `promote`: `version`, else the one on trial, else the file's, for everybody now. `rollback`: ends the trial, or goes
   * back to the rules before. @throws FeedrankError when the move cannot be made. Resolves with the new status.
   */
  move(request: { action: 'promote' | 'rollback'; version?: string; reason?: string }): Promise<object>;
}

export interface AppContext {
  config: ApiConfig;
  clock: { now(): number };
  logger: FastifyBaseLogger;
  metrics: { registry: Registry };
  ranker: Ranker;
  catalogue: CatalogueView;
  stores: Stores;
  /**
   * Applies committed changes to this replica's memory and to the users' online state, before the answer is sent.
   * Idempotent: the change feed delivers them again.
   */
  applyNow(changes: Change[]): Promise<void>;
  /** Calls the listener for every change that this replica applies, own or foreign; returns the unsubscriber. */
  onChange(listener: (change: Change) => void): () => void;
  health(): Readiness;
  /** Absent: there is no /admin/models. */
  models?: ModelAdmin;
  /** Absent: there is no /admin/rules. */
  rules?: RulesAdmin;
  /** Told of each page that is delivered. */
  onServed?(record: ServingRecord): void;
  /** Lets feed requests in; absent: one of its own, for a single worker. */
  admission?: Pick<Admission, 'run' | 'refuseWhenFull' | 'refusal'>;
  /** Who may call what; absent: the service is open to everybody who reaches it. */
  auth?: Pick<Authenticator, 'authenticate' | 'isServiceKey'>;
  /** Counts rate limits for all replicas. Absent: each replica counts for itself. */
  limitCounter?: SharedCounter;
  /** Absent: there is no /feed-jobs. */
  feedJobs?: Pick<FeedJobs, 'store' | 'settings' | 'hosts' | 'start' | 'wake' | 'close'>;
  /** Begun by the process before it ends. */
  draining?: Draining;
}
