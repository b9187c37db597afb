// The encoder's arithmetic in WebAssembly SIMD (AssemblyScript): dot products of a block of vectors with twelve lanes,
// logarithms, what a user's history is to a post, and the columns of a plan out of full rows. The memory is the module's own; similarity-kernel.ts knows its layout. Sums run over the dimensions in
// order, whatever the block holds, so a vector's products are the same alone and in any block.

const LANES_AT: usize = 1024;
const VECTORS_AT: usize = LANES_AT + 3 * 64 * 16;
const ROWS: usize = 32;
const OUT_AT: usize = VECTORS_AT + ROWS * 256;
const LOGS_AT: usize = OUT_AT + ROWS * 48;
const LOGS: usize = 20;
const BOUNDED_LOGS: usize = 11;
const COLUMNS_AT: usize = LOGS_AT + ROWS * LOGS * 8;
const RUNS_AT: usize = COLUMNS_AT + 64;
const HISTORY_HASHES_AT: usize = RUNS_AT + 1024;
const HASHES_AT: usize = HISTORY_HASHES_AT + 64;
const UNRELATED_BITS: u64 = 32;
const ENCODED_AT: usize = RUNS_AT + 2048;
const FULL_AT: usize = ENCODED_AT + ROWS * 640 + 16;

/** Products of the first `rows` vectors with the first `blocks` × 4 lanes go to the output, twelve a row. */
export function similarities(rows: u32, blocks: u32): void {
  for (let row: u32 = 0; row < rows; row++) {
    const vector = VECTORS_AT + (<usize>row) * 256;
    let a = f32x4.splat(0);
    let b = f32x4.splat(0);
    let c = f32x4.splat(0);
    let lane = LANES_AT;
    if (blocks == 1) {
      for (let d: usize = 0; d < 256; d += 4, lane += 16) {
        a = f32x4.add(a, f32x4.mul(v128.load32_splat(vector + d), v128.load(lane)));
      }
    } else {
      for (let d: usize = 0; d < 256; d += 4, lane += 16) {
        const x = v128.load32_splat(vector + d);
        a = f32x4.add(a, f32x4.mul(x, v128.load(lane)));
        b = f32x4.add(b, f32x4.mul(x, v128.load(lane, 1024)));
        c = f32x4.add(c, f32x4.mul(x, v128.load(lane, 2048)));
      }
    }
    const out = OUT_AT + (<usize>row) * 48;
    v128.store(out, a);
    v128.store(out, b, 16);
    v128.store(out, c, 32);
  }
}

/**
 * Puts each row's logarithms into its full row of `stride` bytes, at the byte offsets of the table; those from
 * BOUNDED_LOGS on within ± `bound`.
 */
export function spread(rows: u32, stride: u32, bound: f64): void {
  let row = FULL_AT;
  let log = LOGS_AT;
  for (let i: u32 = 0; i < rows; i++, row += stride, log += LOGS * 8) {
    for (let k: usize = 0; k < BOUNDED_LOGS; k++) {
      store<f32>(row + <usize>load<u16>(COLUMNS_AT + k * 2), <f32>load<f64>(log + k * 8));
    }
    for (let k: usize = BOUNDED_LOGS; k < LOGS; k++) {
      const value = Math.max(-bound, Math.min(bound, load<f64>(log + k * 8)));
      store<f32>(row + <usize>load<u16>(COLUMNS_AT + k * 2), <f32>value);
    }
  }
}

/**
 * From the products: each row's cosine to the user, best to the `negatives` rejected posts, and best, mean of the best
 * three and mean to the `positives` liked ones; each group's columns begin at a byte offset of the full row.
 */
export function cosines(
  rows: u32,
  stride: u32,
  userAt: u32,
  negatives: u32,
  negativeAt: u32,
  positives: u32,
  positiveAt: u32,
): void {
  let row = FULL_AT;
  let out = OUT_AT;
  for (let i: u32 = 0; i < rows; i++, row += stride, out += 48) {
    store<f32>(row + userAt, load<f32>(out));
    if (negatives > 0) {
      let best = load<f32>(out, 4);
      for (let k: usize = 1; k < negatives; k++) {
        const cosine = load<f32>(out + k * 4, 4);
        if (cosine > best) best = cosine;
      }
      store<f32>(row + negativeAt, best);
      store<f32>(row + negativeAt, 1, 4);
    }
    if (positives == 0) continue;
    let first = -Infinity;
    let second = -Infinity;
    let third = -Infinity;
    let sum: f64 = 0;
    for (let k: usize = 0; k < positives; k++) {
      const cosine = <f64>load<f32>(out + k * 4, 16);
      sum += cosine;
      if (cosine > first) {
        third = second;
        second = first;
        first = cosine;
      } else if (cosine > second) {
        third = second;
        second = cosine;
      } else if (cosine > third) third = cosine;
    }
    let top = first;
    if (positives >= 3) top = (first + second + third) / 3;
    else if (positives == 2) top = (first + second) / 2;
    store<f32>(row + positiveAt, <f32>first);
    store<f32>(row + positiveAt, <f32>top, 4);
    store<f32>(row + positiveAt, <f32>(sum / <f64>positives), 8);
    store<f32>(row + positiveAt, 1, 12);
  }
}

/** 1 − the smallest Hamming distance of each row's simhash to the first `count` of the history / UNRELATED_BITS. */
export function duplicates(rows: u32, stride: u32, count: u32, at: u32): void {
  let row = FULL_AT + at;
  for (let i: u32 = 0; i < rows; i++, row += stride) {
    const hash = load<u64>(HASHES_AT + <usize>i * 8);
    let smallest = UNRELATED_BITS;
    for (let k: usize = 0; k < count && hash != 0; k++) {
      const bits = popcnt<u64>(hash ^ load<u64>(HISTORY_HASHES_AT + k * 8));
      if (bits < smallest) smallest = bits;
    }
    store<f32>(row, 1.0 - <f32>smallest / <f32>UNRELATED_BITS);
  }
}

/**
 * Encoded rows side by side: the runs of columns (byte offset and bytes in the full row) of each; what is not finite
 * becomes 0. Four numbers at a time: what is written beyond a run is overwritten by the next.
 */
export function encode(rows: u32, stride: u32, runs: u32): void {
  let row = FULL_AT;
  let out = ENCODED_AT;
  const end = RUNS_AT + (<usize>runs) * 4;
  for (let i: u32 = 0; i < rows; i++, row += stride) {
    for (let run = RUNS_AT; run < end; run += 4) {
      const from = row + <usize>load<u16>(run);
      const bytes = <usize>load<u16>(run, 2);
      for (let at: usize = 0; at < bytes; at += 16) {
        const x = v128.load(from + at);
        const finite = f32x4.eq(f32x4.sub(x, x), f32x4.splat(0));
        v128.store(out + at, v128.and(x, finite));
      }
      out += bytes;
    }
  }
}

/**
 * Natural logarithms of `count` positive normal float64 numbers, in place, two at a time; the count is rounded up to
 * even. fdlibm's e_log.c (Sun Microsystems, 1993) operation by operation, which is what Math.log computes, so that the
 * results are the same bits; its cases are all computed and chosen from.
 */
export function logs(count: u32): void {
  const end = LOGS_AT + (((<usize>count) + 1) & ~1) * 8;
  for (let at = LOGS_AT; at < end; at += 16) {
    const bits = v128.load(at);
    const high = i64x2.shr_u(bits, 32);
    const fraction = v128.and(high, i64x2.splat(0xfffff));
    const carry = v128.and(i64x2.add(fraction, i64x2.splat(0x95f64)), i64x2.splat(0x100000));
    const exponent = i64x2.add(
      i64x2.sub(i64x2.shr_u(high, 20), i64x2.splat(1023)),
      i64x2.shr_u(carry, 20),
    );
    const k = f64x2.convert_low_i32x4_s(v128.shuffle<i32>(exponent, exponent, 0, 2, 0, 2));
    const normal = v128.or(fraction, v128.xor(carry, i64x2.splat(0x3ff00000)));
    const x = v128.or(i64x2.shl(normal, 32), v128.and(bits, i64x2.splat(0xffffffff)));
    const f = f64x2.sub(x, f64x2.splat(1.0));
    const kHigh = f64x2.mul(k, f64x2.splat(6.93147180369123816490e-1));
    const kLow = f64x2.mul(k, f64x2.splat(1.90821492927058770002e-10));
    const s = f64x2.div(f, f64x2.add(f64x2.splat(2.0), f));
    const z = f64x2.mul(s, s);
    const w = f64x2.mul(z, z);
    let t1 = f64x2.add(
      f64x2.splat(2.222219843214978396e-1),
      f64x2.mul(w, f64x2.splat(1.531383769920937332e-1)),
    );
    t1 = f64x2.mul(w, f64x2.add(f64x2.splat(3.999999999940941908e-1), f64x2.mul(w, t1)));
    let t2 = f64x2.add(
      f64x2.splat(1.818357216161805012e-1),
      f64x2.mul(w, f64x2.splat(1.479819860511658591e-1)),
    );
    t2 = f64x2.add(f64x2.splat(2.857142874366239149e-1), f64x2.mul(w, t2));
    t2 = f64x2.mul(z, f64x2.add(f64x2.splat(6.666666666666735130e-1), f64x2.mul(w, t2)));
    const r = f64x2.add(t2, t1);
    const half = f64x2.mul(f64x2.mul(f64x2.splat(0.5), f), f);
    const near = f64x2.sub(half, f64x2.add(f64x2.mul(s, f64x2.add(half, r)), kLow));
    const far = f64x2.sub(f64x2.mul(s, f64x2.sub(f, r)), kLow);
    const small = f64x2.sub(
      f64x2.mul(
        f64x2.mul(f, f),
        f64x2.sub(f64x2.splat(0.5), f64x2.mul(f64x2.splat(0.33333333333333333), f)),
      ),
      kLow,
    );
    const isNear = i64x2.gt_s(
      v128.or(
        i64x2.sub(fraction, i64x2.splat(0x6147a)),
        i64x2.sub(i64x2.splat(0x6b851), fraction),
      ),
      i64x2.splat(0),
    );
    const isSmall = i64x2.lt_s(
      v128.and(i64x2.add(fraction, i64x2.splat(2)), i64x2.splat(0xfffff)),
      i64x2.splat(3),
    );
    const rest = v128.bitselect(small, v128.bitselect(near, far, isNear), isSmall);
    v128.store(at, f64x2.sub(kHigh, f64x2.sub(rest, f)));
  }
}
