// The search by inverted lists: the rows of the lists nearest to the query, scanned like the whole base is. A view of
// the thread's exact scan with a number of lists to probe, chosen by the calibration.
import type { Hits, VectorIndex } from '../../contracts.ts';
import type { ExactIndex } from './exact-index.ts';

/** At k = 2.5 % of the base the lists still win (.33 ms against .42, 40,000 rows); beyond twice that nothing was measured. */
const MAX_SHARE = 0.05;
/** Neighbours that the number of probed lists was calibrated for (`build-index` asks for as many). */
const CALIBRATED_K = 1000;

export class InvertedIndex implements VectorIndex {
  readonly kind = 'ivf';
  readonly #scan: ExactIndex;
  #probes: number;

  constructor(scan: ExactIndex, probes: number) {
    this.#scan = scan;
    this.#probes = probes;
  }

  /** Lists that there are. */
  get lists(): number {
    return this.#scan.lists;
  }

  /** Lists that a search reads; more is slower and finds more. */
  setProbes(probes: number): void {
    this.#probes = probes;
  }

  /**
   * True where the lists can answer well; the caller scans otherwise. The `k` nearest of a part of the rows lie about
   * as deep in the lists as that many more of all.
   */
  fits(k: number, fromRow = 0): boolean {
    const { baseRows } = this.#scan;
    if (fromRow <= 0) return k <= MAX_SHARE * baseRows;
    const depth = (k * baseRows) / Math.max(1, baseRows - fromRow);
    return depth <= Math.min(CALIBRATED_K, MAX_SHARE * baseRows);
  }

  /** Base rows that a search reads, about. */
  get probedRows(): number {
    return Math.ceil((this.#scan.baseRows * this.#probes) / this.lists);
  }

  /** As VectorIndex, over the base rows only. Fewer than `k` where the probed lists hold fewer. */
  search(query: Float32Array, k: number, hits: Hits, fromRow = 0): void {
    this.#scan.searchLists(query, k, hits, this.#probes, fromRow);
  }
}
