// Dot products of a block of vectors with twelve lanes, in WebAssembly SIMD (AssemblyScript). The memory is the
// module's own; similarity-kernel.ts knows its layout. Sums run over the dimensions in order, whatever the block holds,
// so a vector's products are the same alone and in any block.

const LANES_AT: usize = 1024;
const VECTORS_AT: usize = LANES_AT + 3 * 64 * 16;
const ROWS: usize = 32;
const OUT_AT: usize = VECTORS_AT + ROWS * 256;

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
