// The search by inverted lists: the rows of the lists nearest to the query, scanned like the whole base is. A view of
// the thread's exact scan with the number of lists to probe, chosen by the calibration.
import type { Hits, VectorIndex } from '../../contracts.ts';
import type { ExactIndex } from './exact-index.ts';
import type { ListProbes } from './short-searches.ts';

/** At k = 2.5 % of the base the lists still win (.33 ms against .42, 40,000 rows); beyond twice that nothing was measured. */
const MAX_SHARE = 0.05;
/** Neighbours that the number of probed lists was calibrated for (`build-index` asks for as many). */
const CALIBRATED_K = 1000;

export class InvertedIndex implements VectorIndex {
  readonly kind = 'ivf';
  readonly #scan: ExactIndex;
  #probes: ListProbes;

  constructor(scan: ExactIndex, probes: ListProbes) {
    this.#scan = scan;
    this.#probes = probes;
  }

  /** Lists that there are. */
  get lists(): number {
    return this.#scan.lists;
  }

  /** Lists that a search reads; more is slower and finds more. */
  setProbes(probes: ListProbes): void {
    this.#probes = probes;
  }

  /**
   * True where the lists can answer well; the caller scans otherwise. The `k` nearest of a part of the rows lie about
   * as deep in the lists as that many more of all.
   */
  fits(k: number, fromRow = 0): boolean {
    const most = MAX_SHARE * this.#scan.baseRows;
    return fromRow <= 0 ? k <= most : this.#depth(k, fromRow) <= Math.min(CALIBRATED_K, most);
  }

  /** Base rows that a search for `k` of the rows ≥ `fromRow` reads, about. */
  probedRows(k: number, fromRow = 0): number {
    return Math.ceil((this.#scan.baseRows * this.#probesFor(k, fromRow)) / this.lists);
  }

  /** As VectorIndex, over the base rows only. Fewer than `k` where the probed lists hold fewer. */
  search(query: Float32Array, k: number, hits: Hits, fromRow = 0): void {
    this.#scan.searchLists(query, k, hits, this.#probesFor(k, fromRow), fromRow);
  }

  #probesFor(k: number, fromRow: number): number {
    const { all, short } = this.#probes;
    const depth = this.#depth(k, fromRow);
    return short.find((one) => depth <= one.k)?.probes ?? all;
  }

  /** How many of all rows lie about as near as the `k` nearest of the rows ≥ `fromRow`. */
  #depth(k: number, fromRow: number): number {
    const { baseRows } = this.#scan;
    return fromRow <= 0 ? k : (k * baseRows) / Math.max(1, baseRows - fromRow);
  }
}
