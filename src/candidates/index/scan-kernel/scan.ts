// The exact scan in WebAssembly SIMD (AssemblyScript): 64-dimensional rows of unsigned 7-bit codes against an int8
// query, then a float32 re-score. Allocates nothing: every address comes from the caller, so that all workers share
// one memory. A candidate is a u64: order-preserving score in the high half, ~row in the low half (ties: lower row).

const ROW_CODES: usize = 64;
const ROW_FLOATS: usize = 256;
/** Bytes of a list's row numbers between a row and the one touched with it: 32 rows. */
const AHEAD: usize = 128;
/** Vectors whose loads are begun together. */
const RESCORE_BLOCK: u32 = 16;
/** Candidates from which a radix sort is the faster. */
const RADIX_FROM: u32 = 128;
/** Candidates from which buckets are the faster selection. */
const SELECT_FROM: u32 = 64;

/** Address of scratch memory of this instance's thread, u32[1024]; set before anything is called. */
export let histogram: usize = 0;

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
  return deleted != 0 && ((load<u8>(deleted + (row >> 3)) >> (row & 7)) & 1) != 0;
}

/** What a scan carries from one run of rows to the next: the score to beat and the candidates in the buffer. */
let threshold: i32 = 0;
let count: u32 = 0;

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
  threshold = i32.MIN_VALUE;
  count = 0;
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
  threshold = i32.MIN_VALUE;
  count = 0;
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
    if (count + 4 <= cap) continue;
    threshold = cut(buffer, count, keep);
    thresholds = i32x4.splat(threshold);
    count = keep;
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

@inline
function rowAt(rows: usize, position: u32): u32 {
  return rows == 0 ? position : load<u32>(rows + ((<usize>position) << 2));
}

/** Writes a candidate behind the last one, and counts it where its lane is above the threshold and it is not deleted. */
@inline
function append(above: v128, lane: u32, score: i32, row: u32, deleted: usize, buffer: usize): void {
  store<u64>(buffer + ((<usize>count) << 3), packed(score, row));
  const isAbove = (<u32>i32x4.bitmask(above) >> lane) & 1;
  count += isAbove & ~(<u32>isDeleted(deleted, row));
}

/** Takes a candidate in where it beats the threshold; true where that has risen. */
@inline
function offer(score: i32, row: u32, buffer: usize, keep: u32, cap: u32): bool {
  if (score <= threshold) return false;
  store<u64>(buffer + ((<usize>count) << 3), packed(score, row));
  count++;
  if (count + 4 <= cap) return false;
  threshold = cut(buffer, count, keep);
  count = keep;
  return true;
}

/** Leaves at most `keep` candidates and returns how many. */
@inline
function finish(buffer: usize, keep: u32): u32 {
  if (count > keep) {
    select(buffer, count, keep);
    count = keep;
  }
  return count;
}

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
  threshold = i32.MIN_VALUE;
  count = 0;
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

/** As `scoreRange`, of `rows` (u32[count]); their vectors are touched ahead as in `rescore`. */
export function scoreRows(vectors: usize, query: usize, rows: usize, count: u32, out: usize): void {
  let ahead = v128.splat<i32>(0);
  for (let block: u32 = 0; block < count; block += RESCORE_BLOCK) {
    const last = min(block + RESCORE_BLOCK, count);
    for (let i = block; i < last; i++) ahead = v128.or(ahead, touch(vectors, load<u32>(rows + ((<usize>i) << 2))));
    for (let i = block; i < last; i++) {
      const row = load<u32>(rows + ((<usize>i) << 2));
      store<f32>(out + ((<usize>i) << 2), floatDot(vectors + (<usize>row) * ROW_FLOATS, query));
    }
  }
  keepLoads(ahead);
}

/** Bytes of each cache line of a row's vector. */
@inline
function touch(vectors: usize, row: u32): v128 {
  const vector = vectors + (<usize>row) * ROW_FLOATS;
  return v128.or(
    v128.or(v128.load(vector), v128.load(vector, 64)),
    v128.or(v128.load(vector, 128), v128.load(vector, 192)),
  );
}

/** Uses touched bytes, so that no optimiser drops the loads. */
@inline
function keepLoads(ahead: v128): void {
  if (v128.any_true(i32x4.eq(ahead, i32x4.splat(0x7fc0dead)))) touched++;
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
  let worst: u64 = u64.MAX_VALUE;
  for (let i = select(buffer, count, keep); i < keep; i++) {
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

/**
 * Replaces code scores by float32 dot products with `query` (f32[64]). A block's vectors are touched before any of them
 * is used: loads that wait for nothing miss the cache together.
 */
export function rescore(vectors: usize, query: usize, buffer: usize, count: u32): void {
  let ahead = v128.splat<i32>(0);
  const end = buffer + ((<usize>count) << 3);
  for (let block = buffer; block < end; block += RESCORE_BLOCK * 8) {
    const last = min(block + RESCORE_BLOCK * 8, end);
    for (let at = block; at < last; at += 8) ahead = v128.or(ahead, touch(vectors, ~(<u32>load<u64>(at))));
    for (let at = block; at < last; at += 8) {
      const row = ~(<u32>load<u64>(at));
      const bits = reinterpret<u32>(floatDot(vectors + (<usize>row) * ROW_FLOATS, query));
      const ordered = (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
      store<u64>(at, ((<u64>ordered) << 32) | <u64>~row);
    }
  }
  keepLoads(ahead);
}

export let touched: u32 = 0;

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

/**
 * Candidates in falling order, in `from` or in `to` (u64[count] each); returns which. Radix sort by the bytes of the
 * score, lowest first; what has one score is sorted by comparison after it.
 */
function radixSort(from: usize, to: usize, count: u32): usize {
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

@inline
function increment(at: usize): void {
  store<u32>(at, load<u32>(at) + 1);
}

@inline
function scoreBits(buffer: usize, i: u32): u32 {
  return load<u32>(buffer + ((<usize>i) << 3), 4);
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

/**
 * The `keep` largest of `count` come to the front, the smallest of them at or behind the position that is returned. By
 * the bucket of their scores, so that few are compared with one another: comparisons cannot be foreseen.
 */
function select(buffer: usize, count: u32, keep: u32): u32 {
  if (count < SELECT_FROM) {
    quickselect(buffer, 0, <i32>count - 1, <i32>keep - 1);
    return 0;
  }
  const end = buffer + ((<usize>count) << 3);
  let least = u32.MAX_VALUE;
  let most: u32 = 0;
  for (let at = buffer; at < end; at += 8) {
    const score = load<u32>(at, 4);
    least = min(least, score);
    most = max(most, score);
  }
  const bits = 32 - clz(most - least);
  const shift = bits > 8 ? bits - 8 : 0;
  memory.fill(histogram, 0, 1024);
  for (let at = buffer; at < end; at += 8) increment(histogram + (((load<u32>(at, 4) - least) >> shift) << 2));
  let bucket: u32 = 256;
  let within: u32 = 0;
  while (within < keep) within += load<u32>(histogram + ((--bucket) << 2));
  const bound = least + (bucket << shift);
  let next = buffer;
  for (let at = buffer; at < end; at += 8) {
    const candidate = load<u64>(at);
    store<u64>(next, candidate);
    next += (<usize>(<u32>(candidate >> 32) >= bound)) << 3;
  }
  // What lies in the last bucket goes behind the others.
  let i: i32 = 0;
  let j: i32 = <i32>within;
  while (i < j) {
    const candidate = get(buffer, i);
    if ((<u32>(candidate >> 32) - least) >> shift != bucket) {
      i++;
      continue;
    }
    j--;
    set(buffer, i, get(buffer, j));
    set(buffer, j, candidate);
  }
  quickselect(buffer, j, <i32>within - 1, <i32>keep - 1);
  return <u32>j;
}

/** Quickselect (Hoare, 1961): the largest of [low, high] come to the front of it, up to position `last`. */
function quickselect(buffer: usize, low: i32, high: i32, last: i32): void {
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
