// The encoder's arithmetic in WebAssembly SIMD (AssemblyScript): dot products of a block of vectors with twelve lanes,
// and logarithms. The memory is the module's own; similarity-kernel.ts knows its layout. Sums run over the dimensions in
// order, whatever the block holds, so a vector's products are the same alone and in any block.

const LANES_AT: usize = 1024;
const VECTORS_AT: usize = LANES_AT + 3 * 64 * 16;
const ROWS: usize = 32;
const OUT_AT: usize = VECTORS_AT + ROWS * 256;
const LOGS_AT: usize = OUT_AT + ROWS * 48;

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
