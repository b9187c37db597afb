// The exact search: a whole scan of 7-bit codes in WebAssembly SIMD, then float32 for the best. One instance a
// thread over the shared memory, each with its own scratch slot.
import { readFile } from 'node:fs/promises';
import type { Hits, VectorIndex } from '../../contracts.ts';
import { DIM } from '../../vocabulary.ts';
import { PlainScan } from './plain-scan.ts';
import type { PostTable } from './post-table.ts';
import { checkHits } from './search-table.ts';
import { bufferLength, HEADER, keptFor, MAX_HITS, SCRATCH, scratchOffset } from './table-layout.ts';
import { checkVector, encodeQuery } from './vector-codes.ts';

interface ScanKernel {
  scan(
    codes: number,
    deleted: number,
    query: number,
    buffer: number,
    from: number,
    to: number,
    keep: number,
    cap: number,
  ): number;
  rescore(vectors: number, query: number, buffer: number, count: number): void;
  take(buffer: number, count: number, k: number, outRows: number, outSimilarity: number): number;
}

let compiled: Promise<WebAssembly.Module> | undefined;

export class ExactIndex implements VectorIndex {
  readonly kind = 'exact';
  readonly #table: PostTable;
  readonly #kernel: ScanKernel;
  readonly #at: number;
  readonly #query: Float32Array;
  readonly #codes: Int8Array;
  readonly #rows: Uint32Array;
  readonly #similarity: Float32Array;

  private constructor(table: PostTable, kernel: ScanKernel, at: number) {
    const buffer = table.memory.buffer;
    this.#table = table;
    this.#kernel = kernel;
    this.#at = at;
    this.#query = new Float32Array(buffer, at + SCRATCH.query, DIM);
    this.#codes = new Int8Array(buffer, at + SCRATCH.queryCodes, DIM);
    this.#rows = new Uint32Array(buffer, at + SCRATCH.rows, MAX_HITS);
    this.#similarity = new Float32Array(buffer, at + SCRATCH.similarity, MAX_HITS);
  }

  /** The kernel over the table's memory; throws where the engine lacks relaxed SIMD, overloaded beyond 64 openers. */
  static async open(table: PostTable): Promise<ExactIndex> {
    compiled ??= readFile(new URL('scan-kernel/scan.wasm', import.meta.url)).then((bytes) =>
      WebAssembly.compile(bytes),
    );
    const instance = await WebAssembly.instantiate(await compiled, { env: { memory: table.memory } });
    const slot = Atomics.add(table.header, HEADER.scratchSlots, 1);
    return new ExactIndex(
      table,
      instance.exports as unknown as ScanKernel,
      scratchOffset(table.layout, slot),
    );
  }

  /** As VectorIndex; `toRow` bounds the scan from above. `k` ≤ 8192. Equal similarity: the lower row first. */
  search(query: Float32Array, k: number, hits: Hits, fromRow = 0, toRow = this.#table.rows): void {
    checkVector(query, 'query');
    checkHits(k, hits, MAX_HITS);
    const { layout } = this.#table;
    const at = this.#at;
    const buffer = at + SCRATCH.buffer;
    const keep = keptFor(k);
    this.#query.set(query);
    encodeQuery(query, this.#codes);
    const found = this.#kernel.scan(
      layout.codes,
      layout.deleted,
      at + SCRATCH.queryCodes,
      buffer,
      fromRow,
      Math.max(fromRow, toRow),
      keep,
      bufferLength(keep),
    );
    this.#kernel.rescore(layout.vectors, at + SCRATCH.query, buffer, found);
    const size = this.#kernel.take(buffer, found, k, at + SCRATCH.rows, at + SCRATCH.similarity);
    hits.rows.set(this.#rows.subarray(0, size));
    hits.similarity.set(this.#similarity.subarray(0, size));
    hits.size = size;
  }
}

/** The SIMD scan, or plain JavaScript where the engine cannot run it. */
export async function openExactScan(table: PostTable): Promise<ExactIndex | PlainScan> {
  try {
    return await ExactIndex.open(table);
  } catch (error) {
    if (error instanceof WebAssembly.CompileError || error instanceof WebAssembly.LinkError) {
      return new PlainScan(table);
    }
    throw error;
  }
}
