// Re-scored candidates to the answer of a search.
import { sort } from './comparison-sort';
import { radixSort } from './radix-sort';
import { select } from './select';

/** Candidates from which a radix sort is the faster. */
const RADIX_FROM: u32 = 128;

/**
 * Sorts the `k` best of re-scored candidates and writes rows (u32[k]) and similarities (f32[k]), best first. `buffer` has
 * room for twice `count`.
 */
export function take(
  buffer: usize,
  count: u32,
  k: u32,
  outRows: usize,
  outSimilarity: usize,
): u32 {
  let sorted = buffer;
  if (count >= RADIX_FROM) {
    sorted = radixSort(buffer, buffer + ((<usize>count) << 3), count);
    if (count > k) count = k;
  } else {
    if (count > k) {
      select(buffer, count, k);
      count = k;
    }
    if (count > 1) sort(buffer, 0, <i32>count - 1);
  }
  for (let i: u32 = 0; i < count; i++) {
    const candidate = load<u64>(sorted + ((<usize>i) << 3));
    const ordered = <u32>(candidate >> 32);
    const bits = (ordered & 0x80000000) != 0 ? ordered ^ 0x80000000 : ~ordered;
    store<u32>(outRows + ((<usize>i) << 2), ~(<u32>candidate));
    store<f32>(outSimilarity + ((<usize>i) << 2), reinterpret<f32>(bits));
  }
  return count;
}
