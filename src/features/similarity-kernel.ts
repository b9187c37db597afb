// The encoder's arithmetic in WebAssembly SIMD: a block of post vectors against the vectors of the user, of rejected and
// of liked posts, and the logarithms of the block's counts. One a thread; compiled from similarity-kernel/similarity.ts.
import { readFileSync } from 'node:fs';
import { DIM } from '../vocabulary.ts';

/** Vectors in one block. */
export const BLOCK_ROWS = 32;
/** Dot products of one vector. */
export const LANES = 12;
/** Logarithms of one row. */
export const ROW_LOGS = 20;

const LANES_AT = 1024;
const VECTORS_AT = LANES_AT + LANES * DIM * 4;
const OUT_AT = VECTORS_AT + BLOCK_ROWS * DIM * 4;
const LOGS_AT = OUT_AT + BLOCK_ROWS * LANES * 4;

interface Exports {
  memory: WebAssembly.Memory;
  similarities(rows: number, blocks: number): void;
  logs(count: number): void;
}

let compiled: WebAssembly.Module | undefined;

export class SimilarityKernel {
  /** [LANES / 4, DIM, 4] interleaved by four; lanes that are not used are zero. */
  readonly lanes: Float32Array;
  /** [BLOCK_ROWS, LANES] after `run`. */
  readonly products: Float32Array;
  /** [BLOCK_ROWS, ROW_LOGS] positive normal numbers before `log`, their natural logarithms after it. */
  readonly logs: Float64Array;
  readonly #vectors: Float32Array;
  readonly #exports: Exports;

  constructor() {
    compiled ??= new WebAssembly.Module(
      readFileSync(new URL('similarity-kernel/similarity.wasm', import.meta.url)),
    );
    this.#exports = new WebAssembly.Instance(compiled).exports as unknown as Exports;
    const { buffer } = this.#exports.memory;
    this.lanes = new Float32Array(buffer, LANES_AT, LANES * DIM);
    this.#vectors = new Float32Array(buffer, VECTORS_AT, BLOCK_ROWS * DIM);
    this.products = new Float32Array(buffer, OUT_AT, BLOCK_ROWS * LANES);
    this.logs = new Float64Array(buffer, LOGS_AT, BLOCK_ROWS * ROW_LOGS);
  }

  /**
   * Dot products of the rows `[from, to)` of `rows`, at most BLOCK_ROWS, with the first `lanes` lanes.
   * @param vectors [posts, DIM] row-major
   */
  run(vectors: Float32Array, rows: Uint32Array, from: number, to: number, lanes: number): void {
    for (let i = from; i < to; i++) {
      const at = rows[i] * DIM;
      this.#vectors.set(vectors.subarray(at, at + DIM), (i - from) * DIM);
    }
    this.#exports.similarities(to - from, Math.ceil(lanes / 4));
  }

  /** Math.log of the first `rows` rows of `logs`, bit for bit. */
  log(rows: number): void {
    this.#exports.logs(rows * ROW_LOGS);
  }
}
