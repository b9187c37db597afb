// What is shown when no slate can be made: the user's last one, else what is trending. The two lowest rungs of the
// ladder; called by feed-pages.ts when the ranker throws.

import type { Change, Edge } from '../contracts.ts';
import { hash64 } from '../hashing.ts';
import { LruMap } from '../lru-map.ts';
import type { CatalogueView, SlateResult } from './app-context.ts';
import type { SlateFacts, SnapshotEntry } from './feed-snapshot.ts';
import { hashKey, hashSet } from './hash-pairs.ts';

/** Slates of POSTS posts, some 15 kB each (their columns are those of the whole slate): 15 MB in all. */
const USERS = 1000;
/** Two pages: after them what is trending is as good. */
const POSTS = 100;
const MAX_AGE_MS = 6 * 3_600_000;

interface LastGood {
  atMs: number;
  facts: SlateFacts;
  entries: SnapshotEntry[];
  /** The user's edges as that slate saw them. */
  edges: Edge[];
}

export class LastGoodSlates {
  readonly #slates = new LruMap<LastGood>(USERS);
  readonly #catalogue: Pick<CatalogueView, 'trending' | 'isStale'>;
  readonly #now: () => number;

  constructor(catalogue: Pick<CatalogueView, 'trending' | 'isStale'>, now: () => number) {
    this.#catalogue = catalogue;
    this.#now = now;
  }

  onChange(change: Change): void {
    if (change.kind === 'user_erased') this.#slates.delete(change.userId);
    // A block made since must hold: what was kept before it does not know of it.
    else if (change.kind === 'edge') this.#applyEdge(change.edge, change.on);
  }

  #applyEdge(edge: Edge, on: boolean): void {
    const last = this.#slates.get(edge.userId);
    if (!last) return;
    const others = last.edges.filter(({ kind, target }) => kind !== edge.kind || target !== edge.target);
    last.edges = on ? [...others, edge] : others;
  }

  /** Keeps a slate of full quality. */
  keep(userId: string, facts: SlateFacts, slate: Pick<SlateResult, 'posts' | 'edges'>): void {
    if (facts.degraded.length > 0) return;
    const posts: SnapshotEntry[] = slate.posts.slice(0, POSTS);
    const entries = posts.some((post) => post.explain) ? posts.map(unexplained) : posts;
    this.#slates.set(userId, { atMs: this.#now(), facts, entries, edges: slate.edges });
  }

  /**
   * Posts that are neither in `exclude` nor, while others are left, in `seen`: both hash64 pairs. With the newest edges
   * known of the user, null where none are: a block outlives both stores.
   */
  recall(
    userId: string,
    limit: number,
    exclude: Uint32Array,
    seen: Uint32Array,
  ): { facts: SlateFacts; entries: SnapshotEntry[]; edges: Edge[] | null } {
    const excluded = hashSet(exclude);
    const seenSet = hashSet(seen);
    const fresh = (entry: { postId: string }) => !excluded.has(hashKey(hash64(entry.postId)));
    const unseen = (entry: { postId: string }) => !seenSet.has(hashKey(hash64(entry.postId)));
    const last = this.#slates.get(userId);
    const edges = last?.edges ?? null;
    const stale = this.#catalogue.isStale() ? ['changes_stale'] : [];
    if (last && this.#now() - last.atMs <= MAX_AGE_MS) {
      const entries = last.entries.filter((entry) => fresh(entry) && unseen(entry));
      if (entries.length > 0) {
        const facts = {
          ...last.facts,
          explored: false,
          degraded: ['ranking_unavailable', 'last_good_slate', ...stale],
        };
        return { facts, entries: entries.slice(0, limit), edges };
      }
    }
    const trending = this.#catalogue
      .trending(limit + excluded.size + seenSet.size)
      .map(
        (postId, i): SnapshotEntry => ({
          postId,
          score: 1 / (i + 1),
          propensity: 1,
          sources: ['trending'],
          probabilities: null,
        }),
      )
      .filter(fresh);
    const preferred = trending.filter(unseen);
    return {
      facts: {
        model: 'trending',
        index: 'none',
        rules: 'none',
        search: 'none',
        embeddingKind: 'cold',
        degraded: ['ranking_unavailable', 'trending_only', ...stale],
        watermark: '',
        explored: false,
      },
      entries: (preferred.length > 0 ? preferred : trending).slice(0, limit),
      edges,
    };
  }
}

/** Explanations are of one answer, and many times the size of the rest. */
function unexplained({ postId, score, propensity, sources, probabilities }: SnapshotEntry): SnapshotEntry {
  return { postId, score, propensity, sources, probabilities };
}
