// Cuts kept candidates to a limit in the proportions of the sources' quotas.
import { SOURCES } from '../vocabulary.ts';

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
  const priority = new Float32Array(kept.length).fill(Number.POSITIVE_INFINITY);
  const unclaimed = new Uint8Array(kept.length).fill(1);
  for (let source = 0; source < WIDTH; source++) {
    let worst = 0;
    for (const entry of kept) worst = Math.max(worst, sourceRanks[entry * WIDTH + source]);
    if (worst === 0) continue;
    const compact = new Uint32Array(worst + 1);
    for (const entry of kept) compact[sourceRanks[entry * WIDTH + source]] = 1;
    compact[0] = 0;
    for (let rank = 1; rank <= worst; rank++) compact[rank] += compact[rank - 1];
    for (let i = 0; i < kept.length; i++) {
      const rank = sourceRanks[kept[i] * WIDTH + source];
      if (rank === 0) continue;
      unclaimed[i] = 0;
      priority[i] = Math.min(priority[i], compact[rank] / Math.max(quotas[source], 1e-3));
    }
  }
  for (let i = 0; i < kept.length; i++) if (unclaimed[i]) priority[i] = -1;
  const threshold = priority.slice().sort()[limit - 1];
  let room = limit;
  for (const value of priority) if (value < threshold) room--;
  return kept.filter((_, i) => priority[i] < threshold || (priority[i] === threshold && room-- > 0));
}
