// Posts nearest to the user vector and to the user's separate interests, taken in turn by their shares. Narrow age
// windows are scanned exactly, wide ones over-fetch by the expected loss.
import type { Catalogue, FeedQuery, Hits, VectorIndex } from '../contracts.ts';
import { MAX_HITS } from './index/table-layout.ts';
import { interestsOf } from './interest-vectors.ts';
import type { RetrievalConfig } from './retrieval-config.ts';
import { RowSet } from './row-set.ts';
import { type AgeWindow, type CandidateSource, newHits, resetHits } from './source.ts';

/** Below this share of rows inside the age window an exact scan of the window beats over-fetching. */
const SCAN_BELOW_SHARE = 0.5;
/**
 * An interest's search fetches its share of the quota times this, since the lists overlap: at 100,000 generated
 * posts 1.25 lost some of the gain, and 2 added next to nothing.
 */
const INTEREST_FETCH = 1.5;

/** One search's hits and the part of the quota that it gets. */
interface Turn {
  hits: Hits;
  share: number;
  /** Hits looked at. */
  at: number;
}

export class NearestSource implements CandidateSource {
  readonly name = 'nearest';
  readonly #index: VectorIndex;
  readonly #config: RetrievalConfig['nearest'];
  readonly #lists: Hits[] = [];
  readonly #taken = new RowSet();

  constructor(index: VectorIndex, config: RetrievalConfig['nearest']) {
    this.#index = index;
    this.#config = config;
  }

  /** The similarity of a hit is that to the user vector, NaN where only an interest's search found it. */
  retrieve(query: FeedQuery, catalogue: Catalogue, window: AgeWindow, quota: number, out: Hits): void {
    const { user } = query;
    const { interests: count, userShare } = this.#config;
    const interests = quota > 1 ? interestsOf(user, catalogue, count) : [];
    if (interests.length === 0) {
      this.#search(user.embedding, catalogue, window, quota, out);
      return;
    }
    // The user vector's list is as long as without interests, so that overlap never leaves fewer posts.
    const turns: Turn[] = [{ hits: (this.#lists[0] ??= newHits(0)), share: userShare, at: 0 }];
    this.#search(user.embedding, catalogue, window, quota, turns[0].hits);
    for (const [i, { vector, share: part }] of interests.entries()) {
      const hits = (this.#lists[i + 1] ??= newHits(0));
      const share = (1 - userShare) * part;
      this.#search(vector, catalogue, window, Math.ceil(quota * share * INTEREST_FETCH), hits);
      turns.push({ hits, share, at: 0 });
    }
    takeInTurn(turns, turns[0].hits.size, out, this.#taken);
  }

  #search(vector: Float32Array, catalogue: Catalogue, window: AgeWindow, quota: number, out: Hits): void {
    const rows = catalogue.rows;
    const inWindow = rows - window.firstRow;
    resetHits(out, 0);
    if (inWindow <= 0 || quota <= 0) return;
    const narrow = inWindow < rows * SCAN_BELOW_SHARE;
    const wanted = narrow ? quota : Math.ceil((quota * rows) / inWindow);
    const k = Math.min(wanted, rows, MAX_HITS);
    resetHits(out, k);
    this.#index.search(vector, k, out, narrow ? window.firstRow : undefined);
  }
}

/** The next hit is of the list that is furthest behind its share; a row that an earlier turn took is passed over. */
function takeInTurn(turns: readonly Turn[], quota: number, out: Hits, taken: RowSet): void {
  resetHits(out, quota);
  taken.reset(quota);
  while (out.size < quota) {
    let next: Turn | null = null;
    for (let i = 0; i < turns.length; i++) {
      const turn = turns[i];
      if (turn.at === turn.hits.size) continue;
      if (next === null || (turn.at + 1) * next.share < (next.at + 1) * turn.share) next = turn;
    }
    if (next === null) return;
    const { rows, similarity } = next.hits;
    const row = rows[next.at];
    const found = similarity[next.at++];
    if (!taken.add(row)) continue;
    out.rows[out.size] = row;
    out.similarity[out.size++] = next === turns[0] ? found : Number.NaN;
  }
}
