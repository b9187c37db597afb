// The search by inverted lists: the rows of the lists nearest to the query, scanned like the whole base is. A view of
// the thread's exact scan with a number of lists to probe, chosen by the calibration.
import type { Hits, VectorIndex } from '../../contracts.ts';
import type { ExactIndex } from './exact-index.ts';

/** At k = 2.5 % of the base the lists still win (.33 ms against .42, 40,000 rows); beyond twice that nothing was measured. */
const MAX_SHARE = 0.05;

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

  /** True where the lists can answer well; the caller scans otherwise. */
  fits(k: number): boolean {
    return k <= MAX_SHARE * this.#scan.baseRows;
  }

  /** As VectorIndex, over the base rows only. Fewer than `k` where the probed lists hold fewer. */
  search(query: Float32Array, k: number, hits: Hits): void {
    this.#scan.searchLists(query, k, hits, this.#probes);
  }
}
