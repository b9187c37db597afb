// The encoder's arithmetic in WebAssembly SIMD: a block of post vectors against the vectors of the user, of rejected and
// of liked posts, the logarithms of the block's counts, and a plan's columns out of its full rows. One a thread; compiled
// from similarity-kernel/similarity.ts.
import { readFileSync } from 'node:fs';
import { DIM } from '../vocabulary.ts';
import { type FeaturePlan, FULL_WIDTH } from './feature-schema.ts';

/** Vectors in one block. */
export const BLOCK_ROWS = 32;
/** Dot products of one vector. */
export const LANES = 12;
/** Logarithms of one row; the last nine, of ratios, are bounded in the full row. */
export const ROW_LOGS = 20;

const LANES_AT = 1024;
const VECTORS_AT = LANES_AT + LANES * DIM * 4;
const OUT_AT = VECTORS_AT + BLOCK_ROWS * DIM * 4;
const LOGS_AT = OUT_AT + BLOCK_ROWS * LANES * 4;
const COLUMNS_AT = LOGS_AT + BLOCK_ROWS * ROW_LOGS * 8;
const RUNS_AT = COLUMNS_AT + 64;
const HISTORY_HASHES_AT = RUNS_AT + 1024;
const HASHES_AT = HISTORY_HASHES_AT + 64;
const ENCODED_AT = RUNS_AT + 2048;
/** Room for 160 columns, and for what is written beyond the last. */
const FULL_AT = ENCODED_AT + BLOCK_ROWS * 640 + 16;
const STRIDE = FULL_WIDTH * 4;

interface Exports {
  memory: WebAssembly.Memory;
  similarities(rows: number, blocks: number): void;
  logs(count: number): void;
  spread(rows: number, stride: number, bound: number): void;
  cosines(
    rows: number,
    stride: number,
    userAt: number,
    negatives: number,
    negativeAt: number,
    positives: number,
    positiveAt: number,
  ): void;
  duplicates(rows: number, stride: number, count: number, at: number): void;
  encode(rows: number, stride: number, runs: number): void;
}

let compiled: WebAssembly.Module | undefined;
/** Vectors as words of 8 bytes, which halves the loads; null where they are not aligned for that. */
const WORDS = new WeakMap<Float32Array, Float64Array | null>();

export class SimilarityKernel {
  /** [LANES / 4, DIM, 4] interleaved by four; lanes that are not used are zero. */
  readonly lanes: Float32Array;
  /** [BLOCK_ROWS, LANES] after `run`. */
  readonly products: Float32Array;
  /** [BLOCK_ROWS, ROW_LOGS] positive normal numbers before `log`, their natural logarithms after it. */
  readonly logs: Float64Array;
  /** [BLOCK_ROWS, FULL_WIDTH] full rows. */
  readonly full: Float32Array;
  /** Simhashes as [lo, hi, …]: of up to eight posts of the history, and [BLOCK_ROWS] of the block. */
  readonly historyHashes: Uint32Array;
  readonly hashes: Uint32Array;
  readonly #vectors: Float32Array;
  readonly #words: Float64Array;
  readonly #encoded: Float32Array;
  readonly #runs: number;
  readonly #width: number;
  readonly #exports: Exports;

  /** `logColumns` [ROW_LOGS]: the column of the full row that each logarithm goes to. */
  constructor({ columns, width }: FeaturePlan, logColumns: readonly number[]) {
    compiled ??= new WebAssembly.Module(
      readFileSync(new URL('similarity-kernel/similarity.wasm', import.meta.url)),
    );
    this.#exports = new WebAssembly.Instance(compiled).exports as unknown as Exports;
    const { buffer } = this.#exports.memory;
    this.lanes = new Float32Array(buffer, LANES_AT, LANES * DIM);
    this.#vectors = new Float32Array(buffer, VECTORS_AT, BLOCK_ROWS * DIM);
    this.#words = new Float64Array(buffer, VECTORS_AT, (BLOCK_ROWS * DIM) / 2);
    this.products = new Float32Array(buffer, OUT_AT, BLOCK_ROWS * LANES);
    this.logs = new Float64Array(buffer, LOGS_AT, BLOCK_ROWS * ROW_LOGS);
    this.full = new Float32Array(buffer, FULL_AT, BLOCK_ROWS * FULL_WIDTH);
    this.historyHashes = new Uint32Array(buffer, HISTORY_HASHES_AT, 16);
    this.hashes = new Uint32Array(buffer, HASHES_AT, BLOCK_ROWS * 2);
    this.#width = width;
    this.#encoded = new Float32Array(buffer, ENCODED_AT, BLOCK_ROWS * width);
    const bytesOf = (column: number) => column * 4;
    new Uint16Array(buffer, COLUMNS_AT, ROW_LOGS).set(logColumns.map(bytesOf));
    const runs = runsOf(columns);
    new Uint16Array(buffer, RUNS_AT, runs.length * 2).set(runs.flat().map(bytesOf));
    this.#runs = runs.length;
  }

  /**
   * Dot products of the rows `[from, to)` of `rows`, at most BLOCK_ROWS, with the first `lanes` lanes.
   * @param vectors [posts, DIM] row-major
   */
  run(vectors: Float32Array, rows: Uint32Array, from: number, to: number, lanes: number): void {
    const words = wordsOf(vectors);
    const into = this.#words;
    for (let i = from, at = 0; i < to; i++) {
      if (words === null) {
        this.#vectors.set(vectors.subarray(rows[i] * DIM, (rows[i] + 1) * DIM), (i - from) * DIM);
        continue;
      }
      const end = at + DIM / 2;
      for (let word = (rows[i] * DIM) / 2; at < end; at++, word++) into[at] = words[word];
    }
    this.#exports.similarities(to - from, Math.ceil(lanes / 4));
  }

  /** Math.log of the first `rows` rows of `logs`, bit for bit. */
  log(rows: number): void {
    this.#exports.logs(rows * ROW_LOGS);
  }

  /** What all rows of a request have in common, [FULL_WIDTH], into every full row. */
  begin(template: Float32Array): void {
    this.full.set(template);
    for (let row = 1; row < BLOCK_ROWS; row *= 2) {
      this.full.copyWithin(row * FULL_WIDTH, 0, row * FULL_WIDTH);
    }
  }

  /** The first `rows` rows of `logs` into their full rows, the bounded ones within ± `bound`. */
  spread(rows: number, bound: number): void {
    this.#exports.spread(rows, STRIDE, bound);
  }

  /**
   * After `run`: the cosines to the user, to `negatives` rejected and to `positives` liked posts, whose groups of columns
   * begin at `columns`; a group without posts is left as it is.
   */
  cosines(
    rows: number,
    negatives: number,
    positives: number,
    columns: { user: number; negative: number; positive: number },
  ): void {
    const { user, negative, positive } = columns;
    this.#exports.cosines(rows, STRIDE, user * 4, negatives, negative * 4, positives, positive * 4);
  }

  /** How near the first `rows` of `hashes` come to the first `count` of `historyHashes`: 1 the same, 0 unrelated. */
  duplicates(rows: number, count: number, column: number): void {
    this.#exports.duplicates(rows, STRIDE, count, column * 4);
  }

  /** The plan's columns of the first `rows` full rows to `out[at …]`; what is not finite becomes 0. */
  encode(rows: number, out: Float32Array, at: number): void {
    this.#exports.encode(rows, STRIDE, this.#runs);
    out.set(rows === BLOCK_ROWS ? this.#encoded : this.#encoded.subarray(0, rows * this.#width), at);
  }
}

/** Two finite numbers are never a NaN as one word, whose bits a copy might change. */
function wordsOf(vectors: Float32Array): Float64Array | null {
  let words = WORDS.get(vectors);
  if (words === undefined) {
    const { buffer, byteOffset, length } = vectors;
    words = byteOffset % 8 === 0 ? new Float64Array(buffer, byteOffset, length >>> 1) : null;
    WORDS.set(vectors, words);
  }
  return words;
}

/** [first column, columns] of each run of neighbouring columns. */
function runsOf(columns: Uint16Array): [number, number][] {
  const runs: [number, number][] = [];
  for (const column of columns) {
    const last = runs.at(-1);
    if (last && last[0] + last[1] === column) last[1]++;
    else runs.push([column, 1]);
  }
  return runs;
}
