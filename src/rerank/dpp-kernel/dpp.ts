// The arithmetic of the DPP's greedy choice in WebAssembly SIMD (AssemblyScript): cosines and Cholesky rows in float64.
// The memory is the module's own; dpp-kernel.ts knows its layout. Products are summed in four lanes (i mod 4), and a
// Cholesky row from its beginning, whatever is asked for first, so that an item's variance is the same bits in any order.

const RIDGE: f64 = 0.05;

let dim: usize = 0;
let picks: usize = 0;
let vectorsAt: usize = 0;
let choleskyAt: usize = 0;
let varianceAt: usize = 0;
let knownAt: usize = 0;
let pickedAt: usize = 0;
let scaleAt: usize = 0;

/** Where things lie; `dimensions` is a multiple of 4. The float32 rows that `widen` reads lie at the Cholesky rows. */
export function place(
  dimensions: u32,
  count: u32,
  vectors: u32,
  cholesky: u32,
  variances: u32,
  known: u32,
  picked: u32,
  scales: u32,
): void {
  dim = dimensions;
  picks = count;
  vectorsAt = vectors;
  choleskyAt = cholesky;
  varianceAt = variances;
  knownAt = known;
  pickedAt = picked;
  scaleAt = scales;
}

/** Float32 rows to float64; a row with a number that is not finite becomes zeros. Variances 1, nothing known. */
export function widen(rows: u32): void {
  let from = choleskyAt;
  let to = vectorsAt;
  for (let row: usize = 0; row < rows; row++) {
    let bad = f32x4.splat(0);
    const end = from + dim * 4;
    const begin = to;
    for (; from < end; from += 16, to += 32) {
      const x = v128.load(from);
      // 0 for a finite number, NaN for any other.
      bad = f32x4.add(bad, f32x4.mul(x, f32x4.splat(0)));
      v128.store(to, f64x2.promote_low_f32x4(x));
      v128.store(to, f64x2.promote_low_f32x4(v128.shuffle<i32>(x, x, 2, 3, 2, 3)), 16);
    }
    if (!i32x4.all_true(f32x4.eq(bad, bad))) memory.fill(begin, 0, dim * 8);
    store<f64>(varianceAt + row * 8, 1.0);
    store<u32>(knownAt + row * 4, 0);
  }
}

/** The item is picked, the `pick`-th, with the variance that it has by now. */
export function choose(item: u32, pick: u32): void {
  store<u32>(pickedAt + <usize>pick * 4, item);
  store<f64>(scaleAt + <usize>pick * 8, 1.0 / Math.sqrt(load<f64>(varianceAt + <usize>item * 8)));
}

/**
 * Brings an item up to date with the first `pick` picked; its variance, which only falls: the exact value is at least
 * RIDGE; rounding, or a vector that is not unit, must not pass below.
 */
export function advance(item: u32, pick: u32): f64 {
  const row = vectorsAt + <usize>item * dim * 8;
  const end = row + dim * 8;
  const own = choleskyAt + <usize>item * picks * 8;
  let variance = load<f64>(varianceAt + <usize>item * 8);
  let k = load<u32>(knownAt + <usize>item * 4);
  while (k < pick) {
    const other: usize = load<u32>(pickedAt + <usize>k * 4);
    let ab = f64x2.splat(0);
    let cd = f64x2.splat(0);
    let p = vectorsAt + other * dim * 8;
    for (let q = row; q < end; q += 32, p += 32) {
      ab = f64x2.add(ab, f64x2.mul(v128.load(p), v128.load(q)));
      cd = f64x2.add(cd, f64x2.mul(v128.load(p, 16), v128.load(q, 16)));
    }
    const dot =
      f64x2.extract_lane(ab, 0) +
      f64x2.extract_lane(ab, 1) +
      (f64x2.extract_lane(cd, 0) + f64x2.extract_lane(cd, 1));
    let residual = (1.0 - RIDGE) * 0.5 * (1.0 + dot);
    const last = own + <usize>k * 8;
    let a = choleskyAt + other * picks * 8;
    for (let b = own; b < last; a += 8, b += 8) residual -= load<f64>(a) * load<f64>(b);
    const coefficient = residual * load<f64>(scaleAt + <usize>k * 8);
    store<f64>(last, coefficient);
    variance = Math.max(RIDGE, variance - coefficient * coefficient);
    k++;
  }
  store<u32>(knownAt + <usize>item * 4, k);
  store<f64>(varianceAt + <usize>item * 8, variance);
  return variance;
}
