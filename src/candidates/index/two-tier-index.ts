// The search that serves: the base by graph, inverted lists or scan, as calibrated, and the live tier by scan, merged.
// A worker opens one per generation; without a usable graph everything is scanned.
import type { Hits, VectorIndex } from '../../contracts.ts';
import { FeedrankError } from '../../errors.ts';
import type { GraphFile } from './artifact.ts';
import { ExactIndex, openExactScan } from './exact-index.ts';
import { HnswIndex } from './hnsw-index.ts';
import { InvertedIndex } from './inverted-index.ts';
import type { PlainScan } from './plain-scan.ts';
import type { PostTable } from './post-table.ts';
import { newHits } from './search-table.ts';
import type { ListProbes } from './short-searches.ts';

/** Below this a whole scan takes a tenth of a millisecond: no graph is asked. */
export const SCAN_BELOW_ROWS = 20_000;

/** A search of the base rows that is not exact. */
type FastIndex = VectorIndex & { fits(k: number, fromRow?: number): boolean };

export class TwoTierIndex implements VectorIndex {
  readonly #table: PostTable;
  readonly #scan: ExactIndex | PlainScan;
  readonly #fast: FastIndex | null;
  #base: Hits = newHits(1024);
  #live: Hits = newHits(1024);

  constructor(table: PostTable, scan: ExactIndex | PlainScan, fast: FastIndex | null) {
    this.#table = table;
    this.#scan = scan;
    this.#fast = table.baseRows < SCAN_BELOW_ROWS ? null : fast;
  }

  /** `hnsw+exact`, `ivf+exact`, `exact` or `plain`. */
  get kind(): string {
    return this.#fast ? `${this.#fast.kind}+${this.#scan.kind}` : this.#scan.kind;
  }

  search(query: Float32Array, k: number, hits: Hits, fromRow = 0): void {
    const { baseRows, rows } = this.#table;
    const fast = this.#fast;
    if (!fast?.fits(k, fromRow)) {
      this.#scan.search(query, k, hits, fromRow);
      return;
    }
    if (rows === baseRows) {
      fast.search(query, k, hits, fromRow);
    } else {
      this.#reserve(k);
      fast.search(query, k, this.#base, fromRow);
      this.#scan.search(query, k, this.#live, baseRows);
      merge(this.#base, this.#live, k, hits);
    }
    // Deleted rows clustered around the query, or small lists, can leave too few: the scan misses none.
    if (hits.size < Math.min(k, rows - fromRow - this.#table.deletedRows.all))
      this.#scan.search(query, k, hits, fromRow);
  }

  rowsRead(k: number, fromRow: number): number {
    const { baseRows, rows } = this.#table;
    const fast = this.#fast;
    const isShort = fast instanceof InvertedIndex && fast.fits(k, fromRow);
    return isShort ? fast.probedRows(k, fromRow) + rows - baseRows : rows - fromRow;
  }

  similarities(query: Float32Array, fromRow: number, out: Float32Array): void {
    this.#scan.similarities(query, fromRow, out);
  }

  similaritiesOf(query: Float32Array, rows: Uint32Array, out: Float32Array): void {
    this.#scan.similaritiesOf(query, rows, out);
  }

  /** Share of the true `k` nearest that a search finds now; null where every search is exact. */
  recallOf(query: Float32Array, k: number): number | null {
    if (!this.#fast?.fits(k)) return null;
    const found = newHits(k);
    const truth = newHits(k);
    this.search(query, k, found);
    this.#scan.search(query, k, truth);
    const rows = new Set(found.rows.subarray(0, found.size));
    let shared = 0;
    for (let i = 0; i < truth.size; i++) if (rows.has(truth.rows[i])) shared++;
    return truth.size === 0 ? null : shared / truth.size;
  }

  #reserve(k: number): void {
    if (this.#base.rows.length >= k) return;
    this.#base = newHits(k);
    this.#live = newHits(k);
  }
}

/** Merges two lists, each best first, into the `k` best. */
function merge(a: Hits, b: Hits, k: number, out: Hits): void {
  let i = 0;
  let j = 0;
  let size = 0;
  while (size < k && (i < a.size || j < b.size)) {
    const first = j >= b.size || (i < a.size && a.similarity[i] >= b.similarity[j]);
    out.rows[size] = first ? a.rows[i] : b.rows[j];
    out.similarity[size++] = first ? a.similarity[i++] : b.similarity[j++];
  }
  out.size = size;
}

/**
 * Opens the search of a generation in this thread: by graph or inverted lists where they were calibrated, else by
 * scan. `reason` says why a graph that was published is not used; a corrupt graph costs speed, never the service.
 */
export async function openIndex(
  table: PostTable,
  graph: GraphFile | null,
  probes: ListProbes | null = null,
): Promise<{ index: TwoTierIndex; reason: string | null }> {
  const scan = await openExactScan(table);
  const lists =
    probes !== null && scan instanceof ExactIndex && scan.lists > 0 ? new InvertedIndex(scan, probes) : null;
  if (!graph) return { index: new TwoTierIndex(table, scan, lists), reason: null };
  try {
    const hnsw = await HnswIndex.load(graph, table);
    return { index: new TwoTierIndex(table, scan, hnsw), reason: null };
  } catch (error) {
    if (!(error instanceof FeedrankError)) throw error;
    return { index: new TwoTierIndex(table, scan, null), reason: error.message };
  }
}
