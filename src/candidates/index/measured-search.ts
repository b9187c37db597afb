// Recall and time of one search of the calibration, and the truth that the recall is counted against.
import type { VectorIndex } from '../../contracts.ts';
import { newHits } from './search-table.ts';

/** The rows of the `k` nearest of a vector [64], best first; fewer where there are fewer. */
export function nearestRows(index: VectorIndex, query: Float32Array, k: number): Uint32Array {
  const hits = newHits(k);
  index.search(query, k, hits);
  return hits.rows.subarray(0, hits.size);
}

/**
 * The share of `truth`, a set of rows a query, that searches for `k` find (1 where there is none), and the median and
 * 99th percentile of their times in milliseconds. At least one query.
 */
export function measureSearch(
  index: VectorIndex,
  queries: readonly Float32Array[],
  k: number,
  truth: readonly Set<number>[],
) {
  const hits = newHits(k);
  const times: number[] = [];
  let found = 0;
  index.search(queries[0], k, hits);
  for (let i = 0; i < queries.length; i++) {
    const start = performance.now();
    index.search(queries[i], k, hits);
    times.push(performance.now() - start);
    if (truth.length > 0) for (let j = 0; j < hits.size; j++) if (truth[i].has(hits.rows[j])) found++;
  }
  times.sort((a, b) => a - b);
  const wanted = truth.reduce((sum, rows) => sum + rows.size, 0);
  return {
    recall: wanted === 0 ? 1 : found / wanted,
    p50Ms: rounded(times[times.length >> 1]),
    p99Ms: rounded(times[Math.floor((times.length - 1) * 0.99)]),
  };
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
