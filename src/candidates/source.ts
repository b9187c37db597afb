// A candidate source: proposes rows for one user, best first, without filtering. Retriever runs them all.
import type { Catalogue, FeedQuery, Hits } from '../contracts.ts';
import type { Source } from '../vocabulary.ts';

export { newHits } from './index/search-table.ts';

/** The ages a request accepts, as times and as a range of rows. */
export interface AgeWindow {
  /** Unix ms, inclusive; −Infinity when age does not matter. */
  oldestMs: number;
  /** Unix ms, inclusive; later than now by the tolerated clock skew. */
  newestMs: number;
  /** First base row inside the window; every row below it is older. Live rows are always ≥ it. */
  firstRow: number;
}

export interface CandidateSource {
  readonly name: Source;
  /**
   * Writes at most `quota` rows, best first, into `out`; may repeat no row. `out.similarity` is scratch, the merge
   * computes the similarity to the user itself. May throw: the retriever then reports `<name>_failed`.
   */
  retrieve(query: FeedQuery, catalogue: Catalogue, window: AgeWindow, quota: number, out: Hits): void;
}

/** Empties `hits` and makes room for `capacity` of them. */
export function resetHits(hits: Hits, capacity: number): void {
  hits.size = 0;
  if (hits.rows.length >= capacity && hits.similarity.length >= capacity) return;
  hits.rows = new Uint32Array(capacity);
  hits.similarity = new Float32Array(capacity);
}
