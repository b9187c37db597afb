// A user's separate interests: the posts of the history in groups by Ward's method, each with its mean vector (after
// PinnerSage, Pal et al., KDD 2020). Pure and without state; called by NearestSource for every request.
import type { Catalogue, PackedUser } from '../contracts.ts';
import { HISTORY_LIMIT } from '../vocabulary.ts';
import { engagedRows } from './engaged-rows.ts';
import { rowSimilarity } from './similarity.ts';

/** Fewer posts make no groups: the user vector stands alone. */
export const LEAST_POSTS = 4;
/** A mean shorter than this has no direction. */
const LEAST_NORM = 1e-3;

export interface Interest {
  /** Mean of the group's post vectors, [dim], unit norm. */
  vector: Float32Array;
  /** Posts of the group ÷ posts of the history; over all interests at most 1. */
  share: number;
}

/**
 * At most `count` interests, the largest first; none for a history of fewer than LEAST_POSTS posts. Every post
 * counts alike: weights by age or by kind of engagement, and medoids in place of means, measured worse
 * (ARCHITECTURE.md).
 */
export function interestsOf(
  user: Pick<PackedUser, 'historyKeys' | 'historyTypes'>,
  catalogue: Pick<Catalogue, 'rowOf' | 'vectors' | 'dim'>,
  count: number,
): Interest[] {
  if (count <= 0) return [];
  const rows = engagedRows(user, catalogue, HISTORY_LIMIT);
  if (rows.length < LEAST_POSTS) return [];
  const interests: Interest[] = [];
  for (const group of wardGroups(rows, catalogue, count)) {
    const vector = unitMean(group, catalogue);
    if (vector) interests.push({ vector, share: group.length / rows.length });
  }
  return interests.sort((a, b) => b.share - a.share);
}

/**
 * `rows` in at most `count` groups: the two whose union adds least to the squared distances from the group means are
 * joined until that many are left (Ward, 1963; costs kept by the Lance–Williams formula). O(n³), n ≤ HISTORY_LIMIT.
 */
export function wardGroups(
  rows: readonly number[],
  { vectors, dim }: Pick<Catalogue, 'vectors' | 'dim'>,
  count: number,
): number[][] {
  const n = rows.length;
  const groups: number[][] = rows.map((row) => [row]);
  const left = rows.map((_, i) => i);
  /** [n × n] what joining two groups adds. */
  const costs = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const vector = vectors.subarray(rows[i] * dim, (rows[i] + 1) * dim);
    for (let j = 0; j < i; j++) {
      // Half the squared distance of two unit vectors.
      costs[i * n + j] = costs[j * n + i] = 1 - rowSimilarity(vectors, rows[j], vector, dim);
    }
  }
  while (left.length > Math.max(1, count)) {
    let first = 0;
    let second = 1;
    for (let a = 0; a < left.length; a++) {
      for (let b = a + 1; b < left.length; b++) {
        if (costs[left[a] * n + left[b]] < costs[left[first] * n + left[second]]) {
          first = a;
          second = b;
        }
      }
    }
    const into = left[first];
    const from = left[second];
    const joined = costs[into * n + from];
    const [intoSize, fromSize] = [groups[into].length, groups[from].length];
    left.splice(second, 1);
    for (const other of left) {
      if (other === into) continue;
      const size = groups[other].length;
      const cost =
        ((size + intoSize) * costs[into * n + other] +
          (size + fromSize) * costs[from * n + other] -
          size * joined) /
        (size + intoSize + fromSize);
      costs[into * n + other] = costs[other * n + into] = cost;
    }
    groups[into].push(...groups[from]);
  }
  return left.map((i) => groups[i]);
}

/** null where the vectors cancel out. */
function unitMean(
  rows: readonly number[],
  { vectors, dim }: Pick<Catalogue, 'vectors' | 'dim'>,
): Float32Array | null {
  const mean = new Float32Array(dim);
  for (const row of rows) for (let d = 0; d < dim; d++) mean[d] += vectors[row * dim + d] / rows.length;
  const norm = Math.hypot(...mean);
  return norm >= LEAST_NORM ? mean.map((value) => value / norm) : null;
}
