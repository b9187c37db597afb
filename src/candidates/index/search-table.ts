// What a search reads of a table, and the buffers it answers into.
import type { Hits } from '../../contracts.ts';
import { invalid } from '../../errors.ts';

export interface SearchTable {
  readonly rows: number;
  readonly vectors: Float32Array;
  isDeleted(row: number): boolean;
}

/** Buffers for at most `k` hits, to be reused. */
export function newHits(k: number): Hits {
  return { rows: new Uint32Array(k), similarity: new Float32Array(k), size: 0 };
}

export function checkHits(k: number, hits: Hits, limit: number): void {
  if (!Number.isInteger(k) || k < 1 || k > limit)
    throw invalid('k', `must be a whole number within 1…${limit}`);
  if (hits.rows.length < k || hits.similarity.length < k) throw invalid('hits', `has no room for ${k} hits`);
}
