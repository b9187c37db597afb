// The scan's reads without its arithmetic.

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
