// The greedy choice's arithmetic in WebAssembly SIMD: vectors, Cholesky rows and conditional variances of one pool. One
// a thread; compiled from dpp-kernel/dpp.ts. Called by dpp-diversity.ts.
import { readFileSync } from 'node:fs';

const PAGE_BYTES = 65_536;
const FIRST_AT = 1024;

interface Exports {
  memory: WebAssembly.Memory;
  place(...layout: number[]): void;
  widen(rows: number): void;
  choose(item: number, pick: number): void;
  advance(item: number, pick: number): number;
}

export class DppKernel {
  readonly #exports: Exports;
  /** Where the float32 rows of a pool are put, [≥ rows × stride]. */
  #rows: Float32Array = new Float32Array(0);
  /** Rows, stride and picks that the memory is laid out for. */
  #size = 0;
  #stride = 0;
  #picks = 0;

  constructor() {
    const bytes = readFileSync(new URL('dpp-kernel/dpp.wasm', import.meta.url));
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes));
    this.#exports = instance.exports as unknown as Exports;
  }

  /**
   * A new pool, of which at most `picks` are picked: item i is row `rows[i]` of `vectors` [any, dim]; one that is not
   * finite counts as zeros.
   */
  load(vectors: Float32Array, rows: Uint32Array, dim: number, picks: number): void {
    const stride = Math.ceil(dim / 4) * 4;
    this.#layOut(rows.length, stride, picks);
    const into = this.#rows;
    for (let i = 0; i < rows.length; i++) {
      const from = rows[i] * dim;
      const to = i * stride;
      for (let d = 0; d < dim; d++) into[to + d] = vectors[from + d];
      for (let d = dim; d < stride; d++) into[to + d] = 0;
    }
    this.#exports.widen(rows.length);
  }

  /** The conditional variance of an item given the first `pick` picked. */
  variance(item: number, pick: number): number {
    return this.#exports.advance(item, pick);
  }

  /** Picks an item that is up to date with the `pick` picked before. */
  choose(item: number, pick: number): void {
    this.#exports.choose(item, pick);
  }

  #layOut(n: number, stride: number, picks: number): void {
    if (n === this.#size && stride === this.#stride && picks === this.#picks) return;
    const cholesky = FIRST_AT + n * stride * 8;
    const variances = cholesky + n * Math.max(picks * 8, stride * 4);
    const known = variances + n * 8;
    const scales = known + Math.ceil(n / 2) * 8;
    const picked = scales + picks * 8;
    const { memory } = this.#exports;
    const missing = picked + picks * 4 - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
    this.#exports.place(stride, picks, FIRST_AT, cholesky, variances, known, picked, scales);
    this.#rows = new Float32Array(memory.buffer, cholesky, n * stride);
    this.#size = n;
    this.#stride = stride;
    this.#picks = picks;
  }
}
