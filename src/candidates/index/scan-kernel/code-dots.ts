// Integer dot products of rows of 64 codes, a byte each.

/** Bytes of a row of codes. */
export const ROW_CODES: usize = 64;

/** Dot product of unsigned 7-bit codes at an address with int8 codes in registers, in four lanes to be added. */
@inline
export function dot(row: usize, q0: v128, q1: v128, q2: v128, q3: v128): v128 {
  let sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(q0, v128.load(row), i32x4.splat(0));
  sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(q1, v128.load(row, 16), sum);
  sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(q2, v128.load(row, 32), sum);
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(q3, v128.load(row, 48), sum);
}

/** Dot product of int8 codes at an address with unsigned 7-bit codes in registers. */
@inline
export function codeDot(centroid: usize, r0: v128, r1: v128, r2: v128, r3: v128): v128 {
  let sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(centroid), r0, i32x4.splat(0));
  sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(centroid, 16), r1, sum);
  sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(centroid, 32), r2, sum);
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(centroid, 48), r3, sum);
}

/** Sums of the lanes of four vectors, one a lane. */
@inline
export function sums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return i32x4.add(v128.shuffle<i32>(ab, cd, 0, 1, 4, 5), v128.shuffle<i32>(ab, cd, 2, 3, 6, 7));
}
