// Cuts kept candidates to a limit in the proportions of the sources' quotas.
import { SOURCES } from '../vocabulary.ts';
import { selectLargest } from './select-largest.ts';

const WIDTH = SOURCES.length;

/**
 * Marks in `chosen` (1 = stays) the at most `limit` entries of `kept` with the smallest rank ÷ quota over their
 * sources, where the rank counts kept entries only: each source gets its share, what one does not use goes to the
 * others, and an entry without a source always stays.
 * `kept` holds entries of `sourceRanks` [entries × SOURCES.length]; `quotas` is by source, 0 = no claim.
 */
export function cutByQuota(
  kept: Uint32Array,
  sourceRanks: Uint16Array,
  quotas: readonly number[],
  limit: number,
): Uint32Array {
  if (kept.length <= limit) return kept;
  const size = kept.length;
  /** Rank ÷ quota, negative: the largest come first. 0 while no source claims the entry. */
  const priority = new Float64Array(size);
  for (let source = 0; source < WIDTH; source++) {
    let worst = 0;
    for (let i = 0; i < size; i++) {
      const rank = sourceRanks[kept[i] * WIDTH + source];
      if (rank > worst) worst = rank;
    }
    if (worst === 0) continue;
    const compact = new Uint32Array(worst + 1);
    for (let i = 0; i < size; i++) compact[sourceRanks[kept[i] * WIDTH + source]] = 1;
    compact[0] = 0;
    for (let rank = 1; rank <= worst; rank++) compact[rank] += compact[rank - 1];
    const quota = Math.max(quotas[source], 1e-3);
    for (let i = 0; i < size; i++) {
      const rank = sourceRanks[kept[i] * WIDTH + source];
      if (rank === 0) continue;
      const claim = -compact[rank] / quota;
      if (priority[i] === 0 || claim > priority[i]) priority[i] = claim;
    }
  }
  const least = selectLargest(priority.slice(), size, limit);
  let ties = limit;
  for (let i = 0; i < size; i++) if (priority[i] > least) ties--;
  const chosen = new Uint32Array(limit);
  let count = 0;
  for (let i = 0; i < size; i++) {
    if (priority[i] > least || (priority[i] === least && ties-- > 0)) chosen[count++] = kept[i];
  }
  return chosen;
}
