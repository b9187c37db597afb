// Which calls of the two stores are in which lane, which of them may be repeated, and how much of a store each lane may
// take. Called by composition/resilience.ts.
import type {
  EventStore,
  PostStore,
  ServingLog,
  SessionStore,
  SqlChangeFeed,
  StateStore,
  UserStore,
} from '../contracts.ts';
import { type CallOutcome, type MethodRule, Policy, type PolicyOptions } from '../resilience.ts';

type Rules<Port> = { [Method in keyof Port]?: MethodRule };

const READ: MethodRule = { lane: 'feed', retry: true };
const WRITE: MethodRule = { lane: 'ingestion', retry: false };

/** Merges are idempotent, and so are sessions written whole. */
const STATE_METHODS = {
  getState: READ,
  get: READ,
  set: { lane: 'feed', retry: true },
  putState: { lane: 'ingestion', retry: true },
  putStates: { lane: 'offline', retry: true },
  eraseState: { lane: 'admin', retry: true },
} satisfies Rules<StateStore & SessionStore>;

/** A commit whose answer was lost must not be told as "nothing new": SQL writes are the client's to repeat. */
const SQL_METHODS = {
  getPosts: READ,
  getUser: READ,
  recentEvents: READ,
  putPosts: WRITE,
  appendEvents: WRITE,
  putUsers: WRITE,
  setEdges: WRITE,
  deletePost: { lane: 'admin', retry: false },
  eraseUser: { lane: 'admin', retry: false },
  position: { lane: 'offline', retry: true },
  read: { lane: 'offline', retry: true },
  horizon: { lane: 'offline', retry: true },
  append: { lane: 'offline', retry: false },
  // What the applier reads of a batch of changes.
  getUsers: { lane: 'ingestion', retry: true },
  likesOf: { lane: 'ingestion', retry: true },
  recentEventsOf: { lane: 'ingestion', retry: true },
} satisfies Rules<PostStore & UserStore & EventStore & SqlChangeFeed & ServingLog & ApplierReads>;

/** Reads of the SQL store beyond its ports; see applier.ts. */
interface ApplierReads {
  getUsers: unknown;
  likesOf: unknown;
  recentEventsOf: unknown;
}

export interface Policies {
  state: Policy;
  sql: Policy;
  /** Contents of posts for pages: given so little time that being late must not close the door to writes. */
  texts: Policy;
}

export interface PoliciesOptions {
  /** Connections to the SQL store: lanes are parts of it. */
  sqlConnections: number;
  /** What a feed can wait for its user; absent = as long as its deadlines say. */
  stateSlowMs?: number;
  onCall?: (dependency: string, outcome: CallOutcome) => void;
  onRetry?: (dependency: string) => void;
}

/** The policies of the service's two stores, of which the SQL store has one more for the texts of pages. No lane of the SQL store can take the last connection from the others. */
export function createPolicies({ sqlConnections, stateSlowMs, onCall, onRetry }: PoliciesOptions): Policies {
  const share = (part: number) => Math.max(1, Math.floor(sqlConnections * part));
  const policy = (dependency: string, options: Pick<PolicyOptions, 'methods' | 'lanes' | 'slowMs'>) =>
    new Policy({
      ...options,
      dependency,
      onCall: (outcome) => onCall?.(dependency, outcome),
      onRetry: () => onRetry?.(dependency),
    });
  return {
    // One pipelined connection: lanes bound what waits for it.
    state: policy('user store', {
      methods: STATE_METHODS,
      slowMs: stateSlowMs,
      lanes: { feed: 512, ingestion: 256, admin: 16, offline: 64 },
    }),
    sql: policy('database', {
      methods: SQL_METHODS,
      lanes: { feed: share(0.4), ingestion: share(0.4), admin: share(0.1), offline: share(0.2) },
    }),
    texts: policy('post texts', {
      methods: { getPosts: READ } satisfies Rules<PostStore>,
      lanes: { feed: share(0.4), ingestion: 1, admin: 1, offline: 1 },
    }),
  };
}
