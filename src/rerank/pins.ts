// Pinned posts: put at their position whatever their score, where they are among the ranked.

import { hash64 } from '../hashing.ts';
import type { Draft } from './draft.ts';
import type { RulesConfig } from './rules-config.ts';

/** Items by position below `length`, for the pins that hold now; of two pins to one position the first counts. */
export function pinnedItems(draft: Draft, pins: RulesConfig['pins'], length: number): Map<number, number> {
  const pinned = new Map<number, number>();
  for (const pin of activePins(pins, draft.query.nowMs)) {
    if (pin.position >= length) continue;
    const { lo, hi } = hash64(pin.postId);
    const row = draft.catalogue.rowOf(lo, hi);
    const item = row < 0 ? -1 : draft.rows.subarray(0, draft.size).indexOf(row);
    if (item >= 0 && !pinned.has(pin.position) && ![...pinned.values()].includes(item)) {
      pinned.set(pin.position, item);
    }
  }
  return pinned;
}

function activePins(pins: RulesConfig['pins'], nowMs: number): RulesConfig['pins'] {
  return pins.filter(
    ({ fromMs, untilMs }) =>
      (fromMs === undefined || nowMs >= fromMs) && (untilMs === undefined || nowMs < untilMs),
  );
}
