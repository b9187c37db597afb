// Many candidates put in falling order by the bytes of their scores.
import { scoreBits } from './candidate';
import { sort } from './comparison-sort';
import { histogram, increment } from './histogram';

/**
 * Candidates in falling order, in `from` or in `to` (u64[count] each); returns which. Radix sort by the bytes of the
 * score, lowest first; what has one score is sorted by comparison after it.
 */
export function radixSort(from: usize, to: usize, count: u32): usize {
  memory.fill(histogram, 0, 4096);
  const bytes = (<usize>count) << 3;
  for (let at = from; at < from + bytes; at += 8) {
    const score = ~load<u32>(at, 4);
    increment(histogram + ((score & 0xff) << 2));
    increment(histogram + 1024 + (((score >> 8) & 0xff) << 2));
    increment(histogram + 2048 + (((score >> 16) & 0xff) << 2));
    increment(histogram + 3072 + ((score >> 24) << 2));
  }
  for (let pass: u32 = 0; pass < 4; pass++) {
    const slots = histogram + ((<usize>pass) << 10);
    const shift = pass << 3;
    const any = (~load<u32>(from, 4) >> shift) & 0xff;
    if (load<u32>(slots + (any << 2)) == count) continue;
    let next: u32 = 0;
    for (let slot = slots; slot < slots + 1024; slot += 4) {
      const size = load<u32>(slot);
      store<u32>(slot, next);
      next += size;
    }
    for (let at = from; at < from + bytes; at += 8) {
      const candidate = load<u64>(at);
      const slot = slots + (((~(<u32>(candidate >> 32)) >> shift) & 0xff) << 2);
      const place = load<u32>(slot);
      store<u32>(slot, place + 1);
      store<u64>(to + ((<usize>place) << 3), candidate);
    }
    const swap = from;
    from = to;
    to = swap;
  }
  for (let i: u32 = 1; i < count; i++) {
    if (scoreBits(from, i) != scoreBits(from, i - 1)) continue;
    const first = i - 1;
    while (i < count && scoreBits(from, i) == scoreBits(from, first)) i++;
    sort(from, <i32>first, <i32>i - 1);
  }
  return from;
}
