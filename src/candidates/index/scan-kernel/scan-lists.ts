// The scan of inverted lists whose codes lie in the order of rows.
import { dot, ROW_CODES, sums } from './code-dots';
import { begin, finish, isDeleted, offer, threshold } from './kept-rows';
import { firstFrom } from './row-numbers';
import { keepLoads } from './touch';

/** Bytes of a list's row numbers between a row and the one touched with it: 32 rows. */
const AHEAD: usize = 128;

/**
 * As `scanPacked`, where the memory has no room for codes in the order of the lists: `codes` is in the order of rows. A
 * row is one cache line, and the loads of the next rows do not wait for this one's.
 */
export function scanLists(
  codes: usize,
  deleted: usize,
  query: usize,
  buffer: usize,
  offsets: usize,
  rows: usize,
  probes: usize,
  probed: u32,
  from: u32,
  keep: u32,
  cap: u32,
): u32 {
  const q0 = v128.load(query);
  const q1 = v128.load(query, 16);
  const q2 = v128.load(query, 32);
  const q3 = v128.load(query, 48);
  begin();
  let thresholds = i32x4.splat(threshold);
  let ahead = v128.splat<i32>(0);
  for (let probe: u32 = 0; probe < probed; probe++) {
    const list = offsets + ((<usize>load<u32>(probes + ((<usize>probe) << 2))) << 2);
    let at = rows + ((<usize>load<u32>(list)) << 2);
    const end = rows + ((<usize>load<u32>(list, 4)) << 2);
    if (from > 0) at = firstFrom(at, end, from);
    const last = end - 4;
    while (at < end) {
      // The rows after the next ones are touched: their cache misses overlap with this group's work.
      const soon = at + AHEAD;
      ahead = v128.or(ahead, v128.load(codes + (<usize>load<u32>(soon < last ? soon : last)) * ROW_CODES));
      ahead = v128.or(ahead, v128.load(codes + (<usize>load<u32>(soon + 4 < last ? soon + 4 : last)) * ROW_CODES));
      ahead = v128.or(ahead, v128.load(codes + (<usize>load<u32>(soon + 8 < last ? soon + 8 : last)) * ROW_CODES));
      ahead = v128.or(ahead, v128.load(codes + (<usize>load<u32>(soon + 12 < last ? soon + 12 : last)) * ROW_CODES));
      // The last group of a list may hold fewer than four rows: the missing lanes repeat the last one.
      const left = <u32>((end - at) >> 2);
      const r0 = load<u32>(at);
      const r1 = left > 1 ? load<u32>(at, 4) : r0;
      const r2 = left > 2 ? load<u32>(at, 8) : r0;
      const r3 = left > 3 ? load<u32>(at, 12) : r0;
      const four = sums(
        dot(codes + (<usize>r0) * ROW_CODES, q0, q1, q2, q3),
        dot(codes + (<usize>r1) * ROW_CODES, q0, q1, q2, q3),
        dot(codes + (<usize>r2) * ROW_CODES, q0, q1, q2, q3),
        dot(codes + (<usize>r3) * ROW_CODES, q0, q1, q2, q3),
      );
      let lanes = i32x4.bitmask(i32x4.gt_s(four, thresholds));
      if (left < 4) lanes &= (1 << left) - 1;
      while (lanes != 0) {
        const lane = <u32>ctz(lanes);
        lanes &= lanes - 1;
        const row = load<u32>(at + ((<usize>lane) << 2));
        if (isDeleted(deleted, row)) continue;
        if (offer(laneOf(four, lane), row, buffer, keep, cap)) thresholds = i32x4.splat(threshold);
      }
      at += 16;
    }
  }
  keepLoads(ahead);
  return finish(buffer, keep);
}

@inline
function laneOf(four: v128, lane: u32): i32 {
  if (lane < 2) return lane == 0 ? i32x4.extract_lane(four, 0) : i32x4.extract_lane(four, 1);
  return lane == 2 ? i32x4.extract_lane(four, 2) : i32x4.extract_lane(four, 3);
}
