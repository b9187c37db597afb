// float32 dot products of rows with a query.
import { keepLoads } from './touch';

/** Bytes of a row of 64 floats. */
const ROW_FLOATS: usize = 256;
/** Vectors whose loads are begun together. */
const RESCORE_BLOCK: u32 = 16;

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

/** Bytes of each cache line of a row's vector. */
@inline
function touch(vectors: usize, row: u32): v128 {
  const vector = vectors + (<usize>row) * ROW_FLOATS;
  return v128.or(
    v128.or(v128.load(vector), v128.load(vector, 64)),
    v128.or(v128.load(vector, 128), v128.load(vector, 192)),
  );
}
