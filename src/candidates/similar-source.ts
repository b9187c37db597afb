// Item to item: neighbours of the last posts the user engaged with, taken in turn. A post's neighbours are first those
// that the same users engaged with, then the newest ones nearest to its vector; a post without such users has only
// the latter.
import type { Catalogue, FeedQuery, Hits, VectorIndex } from '../contracts.ts';
import { engagedRows } from './engaged-rows.ts';
import { MAX_HITS } from './index/table-layout.ts';
import type { ItemGraph } from './item-graph.ts';
import type { RetrievalConfig } from './retrieval-config.ts';
import { RowSet } from './row-set.ts';
import { type AgeWindow, type CandidateSource, newHits, resetHits } from './source.ts';

export class SimilarSource implements CandidateSource {
  readonly name = 'similar';
  readonly #index: VectorIndex;
  readonly #config: RetrievalConfig['similar'];
  readonly #graph: ItemGraph | null;
  readonly #neighbours: Hits[] = [];
  readonly #nearest: Hits = newHits(0);
  readonly #taken = new RowSet();

  /** `graph`: over the base rows of the generation that `index` searches. */
  constructor(index: VectorIndex, config: RetrievalConfig['similar'], graph: ItemGraph | null = null) {
    this.#index = index;
    this.#config = config;
    this.#graph = graph;
  }

  retrieve(query: FeedQuery, catalogue: Catalogue, window: AgeWindow, quota: number, out: Hits): void {
    resetHits(out, quota);
    const seeds = engagedRows(query.user, catalogue, this.#config.seeds);
    if (seeds.length === 0 || quota <= 0) return;
    // One more than the share: the nearest neighbour of a post is itself.
    const k = Math.min(Math.ceil(quota / seeds.length) + 1, catalogue.rows, MAX_HITS);
    const fromRow = this.#firstRow(
      catalogue,
      window,
      k,
      Math.floor(this.#config.scanBudgetRows / seeds.length),
    );
    const { vectors, dim } = catalogue;
    for (let i = 0; i < seeds.length; i++) {
      const hits = (this.#neighbours[i] ??= newHits(k));
      this.#coEngaged(seeds[i], Math.round((k - 1) * this.#config.coEngaged), window.firstRow, hits);
      const left = k - hits.size;
      resetHits(this.#nearest, left);
      if (left > 0 && fromRow < catalogue.rows)
        this.#index.search(vectors.slice(seeds[i] * dim, (seeds[i] + 1) * dim), left, this.#nearest, fromRow);
      append(hits, this.#nearest, k);
    }
    this.#taken.reset(seeds.length + quota);
    for (const seed of seeds) this.#taken.add(seed);
    for (let rank = 0; rank < k && out.size < quota; rank++) {
      for (let i = 0; i < seeds.length && out.size < quota; i++) {
        const hits = this.#neighbours[i];
        if (rank >= hits.size) continue;
        const row = hits.rows[rank];
        if (!this.#taken.add(row)) continue;
        out.rows[out.size] = row;
        out.similarity[out.size++] = hits.similarity[rank];
      }
    }
  }

  /**
   * The whole window where the index reads no more than the budget for it, as inverted lists do. A graph answers for
   * 50 neighbours no cheaper than for 1000: there the newest rows are scanned (row 0 given up, so that it is a scan).
   */
  #firstRow(catalogue: Catalogue, window: AgeWindow, k: number, budgetRows: number): number {
    const reads = this.#index.rowsRead?.(k, window.firstRow) ?? Number.POSITIVE_INFINITY;
    if (reads <= budgetRows) return window.firstRow;
    return Math.max(1, window.firstRow, catalogue.rows - budgetRows);
  }

  /** The strongest neighbours of the graph within the window, at most `limit`; the similarity is the edge's weight. */
  #coEngaged(seed: number, limit: number, firstRow: number, out: Hits): void {
    resetHits(out, limit);
    if (this.#graph === null || limit === 0) return;
    out.size = this.#graph.strongest(seed, firstRow, limit, out.rows, out.similarity);
  }
}

/** Adds `more` to `hits`, whose room it enlarges to `capacity`. */
function append(hits: Hits, more: Hits, capacity: number): void {
  if (hits.rows.length < capacity) {
    const { rows, similarity, size } = hits;
    hits.rows = new Uint32Array(capacity);
    hits.similarity = new Float32Array(capacity);
    hits.rows.set(rows.subarray(0, size));
    hits.similarity.set(similarity.subarray(0, size));
  }
  hits.rows.set(more.rows.subarray(0, more.size), hits.size);
  hits.similarity.set(more.similarity.subarray(0, more.size), hits.size);
  hits.size += more.size;
}
