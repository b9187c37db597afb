// The scan of codes that lie side by side: a range of rows, or inverted lists in the order of the lists.
import { dot, ROW_CODES, sums } from './code-dots';
import { append, begin, cutToBest, finish, hasRoom, isDeleted, offer, threshold } from './kept-rows';
import { firstFrom, rowAt } from './row-numbers';

/**
 * The `keep` best rows of [from, to) by code score go to `buffer` (u64[cap], cap > keep + 4), unordered; returns how many
 * there are. `deleted` 0: nothing is. Threshold and selection: once the buffer is full it is cut to `keep` and later
 * rows must beat the worst of those; rows come in rising order, so equal scores keep the lower row.
 */
export function scan(
  codes: usize,
  deleted: usize,
  query: usize,
  buffer: usize,
  from: u32,
  to: u32,
  keep: u32,
  cap: u32,
): u32 {
  begin();
  scanRun(codes, deleted, query, buffer, 0, from, to, keep, cap);
  return finish(buffer, keep);
}

/**
 * As `scan`, over inverted lists whose codes lie in the order of the lists: `probes` (u32[probed]) names the lists, list
 * i is the positions offsets[i] … offsets[i + 1) of `codes` and of the row numbers `rows` (u32, rising within a list);
 * rows below `from` are left out.
 */
export function scanPacked(
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
  begin();
  for (let probe: u32 = 0; probe < probed; probe++) {
    const list = offsets + ((<usize>load<u32>(probes + ((<usize>probe) << 2))) << 2);
    let at = load<u32>(list);
    const end = load<u32>(list, 4);
    if (from > 0) {
      const start = firstFrom(rows + ((<usize>at) << 2), rows + ((<usize>end) << 2), from);
      at = <u32>((start - rows) >> 2);
    }
    scanRun(codes, deleted, query, buffer, rows, at, end, keep, cap);
  }
  return finish(buffer, keep);
}

/** Scans the codes at positions [from, to); the row of position i is rows[i] (u32), or i where `rows` is 0. */
function scanRun(
  codes: usize,
  deleted: usize,
  query: usize,
  buffer: usize,
  rows: usize,
  from: u32,
  to: u32,
  keep: u32,
  cap: u32,
): void {
  const q0 = v128.load(query);
  const q1 = v128.load(query, 16);
  const q2 = v128.load(query, 32);
  const q3 = v128.load(query, 48);
  let thresholds = i32x4.splat(threshold);
  let at = from;
  let address = codes + (<usize>from) * ROW_CODES;
  for (; at + 4 <= to; at += 4, address += 4 * ROW_CODES) {
    const four = sums(
      dot(address, q0, q1, q2, q3),
      dot(address + ROW_CODES, q0, q1, q2, q3),
      dot(address + 2 * ROW_CODES, q0, q1, q2, q3),
      dot(address + 3 * ROW_CODES, q0, q1, q2, q3),
    );
    const above = i32x4.gt_s(four, thresholds);
    if (!v128.any_true(above)) continue;
    // Without branches, since which lanes are above cannot be foreseen: what is not is overwritten by the next.
    append(above, 0, i32x4.extract_lane(four, 0), rowAt(rows, at), deleted, buffer);
    append(above, 1, i32x4.extract_lane(four, 1), rowAt(rows, at + 1), deleted, buffer);
    append(above, 2, i32x4.extract_lane(four, 2), rowAt(rows, at + 2), deleted, buffer);
    append(above, 3, i32x4.extract_lane(four, 3), rowAt(rows, at + 3), deleted, buffer);
    if (hasRoom(cap)) continue;
    cutToBest(buffer, keep);
    thresholds = i32x4.splat(threshold);
  }
  for (; at < to; at++, address += ROW_CODES) {
    const row = rowAt(rows, at);
    if (isDeleted(deleted, row)) continue;
    const one = dot(address, q0, q1, q2, q3);
    const score =
      i32x4.extract_lane(one, 0) +
      i32x4.extract_lane(one, 1) +
      i32x4.extract_lane(one, 2) +
      i32x4.extract_lane(one, 3);
    offer(score, row, buffer, keep, cap);
  }
}
