// Posts nearest to the user vector. Narrow age windows are scanned exactly, wide ones over-fetch by the expected loss.
import type { Catalogue, FeedQuery, Hits, VectorIndex } from '../contracts.ts';
import { MAX_HITS } from './index/table-layout.ts';
import { type AgeWindow, type CandidateSource, resetHits } from './source.ts';

/** Below this share of rows inside the age window an exact scan of the window beats over-fetching (FACTS.md). */
const SCAN_BELOW_SHARE = 0.5;

export class NearestSource implements CandidateSource {
  readonly name = 'nearest';
  readonly #index: VectorIndex;

  constructor(index: VectorIndex) {
    this.#index = index;
  }

  retrieve(query: FeedQuery, catalogue: Catalogue, window: AgeWindow, quota: number, out: Hits): void {
    const rows = catalogue.rows;
    const inWindow = rows - window.firstRow;
    resetHits(out, 0);
    if (inWindow <= 0 || quota <= 0) return;
    const narrow = inWindow < rows * SCAN_BELOW_SHARE;
    const wanted = narrow ? quota : Math.ceil((quota * rows) / inWindow);
    const k = Math.min(wanted, rows, MAX_HITS);
    resetHits(out, k);
    this.#index.search(query.user.embedding, k, out, narrow ? window.firstRow : undefined);
  }
}
