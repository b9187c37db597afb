// The catalogue and its search: posts are rows of one generation. Types only.
import type { RecordViews } from '../post-record.ts';
import type { RemovalReason } from '../vocabulary.ts';

/** Read view of one generation's posts. Base rows `[0, baseRows)` lie in createdAt order; live rows follow. */
export interface Catalogue {
  readonly generation: string;
  readonly dim: number;
  readonly baseRows: number;
  /** Rows in use now, base and live; grows. */
  readonly rows: number;
  /** [capacity, dim] row-major, unit norm. */
  readonly vectors: Float32Array;
  readonly records: RecordViews;
  /** −1 when absent. */
  rowOf(keyLo: number, keyHi: number): number;
  keyOf(row: number): string;
  /** Newest row of an author, −1 when none; older ones follow by FIELD.previousByAuthor. */
  newestByAuthor(authorLo: number, authorHi: number): number;
  /** Author counters, see AUTHOR_FIELD in post-record.ts. */
  readonly authors: Float32Array;
}

/** Hits of a search, best first; reused between calls. */
export interface Hits {
  rows: Uint32Array;
  /** Cosine similarity, higher is nearer. */
  similarity: Float32Array;
  size: number;
}

export interface VectorIndex {
  /** `hnsw`, `exact`, …: shown in explain and in health. */
  readonly kind: string;
  /**
   * The `k` nearest rows to a finite unit vector [dim], best first. Deleted rows are left out.
   * `fromRow` restricts it to rows ≥ it. Throws FeedrankError(invalid_input) on a vector of wrong length or with a
   * number that is not finite.
   */
  search(query: Float32Array, k: number, hits: Hits, fromRow?: number): void;
  /** Rows that a search with this `k` and `fromRow` reads, about: for callers with a budget. Absent: all of them. */
  rowsRead?(k: number, fromRow: number): number;
  /** The similarity of the rows `fromRow` … `fromRow + out.length − 1` to a vector of finite numbers, deleted ones too. */
  similarities?(query: Float32Array, fromRow: number, out: Float32Array): void;
  /** The same for any `rows` that there are, as many as `out` has room for. */
  similaritiesOf?(query: Float32Array, rows: Uint32Array, out: Float32Array): void;
}

/** Candidates of one request, in rows of one generation. */
export interface CandidateSet {
  rows: Uint32Array;
  /** Cosine similarity to the user vector. */
  similarity: Float32Array;
  /** Bit `1 << SOURCES.indexOf(source)`. */
  sources: Uint8Array;
  /** `[size × SOURCES.length]`: 1-based rank within each source, 0 = not from it. */
  sourceRanks: Uint16Array;
  size: number;
}

export interface Removal {
  row: number;
  reason: RemovalReason;
}
