// The most engaging posts now, overall and by language; one board a worker, shared by its requests.
// A pass over the window is cut into slices paid by the requests, so that none of them waits for a whole one.
import type { Catalogue, Hits } from '../contracts.ts';
import {
  createdAtMs,
  FAST_HALF_LIFE_HOURS,
  FIELD,
  FLAG,
  RECORD_WORDS,
  SLOW_HALF_LIFE_HOURS,
} from '../post-record.ts';
import { LANGUAGES } from '../vocabulary.ts';
import { ageWindow } from './age-window.ts';
import type { RetrievalConfig } from './retrieval-config.ts';
import { newHits } from './source.ts';
import { TopRows } from './top-rows.ts';

/** Rows of the smallest slice: about 0.05 ms. */
const MIN_SLICE_ROWS = 1024;
/** A window of more rows takes longer than `refreshMs` in proportion: a pass costs about 20 ns a row, in each worker. */
const ROWS_A_REFRESH = 500_000;
/** Weight of the slow (24 h) counter against the fast (2 h) one: the same sum over a post's life. */
const SLOW_WEIGHT = FAST_HALF_LIFE_HOURS / SLOW_HALF_LIFE_HOURS;
/** Weight of all-time engagement: it only orders what nobody engaged with lately (old imports, quiet nights). */
const TOTAL_WEIGHT = 0.01;
const LN2_FAST = Math.LN2 / (FAST_HALF_LIFE_HOURS * 3600);
const LN2_SLOW = Math.LN2 / (SLOW_HALF_LIFE_HOURS * 3600);

export interface BoardList {
  hits: Hits;
  scores: Float64Array;
  /** Of each hit, as of the pass. */
  topics: Uint32Array;
}

export class TrendingBoard {
  readonly #config: RetrievalConfig['trending'];
  #generation: string | null = null;
  #overall: BoardList = { hits: newHits(0), scores: new Float64Array(0), topics: new Uint32Array(0) };
  #byLanguage = new Map<number, BoardList>();
  #heap: TopRows;
  #heaps: (TopRows | undefined)[] = [];
  #cursor = 0;
  #endRow = 0;
  #passRows = 0;
  #passAtMs = 0;
  #advancedAtMs = 0;
  #passing = false;

  constructor(config: RetrievalConfig['trending']) {
    this.#config = config;
    this.#heap = new TopRows(config.boardSize);
  }

  /** The posts of one language (code), best first; `null` = of all. */
  list(language: number | null): BoardList | undefined {
    return language === null ? this.#overall : this.#byLanguage.get(language);
  }

  /** A whole pass at once: at start and after a change of generation. Posts of any age when the window is empty. */
  refresh(catalogue: Catalogue, nowMs: number): void {
    this.#generation = catalogue.generation;
    this.#begin(catalogue, nowMs);
    this.#scan(catalogue, this.#endRow);
    this.#publish(catalogue, nowMs);
  }

  /** The share of a pass that is due by now, so that one takes `refreshMs` whatever the traffic; longer over many rows. */
  advance(catalogue: Catalogue, nowMs: number): void {
    if (catalogue.generation !== this.#generation) {
      this.refresh(catalogue, nowMs);
      return;
    }
    const elapsed = Math.max(0, nowMs - this.#advancedAtMs);
    if (!this.#passing) {
      if (elapsed === 0) return;
      this.#begin(catalogue, nowMs);
    }
    const passMs = this.#config.refreshMs * Math.max(1, this.#passRows / ROWS_A_REFRESH);
    const due = Math.ceil((this.#passRows * elapsed) / passMs);
    // Between slices a request pays nothing.
    if (due < MIN_SLICE_ROWS && this.#passRows > MIN_SLICE_ROWS) return;
    this.#advancedAtMs = Math.max(nowMs, this.#advancedAtMs);
    this.#scan(catalogue, Math.min(this.#endRow, this.#cursor + Math.max(MIN_SLICE_ROWS, due)));
    if (this.#cursor >= this.#endRow) this.#publish(catalogue, nowMs);
  }

  #begin(catalogue: Catalogue, nowMs: number): void {
    this.#passing = true;
    this.#passAtMs = nowMs;
    this.#endRow = catalogue.rows;
    const { firstRow } = ageWindow(catalogue, nowMs, this.#config.windowHours);
    // An import of old posts has an empty window: its most engaging posts are better than none.
    this.#cursor = this.#endRow - firstRow < this.#config.boardSize ? 0 : firstRow;
    this.#passRows = this.#endRow - this.#cursor;
    this.#heap.clear();
    for (const heap of this.#heaps) heap?.clear();
  }

  #scan(catalogue: Catalogue, endRow: number): void {
    const { u32, f32 } = catalogue.records;
    const records = catalogue.records;
    const nowSec = this.#passAtMs / 1000;
    const overall = this.#heap;
    for (let row = this.#cursor; row < endRow; row++) {
      const at = row * RECORD_WORDS;
      const slow = f32[at + FIELD.slowEngagement];
      const total =
        f32[at + FIELD.clicks] +
        2 * (f32[at + FIELD.likes] + f32[at + FIELD.replies] + f32[at + FIELD.shares]) -
        4 * f32[at + FIELD.negatives];
      if (!(slow > 0) && !(total > 0)) continue;
      const flags = u32[at + FIELD.flags];
      if (flags & FLAG.deleted) continue;
      const heap = this.#heapOf((flags >>> 8) & 0xff);
      const fast = f32[at + FIELD.fastEngagement];
      const bound = fast + SLOW_WEIGHT * slow + TOTAL_WEIGHT * Math.max(0, total);
      if (bound < overall.threshold && bound < heap.threshold) continue;
      const quiet = Math.max(0, nowSec - u32[at + FIELD.countersAtSec]);
      const ageHours = Math.max(0, this.#passAtMs - createdAtMs(records, row)) / 3_600_000;
      const gravity = ageHours + 2;
      const score =
        fast * Math.exp(-LN2_FAST * quiet) +
        SLOW_WEIGHT * slow * Math.exp(-LN2_SLOW * quiet) +
        (TOTAL_WEIGHT * Math.max(0, total)) / (gravity * Math.sqrt(gravity));
      if (!(score > 0)) continue;
      overall.offer(row, score);
      heap.offer(row, score);
    }
    this.#cursor = endRow;
  }

  #heapOf(language: number): TopRows {
    const code = language < LANGUAGES.length ? language : 0;
    return (this.#heaps[code] ??= new TopRows(this.#config.perLanguage));
  }

  #publish(catalogue: Catalogue, nowMs: number): void {
    this.#passing = false;
    this.#advancedAtMs = nowMs;
    this.#overall = listOf(this.#heap, catalogue);
    this.#byLanguage = new Map();
    this.#heaps.forEach((heap, language) => {
      if (heap && heap.size > 0) this.#byLanguage.set(language, listOf(heap, catalogue));
    });
  }
}

function listOf(heap: TopRows, { records }: Catalogue): BoardList {
  const hits = newHits(heap.size);
  const scores = new Float64Array(heap.size);
  heap.drain(hits, scores);
  const topics = hits.rows.map((row) => records.u32[row * RECORD_WORDS + FIELD.topic]);
  return { hits, scores, topics };
}
