// Golden queries of a generation before it serves: posts are looked for by their own vectors, by the search that would
// serve and by the exact scan. In a feed worker, called for a published index that was just opened.
import type { PostTable } from './candidates/index/post-table.ts';
import { newHits } from './candidates/index/search-table.ts';
import type { TwoTierIndex } from './candidates/index/two-tier-index.ts';

const QUERIES = 16;
const K = 100;
/** Calibrated searches find above .9; one over other vectors, or a damaged one, finds next to nothing. */
const LEAST_RECALL = 0.7;
const NORM_TOLERANCE = 0.01;

/** Why the search cannot serve, null when it can. */
export function probeIndex(table: PostTable, index: TwoTierIndex): string | null {
  const { baseRows, dim, vectors } = table;
  const k = Math.min(K, baseRows);
  const [found, truth] = [newHits(k), newHits(k)];
  let hits = 0;
  let expected = 0;
  for (let i = 0; i < QUERIES && baseRows > 1; i++) {
    // Row 0 is no query and no hit: a search from row 1 is the exact scan.
    const row = 1 + Math.floor(((baseRows - 1) * (i + 0.5)) / QUERIES);
    if (table.isDeleted(row)) continue;
    const query = vectors.slice(row * dim, (row + 1) * dim);
    const norm = Math.hypot(...query);
    if (!(Math.abs(norm - 1) <= NORM_TOLERANCE))
      return `the vector of row ${row} has length ${norm.toFixed(3)}`;
    index.search(query, k, found);
    index.search(query, k, truth, 1);
    const rows = new Set(found.rows.subarray(0, found.size));
    for (let j = 0; j < truth.size; j++) if (rows.has(truth.rows[j])) hits++;
    // The k nearest of all may hold row 0 where those from row 1 hold one more.
    expected += rows.has(0) ? truth.size - 1 : truth.size;
  }
  const recall = expected === 0 ? 1 : hits / expected;
  return recall >= LEAST_RECALL
    ? null
    : `its search finds ${(100 * recall).toFixed(0)} % of the ${k} nearest posts of ${QUERIES} probes`;
}
