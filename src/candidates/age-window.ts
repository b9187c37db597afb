// Age windows as row ranges: base rows lie in createdAt order, so a window is one binary search.
import type { Catalogue } from '../contracts.ts';
import { createdAtMs } from '../post-record.ts';
import type { AgeWindow } from './source.ts';

/** Clocks of posting machines may be ahead by this much before a post counts as from the future. */
const CLOCK_SKEW_MS = 5 * 60_000;

/** Posts of the last `maxAgeHours`; null = of any age. */
export function ageWindow(catalogue: Catalogue, nowMs: number, maxAgeHours: number | null): AgeWindow {
  const newestMs = nowMs + CLOCK_SKEW_MS;
  if (maxAgeHours === null) return { oldestMs: Number.NEGATIVE_INFINITY, newestMs, firstRow: 0 };
  const oldestMs = nowMs - maxAgeHours * 3_600_000;
  return { oldestMs, newestMs, firstRow: firstRowSince(catalogue, oldestMs) };
}

/** First base row created at `sinceMs` or later; `baseRows` when there is none. */
export function firstRowSince(catalogue: Catalogue, sinceMs: number): number {
  let low = 0;
  let high = catalogue.baseRows;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (createdAtMs(catalogue.records, middle) < sinceMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
