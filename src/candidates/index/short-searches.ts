// How many inverted lists a search for few neighbours reads: the nearest 32 of a vector lie in fewer of them than the
// nearest 1000. Measured by the build once it has chosen how many the latter takes.
import type { VectorIndex } from '../../contracts.ts';
import { DIM } from '../../vocabulary.ts';
import type { ShortSearch } from './artifact-manifest.ts';
import type { InvertedIndex } from './inverted-index.ts';
import { measureSearch, nearestRows } from './measured-search.ts';

/** Neighbours that are measured for: about what the `similar` source and an interest ask for, and one between. */
const SHORT_KS = [32, 128, 512];
/** Of the lists that a long search reads. */
const SHARES = [1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4];
const MAX_QUERIES = 60;

/** Lists that a search reads: `short`, by rising `k`, for the first that is enough; `all` beyond the last. */
export interface ListProbes {
  all: number;
  short: readonly ShortSearch[];
}

export interface ShortSearchInput {
  scan: VectorIndex;
  /** Left with another number of probes. */
  lists: InvertedIndex;
  /** Vectors of readers, [64] each; at least one. */
  readers: readonly Float32Array[];
  /** Of all base rows, [rows, 64]: a search by a post's own vector is measured apart. */
  vectors: Float32Array;
  rows: number;
  /** Lists that a search for `k` reads. */
  most: number;
  k: number;
  targetRecall: number;
}

/**
 * The fewest probes with which a search for so few misses at most half of what the target allows, for readers and for
 * posts alike; a number of neighbours for which no share of `most` does is left out.
 */
export function calibrateShortSearches(input: ShortSearchInput): ShortSearch[] {
  const { scan, lists, rows, vectors, most } = input;
  const needed = 1 - (1 - input.targetRecall) / 2;
  const ks = SHORT_KS.filter((k) => k < input.k);
  const longest = ks.at(-1);
  if (longest === undefined) return [];
  const count = Math.min(MAX_QUERIES, rows);
  const posts = Array.from({ length: count }, (_, i) => {
    const row = Math.floor((i * rows) / count);
    return vectors.slice(row * DIM, (row + 1) * DIM);
  });
  const groups = [input.readers.slice(0, MAX_QUERIES), posts].map((queries) => ({
    queries,
    nearest: queries.map((query) => nearestRows(scan, query, longest)),
  }));
  const counts = [...new Set(SHARES.map((share) => Math.ceil(most * share)))].filter((one) => one < most);
  const measured: ShortSearch[] = [];
  for (const k of ks) {
    const known = groups.map(({ queries, nearest }) => ({
      queries,
      truth: nearest.map((found) => new Set(found.subarray(0, k))),
    }));
    for (const probes of counts) {
      lists.setProbes({ all: probes, short: [] });
      const recalls = known.map(({ queries, truth }) => measureSearch(lists, queries, k, truth).recall);
      const recall = Math.min(...recalls);
      if (recall < needed) continue;
      measured.push({ k, probes, recall });
      break;
    }
  }
  return measured;
}
