// Rows to the nearest of the centroids of inverted lists.
import { codeDot, ROW_CODES, sums } from './code-dots';

/**
 * The nearest centroid of each row of [from, to) goes to `out` (u32 a row). Centroids are int8 codes (64 a row, their
 * number a multiple of 4); `biases` (i32) is what the rows' offset of 64 adds to each of their scores.
 */
export function assign(
  codes: usize,
  from: u32,
  to: u32,
  centroids: usize,
  biases: usize,
  count: u32,
  out: usize,
): void {
  for (let row = from; row < to; row++) {
    const at = codes + (<usize>row) * ROW_CODES;
    const r0 = v128.load(at);
    const r1 = v128.load(at, 16);
    const r2 = v128.load(at, 32);
    const r3 = v128.load(at, 48);
    let best = i32x4.splat(i32.MIN_VALUE);
    let bestAt = i32x4.splat(0);
    let index = i32x4(0, 1, 2, 3);
    let centroid = centroids;
    for (let i: u32 = 0; i < count; i += 4, centroid += 4 * ROW_CODES) {
      const four = i32x4.sub(
        sums(
          codeDot(centroid, r0, r1, r2, r3),
          codeDot(centroid + ROW_CODES, r0, r1, r2, r3),
          codeDot(centroid + 2 * ROW_CODES, r0, r1, r2, r3),
          codeDot(centroid + 3 * ROW_CODES, r0, r1, r2, r3),
        ),
        v128.load(biases + ((<usize>i) << 2)),
      );
      const above = i32x4.gt_s(four, best);
      best = v128.bitselect(four, best, above);
      bestAt = v128.bitselect(index, bestAt, above);
      index = i32x4.add(index, i32x4.splat(4));
    }
    let score = i32x4.extract_lane(best, 0);
    let winner = i32x4.extract_lane(bestAt, 0);
    if (i32x4.extract_lane(best, 1) > score) {
      score = i32x4.extract_lane(best, 1);
      winner = i32x4.extract_lane(bestAt, 1);
    }
    if (i32x4.extract_lane(best, 2) > score) {
      score = i32x4.extract_lane(best, 2);
      winner = i32x4.extract_lane(bestAt, 2);
    }
    if (i32x4.extract_lane(best, 3) > score) winner = i32x4.extract_lane(bestAt, 3);
    store<u32>(out + ((<usize>row) << 2), <u32>winner);
  }
}
