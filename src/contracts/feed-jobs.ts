// Feed jobs: first pages of many users, computed when there is room for it. Types and the port only.
import type { Deadline } from '../deadline.ts';
import type { Source } from '../vocabulary.ts';

export type FeedJobStatus = 'queued' | 'running' | 'done' | 'failed' | 'cancelled';
/** `waiting`: for the job to end. `pending`: tried, and tried again, until it is `delivered` or `dead`. */
export type DeliveryState = 'waiting' | 'pending' | 'delivered' | 'dead';

export interface NewFeedJob {
  id: string;
  /** Id of the key or subject that made it; empty while the service is open. */
  owner: string;
  /** Distinct. */
  userIds: readonly string[];
  /** Posts of each page. */
  limit: number;
  webhookUrl: string | null;
  /** Of the request, for a repeated one: the client's key, hashed, and the hash of the body. */
  idempotency: { key: string; digest: string } | null;
  /** Unix ms. */
  createdAt: number;
  /** How long it may take, and is kept when it has ended. */
  keptMs: number;
}

/** Of one owner: jobs that have not ended, and jobs in all. */
export interface FeedJobBounds {
  open: number;
  kept: number;
}

export type FeedJobCreation =
  | { kind: 'created' | 'replayed'; id: string; users: number }
  | { kind: 'conflict' }
  | { kind: 'full'; bound: keyof FeedJobBounds };

export interface FeedJob {
  id: string;
  status: FeedJobStatus;
  users: number;
  limit: number;
  /** Together `users`, unless it was cancelled; `erased`: their results went with the user. */
  counts: { waiting: number; done: number; failed: number; erased: number };
  createdAt: number;
  finishedAt: number | null;
  expiresAt: number;
  /** null: none was asked for. */
  delivery: { state: DeliveryState; attempts: number; nextAt: number | null; error: string | null } | null;
}

/** A post of a result, without its content: that is read, and checked again, when the result is. */
export interface FeedJobPost {
  id: string;
  token: string;
  position: number;
  score: number;
  sources: Source[];
  why: string;
}

export interface FeedJobPage {
  requestId: string;
  generatedAt: number;
  model: string;
  degraded: string[];
  posts: FeedJobPost[];
}

export interface FeedJobResult {
  /** Place in the request, from 0. */
  n: number;
  userId: string;
  status: 'waiting' | 'done' | 'failed';
  /** null unless done. */
  page: FeedJobPage | null;
}

/** One user's page to compute, leased. */
export interface FeedJobTask {
  jobId: string;
  n: number;
  userId: string;
  limit: number;
  /** How often it was claimed, this time included: an outcome of an older claim is not taken. */
  attempts: number;
}

/** `released`: to be tried again at `dueAt`; `counts` is false where it was not really tried. */
export type FeedJobOutcome =
  | { state: 'done'; page: FeedJobPage }
  | { state: 'failed' }
  | { state: 'released'; dueAt: number; counts: boolean };

/** One try of a webhook, leased. */
export interface Delivery {
  jobId: string;
  url: string;
  status: FeedJobStatus;
  users: number;
  failed: number;
  /** Tries, this one included. */
  attempts: number;
  /** Unix ms after which there is no other. */
  untilMs: number;
}

export type DeliveryOutcome =
  | { state: 'delivered' }
  | { state: 'dead'; error: string }
  | { state: 'pending'; error: string; nextAt: number };

export interface FeedJobFigures {
  open: number;
  /** Unix ms; null when none is open. */
  oldestAt: number | null;
}

/** Adapter: the SQL store. Times are unix ms of the caller's clock. */
export interface FeedJobStore {
  /** Committed when it resolves. */
  create(job: NewFeedJob, bounds: FeedJobBounds, deadline: Deadline): Promise<FeedJobCreation>;
  /** null where this owner has no such job. */
  get(id: string, owner: string, deadline: Deadline): Promise<FeedJob | null>;
  /** In the order of the request, from place `from` on; null where this owner has no such job. */
  results(
    id: string,
    owner: string,
    from: number,
    limit: number,
    deadline: Deadline,
  ): Promise<FeedJobResult[] | null>;
  /** An open job keeps its name as `cancelled`, without users and results; another goes altogether. */
  remove(
    id: string,
    owner: string,
    now: { atMs: number; keptMs: number },
    deadline: Deadline,
  ): Promise<'cancelled' | 'deleted' | null>;
  /** At most `limit` that wait and that nobody else holds, for `leaseMs`. */
  claim(limit: number, atMs: number, leaseMs: number, deadline: Deadline): Promise<FeedJobTask[]>;
  /** All or nothing. What another wrote meanwhile stays; jobs that are complete end. */
  settle(
    outcomes: readonly { task: FeedJobTask; outcome: FeedJobOutcome }[],
    now: { atMs: number; keptMs: number },
    deadline: Deadline,
  ): Promise<void>;
  claimDeliveries(limit: number, atMs: number, leaseMs: number, deadline: Deadline): Promise<Delivery[]>;
  settleDelivery(delivery: Delivery, outcome: DeliveryOutcome, deadline: Deadline): Promise<void>;
  /** Ends jobs that took too long or lost their last users, and drops what has expired. */
  sweep(now: { atMs: number; keptMs: number }, deadline: Deadline): Promise<FeedJobFigures>;
}
