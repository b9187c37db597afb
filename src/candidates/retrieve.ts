// The retrieval stage: sources → merge → filters → near-duplicates → cut, widened while too little is left.
// Synchronous, never throws for a failing source; one Retriever for each feed worker and generation.
import type { Catalogue, FeedQuery, Hits, VectorIndex } from '../contracts.ts';
import { messageOf } from '../errors.ts';
import { REMOVAL_REASONS, SOURCES } from '../vocabulary.ts';
import { ageWindow } from './age-window.ts';
import { type FilterContext, FilterContexts } from './filter-context.ts';
import { filterRow, filterRows, KEPT, PENDING, REMOVED } from './filters.ts';
import { FollowingSource } from './following-source.ts';
import { FreshSource } from './fresh-source.ts';
import type { ItemGraph } from './item-graph.ts';
import { CandidateMerge } from './merge.ts';
import { bySimilarity, NearDuplicates } from './near-duplicates.ts';
import { NearestSource } from './nearest-source.ts';
import { cutByQuota } from './quota-cut.ts';
import type { RetrievalConfig } from './retrieval-config.ts';
import { candidateSet, countRemoved, emptyRetrieved, keptEntries, type Retrieved } from './retrieved.ts';
import { SimilarSource } from './similar-source.ts';
import { RowSimilarities } from './similarity.ts';
import { type AgeWindow, type CandidateSource, newHits } from './source.ts';
import type { TrendingBoard } from './trending-board.ts';
import { TrendingSource } from './trending-source.ts';

const MAX_CANDIDATES = 20_000;
const FRESH = SOURCES.indexOf('fresh');
const TOO_OLD = REMOVED + REMOVAL_REASONS.indexOf('too_old');
const NEAR_DUPLICATE = REMOVED + REMOVAL_REASONS.indexOf('near_duplicate');
const NOTHING = new Uint32Array(0);

/** The five sources over one index; without an index, the three that need none. `graph`: of the same generation. */
export function standardSources(
  index: VectorIndex | null,
  board: TrendingBoard,
  config: RetrievalConfig,
  graph: ItemGraph | null = null,
): CandidateSource[] {
  return [
    ...(index
      ? [new NearestSource(index, config.nearest), new SimilarSource(index, config.similar, graph)]
      : []),
    new FollowingSource(config.following),
    new TrendingSource(board, config.trending.topicBoost),
    new FreshSource(config.fresh, index),
  ];
}

export class Retriever {
  readonly #sources: readonly CandidateSource[];
  readonly #config: RetrievalConfig;
  readonly #quotas: readonly number[];
  readonly #merge = new CandidateMerge();
  readonly #contexts = new FilterContexts();
  readonly #duplicates: NearDuplicates;
  readonly #hits: Hits = newHits(0);
  readonly #scores: RowSimilarities;
  #states = new Uint8Array(0);
  /** Entries `[0, included)` were asked for by the request, not proposed by a source. */
  #included = 0;

  /** `index`: scores rows faster than a loop here does. */
  constructor(
    sources: readonly CandidateSource[],
    config: RetrievalConfig,
    index: VectorIndex | null = null,
  ) {
    this.#scores = new RowSimilarities(index);
    this.#sources = sources;
    this.#config = config;
    this.#quotas = SOURCES.map((source) => config.quotas[source]);
    this.#duplicates = new NearDuplicates(config.nearDuplicates.maxDistance);
  }

  /**
   * `include` are hash64 pairs of posts to take in whatever the sources say (pins); filters hold for them too.
   * The candidates are never empty while the catalogue has an eligible post.
   */
  retrieve(query: FeedQuery, catalogue: Catalogue, include: Uint32Array = NOTHING): Retrieved {
    const startedAt = performance.now();
    const { maxAgeHours, widen } = this.#config;
    const limit = Math.min(MAX_CANDIDATES, Math.max(1, Math.floor(query.candidates) || 1));
    const enough = Math.max(Math.ceil(limit * widen.below), Math.min(limit, query.slateSize || 0));
    const result = emptyRetrieved();
    if (!this.#sources.some((source) => source.name === 'nearest')) result.degraded.push('index_unavailable');
    this.#merge.begin();
    this.#states.fill(PENDING);

    let window = ageWindow(catalogue, query.nowMs, maxAgeHours);
    // With too few posts inside the window no filter need be asked: it is opened at once.
    const opened = maxAgeHours !== null && catalogue.rows - window.firstRow < enough;
    if (opened) window = ageWindow(catalogue, query.nowMs, null);
    let context = this.#contexts.make(query, catalogue, window);
    for (let i = 0; i + 1 < include.length; i += 2) {
      const row = catalogue.rowOf(include[i], include[i + 1]);
      if (row >= 0) this.#merge.add(row, null, 0);
    }
    this.#included = this.#merge.size;
    const attempt = (factor: number): number => {
      this.#run(query, catalogue, window, Math.ceil(limit * factor), result);
      return this.#filter(query, catalogue, context, result);
    };
    let kept = attempt(1);
    if (opened) result.widened++;
    if (kept < enough && this.#merge.size < catalogue.rows) {
      result.widened++;
      kept = attempt(widen.factor);
    }
    if (kept < enough && window.oldestMs !== Number.NEGATIVE_INFINITY) {
      result.widened++;
      window = ageWindow(catalogue, query.nowMs, null);
      context = this.#contexts.make(query, catalogue, window);
      for (let i = 0; i < this.#merge.size; i++) if (this.#states[i] === TOO_OLD) this.#states[i] = PENDING;
      kept = attempt(1);
    }
    if (kept < enough && this.#merge.size < catalogue.rows) {
      result.widened++;
      kept = this.#walkNewest(query, catalogue, context, kept, enough, result);
    }
    // All that is eligible repeats a text the user had: that is better than an empty feed.
    if (kept === 0) this.#keepOneRepeat();
    this.#finish(query, limit, result);
    result.retrieveMs = performance.now() - startedAt - result.filterMs;
    return result;
  }

  #run(query: FeedQuery, catalogue: Catalogue, window: AgeWindow, limit: number, result: Retrieved): void {
    for (const source of this.#sources) {
      const quota = Math.min(catalogue.rows, Math.ceil(limit * this.#config.quotas[source.name]));
      if (quota === 0) continue;
      try {
        source.retrieve(query, catalogue, window, quota, this.#hits);
        this.#merge.addHits(SOURCES.indexOf(source.name), this.#hits, source.name === 'nearest');
      } catch (error) {
        const cause = `${source.name}_failed`;
        if (result.degraded.includes(cause)) continue;
        result.degraded.push(cause);
        result.failures.push({ source: source.name, message: messageOf(error) });
      }
    }
  }

  /** Decides what is pending, then removes near-duplicates among all that is kept; returns how many are. */
  #filter(query: FeedQuery, catalogue: Catalogue, context: FilterContext, result: Retrieved): number {
    const startedAt = performance.now();
    const { rows, size, similarity } = this.#merge;
    if (this.#states.length < rows.length) {
      const states = new Uint8Array(rows.length);
      states.set(this.#states);
      this.#states = states;
    }
    const states = this.#states;
    filterRows(rows, size, states, context);
    const kept = keptEntries(states, size);
    this.#score(kept, query.user.embedding, catalogue);
    // What was asked for comes first: of two near-duplicates it is the one that stays.
    const order = this.#includedFirst(bySimilarity(kept, similarity));
    let left = kept.length;
    this.#duplicates.find(catalogue.records, rows, order, this.#shownRows(query, catalogue), (entry) => {
      states[entry] = NEAR_DUPLICATE;
      left--;
    });
    result.filterMs += performance.now() - startedAt;
    return left;
  }

  /** The similarity to the user of the kept entries that no source found by it. */
  #score(kept: Uint32Array, vector: Float32Array, catalogue: Catalogue): void {
    const { rows, similarity } = this.#merge;
    const missing = kept.filter((entry) => Number.isNaN(similarity[entry]));
    const scores = this.#scores.of(
      vector,
      missing.map((entry) => rows[entry]),
      catalogue,
    );
    for (let i = 0; i < missing.length; i++) similarity[missing[i]] = scores[i];
  }

  /** Newest first through the catalogue until enough is kept; only rows that pass the filters are taken in. */
  #walkNewest(
    query: FeedQuery,
    catalogue: Catalogue,
    context: FilterContext,
    keptBefore: number,
    enough: number,
    result: Retrieved,
  ): number {
    let kept = keptBefore;
    let row = catalogue.rows - 1;
    const last = Math.max(0, catalogue.rows - this.#config.widen.scanRows);
    while (kept < enough && row >= 0 && (row >= last || kept === 0)) {
      const target = this.#merge.size + enough - kept;
      for (; row >= 0 && this.#merge.size < target && (row >= last || kept === 0); row--) {
        if (filterRow(row, context) === KEPT && !this.#merge.has(row)) {
          this.#merge.add(row, FRESH, this.#merge.size + 1);
        }
      }
      kept = this.#filter(query, catalogue, context, result);
    }
    return kept;
  }

  #includedFirst(order: Uint32Array): Uint32Array {
    if (this.#included === 0) return order;
    const asked = order.filter((entry) => entry < this.#included);
    const others = order.filter((entry) => entry >= this.#included);
    order.set(asked);
    order.set(others, asked.length);
    return order;
  }

  #keepOneRepeat(): void {
    const repeat = this.#states.indexOf(NEAR_DUPLICATE);
    if (repeat >= 0 && repeat < this.#merge.size) this.#states[repeat] = KEPT;
  }

  #finish(query: FeedQuery, limit: number, result: Retrieved): void {
    const kept = keptEntries(this.#states, this.#merge.size);
    result.retrieved = this.#merge.size;
    result.kept = kept.length;
    countRemoved(result, this.#merge, this.#states, query.explain === 2);
    const chosen = cutByQuota(kept, this.#merge.sourceRanks, this.#quotas, limit);
    result.candidates = candidateSet(chosen, this.#merge);
  }

  /** Rows of the last posts that the user was served or engaged with. */
  #shownRows(query: FeedQuery, catalogue: Catalogue): number[] {
    const { seen, historyKeys } = query.user;
    const limit = this.#config.nearDuplicates.recentPosts;
    const rows: number[] = [];
    const take = (pairs: Uint32Array, at: number): void => {
      const row = catalogue.rowOf(pairs[at], pairs[at + 1]);
      if (row >= 0) rows.push(row);
    };
    for (let i = 0; i + 1 < historyKeys.length && i < limit * 2; i += 2) take(historyKeys, i);
    for (let i = seen.length - 2; i >= 0 && i >= seen.length - limit * 2; i -= 2) take(seen, i);
    return rows;
  }
}
