// The exact scan in WebAssembly SIMD (AssemblyScript): 64-dimensional rows of unsigned 7-bit codes against an int8
// query, then a float32 re-score. Allocates nothing: every address comes from the caller, so that all workers share
// one memory. A candidate is a u64: order-preserving score in the high half, ~row in the low half (ties: lower row).

const ROW_CODES: usize = 64;
const ROW_FLOATS: usize = 256;
/** Bytes of a list's row numbers between a row and the one touched with it: 32 rows. */
const AHEAD: usize = 128;

@inline
function dot(row: usize, q0: v128, q1: v128, q2: v128, q3: v128): v128 {
  let sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(q0, v128.load(row), i32x4.splat(0));
  sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(q1, v128.load(row, 16), sum);
  sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(q2, v128.load(row, 32), sum);
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(q3, v128.load(row, 48), sum);
}

/** Sums of the lanes of four vectors, one a lane. */
@inline
function sums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return i32x4.add(v128.shuffle<i32>(ab, cd, 0, 1, 4, 5), v128.shuffle<i32>(ab, cd, 2, 3, 6, 7));
}

@inline
function laneOf(four: v128, lane: u32): i32 {
  if (lane < 2) return lane == 0 ? i32x4.extract_lane(four, 0) : i32x4.extract_lane(four, 1);
  return lane == 2 ? i32x4.extract_lane(four, 2) : i32x4.extract_lane(four, 3);
}

@inline
function packed(score: i32, row: u32): u64 {
  return ((<u64>((<u32>score) ^ 0x80000000)) << 32) | <u64>~row;
}

@inline
function scoreOf(candidate: u64): i32 {
  return <i32>((<u32>(candidate >> 32)) ^ 0x80000000);
}

@inline
function isDeleted(deleted: usize, row: u32): bool {
  return ((load<u8>(deleted + (row >> 3)) >> (row & 7)) & 1) != 0;
}

/**
 * The `keep` best rows of [from, to) by code score go to `buffer` (u64[cap], cap > keep), unordered.
 * Returns how many there are. Threshold and selection: once the buffer is full it is cut to `keep` and later rows
 * must beat the worst of those; rows come in rising order, so equal scores keep the lower row.
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
  const q0 = v128.load(query);
  const q1 = v128.load(query, 16);
  const q2 = v128.load(query, 32);
  const q3 = v128.load(query, 48);
  let threshold: i32 = i32.MIN_VALUE;
  let thresholds = i32x4.splat(threshold);
  let count: u32 = 0;
  let row = from;
  let address = codes + (<usize>from) * ROW_CODES;
  for (; row + 4 <= to; row += 4, address += 4 * ROW_CODES) {
    const four = sums(
      dot(address, q0, q1, q2, q3),
      dot(address + ROW_CODES, q0, q1, q2, q3),
      dot(address + 2 * ROW_CODES, q0, q1, q2, q3),
      dot(address + 3 * ROW_CODES, q0, q1, q2, q3),
    );
    const above = i32x4.gt_s(four, thresholds);
    if (!v128.any_true(above)) continue;
    const lanes = i32x4.bitmask(above);
    for (let lane: u32 = 0; lane < 4; lane++) {
      if (((lanes >> lane) & 1) == 0 || isDeleted(deleted, row + lane)) continue;
      const score = laneOf(four, lane);
      if (score <= threshold) continue;
      store<u64>(buffer + ((<usize>count) << 3), packed(score, row + lane));
      count++;
      if (count == cap) {
        threshold = cut(buffer, count, keep);
        thresholds = i32x4.splat(threshold);
        count = keep;
      }
    }
  }
  for (; row < to; row++, address += ROW_CODES) {
    if (isDeleted(deleted, row)) continue;
    const one = dot(address, q0, q1, q2, q3);
    const score =
      i32x4.extract_lane(one, 0) +
      i32x4.extract_lane(one, 1) +
      i32x4.extract_lane(one, 2) +
      i32x4.extract_lane(one, 3);
    if (score <= threshold) continue;
    store<u64>(buffer + ((<usize>count) << 3), packed(score, row));
    count++;
    if (count == cap) {
      threshold = cut(buffer, count, keep);
      count = keep;
    }
  }
  if (count > keep) {
    select(buffer, count, keep);
    count = keep;
  }
  return count;
}

/**
 * As `scan`, over the rows of inverted lists: `probes` (u32[probed]) names the lists, list i holds the row numbers
 * `rows[offsets[i]] … rows[offsets[i + 1])` (u32, rising); rows below `from` are left out. A row is one cache line, and
 * the loads of the next rows do not wait for this one's.
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
  let threshold: i32 = i32.MIN_VALUE;
  let thresholds = i32x4.splat(threshold);
  let count: u32 = 0;
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
        const score = laneOf(four, lane);
        if (score <= threshold) continue;
        store<u64>(buffer + ((<usize>count) << 3), packed(score, row));
        count++;
        if (count == cap) {
          threshold = cut(buffer, count, keep);
          thresholds = i32x4.splat(threshold);
          count = keep;
        }
      }
      at += 16;
    }
  }
  if (v128.any_true(i32x4.eq(ahead, i32x4.splat(0x7fc0dead)))) touched++;
  if (count > keep) {
    select(buffer, count, keep);
    count = keep;
  }
  return count;
}

/** Where the numbers (u32, rising) of [at, end) reach `from`. */
function firstFrom(at: usize, end: usize, from: u32): usize {
  let low = at;
  let high = end;
  while (low < high) {
    const middle = low + ((((high - low) >> 2) >> 1) << 2);
    if (load<u32>(middle) < from) low = middle + 4;
    else high = middle;
  }
  return low;
}

/** Dot products of the rows [from, to) of `vectors` (f32) with `query` (f32[64]) go to `out` (f32, a row each). */
export function scoreRange(vectors: usize, query: usize, from: u32, to: u32, out: usize): void {
  for (let row = from; row < to; row++, out += 4) {
    store<f32>(out, floatDot(vectors + (<usize>row) * ROW_FLOATS, query));
  }
}

/** Similarity of `query` (f32[64]) to each of `count` centroids (f32), as candidates in `buffer` for `take`. */
export function scoreCentroids(centroids: usize, query: usize, buffer: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) store<u64>(buffer + ((<usize>i) << 3), <u64>~i);
  rescore(centroids, query, buffer, count);
}

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

/** Dot product of int8 codes at an address with unsigned 7-bit codes in registers. */
@inline
function codeDot(centroid: usize, r0: v128, r1: v128, r2: v128, r3: v128): v128 {
  let sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(centroid), r0, i32x4.splat(0));
  sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(centroid, 16), r1, sum);
  sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(centroid, 32), r2, sum);
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(centroid, 48), r3, sum);
}

/** Reads [from, to) (multiples of 64) and does nothing else: what memory allows, for the benchmark of the scan. */
export function readAll(from: usize, to: usize): i32 {
  let a = v128.splat<i32>(0);
  let b = v128.splat<i32>(0);
  for (let at = from; at < to; at += 64) {
    a = v128.xor(a, v128.xor(v128.load(at), v128.load(at, 16)));
    b = v128.xor(b, v128.xor(v128.load(at, 32), v128.load(at, 48)));
  }
  return i32x4.bitmask(v128.xor(a, b));
}

/** Selects the `keep` best to the front and returns the worst of their scores. */
function cut(buffer: usize, count: u32, keep: u32): i32 {
  select(buffer, count, keep);
  let worst: u64 = u64.MAX_VALUE;
  for (let i: u32 = 0; i < keep; i++) {
    const candidate = load<u64>(buffer + ((<usize>i) << 3));
    if (candidate < worst) worst = candidate;
  }
  return scoreOf(worst);
}

@inline
function floatDot(row: usize, query: usize): f32 {
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  for (let offset: usize = 0; offset < ROW_FLOATS; offset += 32) {
    a = f32x4.add(a, f32x4.mul(v128.load(row + offset), v128.load(query + offset)));
    b = f32x4.add(b, f32x4.mul(v128.load(row + offset, 16), v128.load(query + offset, 16)));
  }
  a = f32x4.add(a, b);
  return (
    f32x4.extract_lane(a, 0) + f32x4.extract_lane(a, 1) + f32x4.extract_lane(a, 2) + f32x4.extract_lane(a, 3)
  );
}

/** Replaces code scores by float32 dot products with `query` (f32[64]); touches rows ahead of their use. */
export function rescore(vectors: usize, query: usize, buffer: usize, count: u32): void {
  let ahead = v128.splat<i32>(0);
  for (let i: u32 = 0; i < count; i++) {
    if (i + 8 < count) {
      const next = vectors + (<usize>~(<u32>load<u64>(buffer + ((<usize>(i + 8)) << 3)))) * ROW_FLOATS;
      ahead = v128.or(ahead, v128.load(next));
      ahead = v128.or(ahead, v128.load(next, 64));
      ahead = v128.or(ahead, v128.load(next, 128));
      ahead = v128.or(ahead, v128.load(next, 192));
    }
    const at = buffer + ((<usize>i) << 3);
    const row = ~(<u32>load<u64>(at));
    const bits = reinterpret<u32>(floatDot(vectors + (<usize>row) * ROW_FLOATS, query));
    const ordered = (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
    store<u64>(at, ((<u64>ordered) << 32) | <u64>~row);
  }
  // The touched bytes are used, so that no optimiser drops the loads.
  if (v128.any_true(i32x4.eq(ahead, i32x4.splat(0x7fc0dead)))) touched++;
}

export let touched: u32 = 0;

/** Sorts the `k` best of re-scored candidates and writes rows (u32[k]) and similarities (f32[k]), best first. */
export function take(buffer: usize, count: u32, k: u32, outRows: usize, outSimilarity: usize): u32 {
  if (count > k) {
    select(buffer, count, k);
    count = k;
  }
  if (count > 1) sort(buffer, 0, <i32>count - 1);
  for (let i: u32 = 0; i < count; i++) {
    const candidate = load<u64>(buffer + ((<usize>i) << 3));
    const ordered = <u32>(candidate >> 32);
    const bits = (ordered & 0x80000000) != 0 ? ordered ^ 0x80000000 : ~ordered;
    store<u32>(outRows + ((<usize>i) << 2), ~(<u32>candidate));
    store<f32>(outSimilarity + ((<usize>i) << 2), reinterpret<f32>(bits));
  }
  return count;
}

@inline
function get(buffer: usize, i: i32): u64 {
  return load<u64>(buffer + ((<usize>i) << 3));
}

@inline
function set(buffer: usize, i: i32, value: u64): void {
  store<u64>(buffer + ((<usize>i) << 3), value);
}

/** Hoare's partition in falling order around the median of three; returns j: [low, j] ≥ pivot ≥ (j, high]. */
function partition(buffer: usize, low: i32, high: i32): i32 {
  const a = get(buffer, low);
  const b = get(buffer, (low + high) >>> 1);
  const c = get(buffer, high);
  const pivot = a > b ? (b > c ? b : a > c ? c : a) : a > c ? a : b > c ? c : b;
  let i = low - 1;
  let j = high + 1;
  while (true) {
    do i++;
    while (get(buffer, i) > pivot);
    do j--;
    while (get(buffer, j) < pivot);
    if (i >= j) return j;
    const swap = get(buffer, i);
    set(buffer, i, get(buffer, j));
    set(buffer, j, swap);
  }
}

/** Quickselect (Hoare, 1961): the `keep` largest of `count` come to the front. */
function select(buffer: usize, count: u32, keep: u32): void {
  let low: i32 = 0;
  let high: i32 = <i32>count - 1;
  const last: i32 = <i32>keep - 1;
  while (low < high) {
    const j = partition(buffer, low, high);
    if (last <= j) high = j;
    else low = j + 1;
  }
}

/** Quicksort in falling order, insertion sort below 16. */
function sort(buffer: usize, low: i32, high: i32): void {
  while (high - low > 16) {
    const j = partition(buffer, low, high);
    if (j - low < high - j) {
      sort(buffer, low, j);
      low = j + 1;
    } else {
      sort(buffer, j + 1, high);
      high = j;
    }
  }
  for (let i = low + 1; i <= high; i++) {
    const value = get(buffer, i);
    let j = i - 1;
    while (j >= low && get(buffer, j) < value) {
      set(buffer, j + 1, get(buffer, j));
      j--;
    }
    set(buffer, j + 1, value);
  }
}
