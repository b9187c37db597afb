// One page of a feed: what was asked for and what it became. Filled by feed-pages.ts, answered by feed-route.ts.
import type { Priority } from '../admission.ts';
import type { CacheOutcome } from '../cache-outcome.ts';
import type { ExplorationRecord, FeatureRecord, FeedAnswer, Post, Stage } from '../contracts.ts';
import type { RemovalReason } from '../vocabulary.ts';
import { NO_FACTS, type SlateFacts, type SnapshotEntry } from './feed-snapshot.ts';

export interface PageRequest {
  requestId: string;
  userId: string;
  limit: number;
  cursor: string | undefined;
  /** Post ids that must not appear. */
  exclude: readonly string[];
  explain: 0 | 1 | 2;
  /** As in SlateRequest. */
  quality?: number;
  priority?: Priority;
  /** A page by itself, for nobody to read on from: not explored, and without a cursor. */
  single?: boolean;
  signal?: AbortSignal;
}

export interface PagedPost {
  entry: SnapshotEntry;
  /** 0-based in the feed, counted over its pages. */
  position: number;
  /** null when the post store could not be asked. */
  post: Post | null;
}

export interface FeedPage {
  posts: PagedPost[];
  /** null at the end of the feed. */
  nextCursor: string | null;
  facts: SlateFacts;
  degraded: string[];
  stageMs: Partial<Record<Stage, number>>;
  counts: FeedAnswer['counts'] | undefined;
  /** What the cache of slates did for the page's first slate; `snapshot`: the page was cut from the feed's own. */
  cache: CacheOutcome | 'snapshot' | 'none';
  /** Slates that were asked for. */
  slates: number;
  dropped: { postId: string; reason: RemovalReason }[];
  /** Where this page begins an explored feed. */
  exploration?: ExplorationRecord;
  /** Where this page begins a feed whose request was sampled. */
  features?: FeatureRecord;
}

export function emptyPage(): FeedPage {
  return {
    posts: [],
    nextCursor: null,
    facts: NO_FACTS,
    degraded: [],
    stageMs: {},
    counts: undefined,
    cache: 'snapshot',
    slates: 0,
    dropped: [],
  };
}
