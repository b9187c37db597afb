// The exact search: a whole scan of 7-bit codes in WebAssembly SIMD, then float32 for the best. One instance a
// thread over the shared memory, each with its own scratch slot.
import { readFile } from 'node:fs/promises';
import type { Hits, VectorIndex } from '../../contracts.ts';
import { invalid } from '../../errors.ts';
import { DIM } from '../../vocabulary.ts';
import { PlainScan } from './plain-scan.ts';
import type { PostTable } from './post-table.ts';
import { checkHits } from './search-table.ts';
import { bufferLength, HEADER, keptFor, MAX_HITS, SCRATCH, scratchOffset } from './table-layout.ts';
import { checkVector, encodeQuery } from './vector-codes.ts';

type ScanLists = (
  codes: number,
  deleted: number,
  query: number,
  buffer: number,
  offsets: number,
  rows: number,
  probes: number,
  probed: number,
  from: number,
  keep: number,
  cap: number,
) => number;

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
  scanLists: ScanLists;
  scanPacked: ScanLists;
  scoreRows(vectors: number, query: number, rows: number, count: number, out: number): void;
  scoreRange(vectors: number, query: number, from: number, to: number, out: number): void;
  rescore(vectors: number, query: number, buffer: number, count: number): void;
  take(buffer: number, count: number, k: number, outRows: number, outSimilarity: number): number;
  /** Address of scratch memory, an exported global. */
  histogram: { value: number };
}

let compiled: Promise<WebAssembly.Module> | undefined;

/** The compiled kernel, shared by the thread's tables. Throws WebAssembly.CompileError without relaxed SIMD. */
export function scanKernel(): Promise<WebAssembly.Module> {
  compiled ??= readFile(new URL('scan-kernel/scan.wasm', import.meta.url)).then((bytes) =>
    WebAssembly.compile(bytes),
  );
  return compiled;
}

/** False where the engine cannot run the kernel. */
export async function canScan(): Promise<boolean> {
  return scanKernel().then(
    () => true,
    () => false,
  );
}

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
    kernel.histogram.value = at + SCRATCH.histogram;
    this.#query = new Float32Array(buffer, at + SCRATCH.query, DIM);
    this.#codes = new Int8Array(buffer, at + SCRATCH.queryCodes, DIM);
    this.#rows = new Uint32Array(buffer, at + SCRATCH.rows, MAX_HITS);
    this.#similarity = new Float32Array(buffer, at + SCRATCH.similarity, MAX_HITS);
  }

  /** The kernel over the table's memory; throws where the engine lacks relaxed SIMD, overloaded beyond 64 openers. */
  static async open(table: PostTable): Promise<ExactIndex> {
    const instance = await WebAssembly.instantiate(await scanKernel(), { env: { memory: table.memory } });
    const slot = Atomics.add(table.header, HEADER.scratchSlots, 1);
    return new ExactIndex(
      table,
      instance.exports as unknown as ScanKernel,
      scratchOffset(table.layout, slot),
    );
  }

  get baseRows(): number {
    return this.#table.baseRows;
  }

  /** Inverted lists of the table that can be probed; 0 where it has none. */
  get lists(): number {
    return Math.min(this.#table.layout.lists?.count ?? 0, MAX_HITS);
  }

  /** As VectorIndex; `toRow` bounds the scan from above. `k` ≤ 8192. Equal similarity: the lower row first. */
  search(query: Float32Array, k: number, hits: Hits, fromRow = 0, toRow = this.#table.rows): void {
    const keep = this.#prepare(query, k, hits);
    const { layout } = this.#table;
    const found = this.#kernel.scan(
      layout.codes,
      layout.deleted,
      this.#at + SCRATCH.queryCodes,
      this.#at + SCRATCH.buffer,
      fromRow,
      Math.max(fromRow, toRow),
      keep,
      bufferLength(keep),
    );
    this.#finish(found, k, hits);
  }

  /**
   * The best `k` of the base rows ≥ `fromRow` in the `probes` lists whose centroids are nearest to the query; fewer
   * where those lists hold fewer. Throws invalid_input where the table has no lists or `probes` is not within 1…their number.
   */
  searchLists(query: Float32Array, k: number, hits: Hits, probes: number, fromRow = 0): void {
    const { layout } = this.#table;
    const { lists } = layout;
    if (!lists) throw invalid('lists', 'this generation has none');
    if (!Number.isInteger(probes) || probes < 1 || probes > this.lists)
      throw invalid('probes', `must be a whole number within 1…${this.lists}`);
    const keep = this.#prepare(query, k, hits);
    const at = this.#at;
    const buffer = at + SCRATCH.buffer;
    const codes = at + SCRATCH.queryCodes;
    // By their codes alone: what that misorders is in the recall that the calibration measures.
    this.#kernel.scan(lists.centroidCodesAt, 0, codes, buffer, 0, lists.count, probes, bufferLength(probes));
    this.#take(probes, probes);
    const scanLists = lists.codesAt !== null ? this.#kernel.scanPacked : this.#kernel.scanLists;
    const found = scanLists(
      lists.codesAt ?? layout.codes,
      layout.deleted,
      codes,
      buffer,
      lists.offsetsAt,
      lists.rowsAt,
      at + SCRATCH.rows,
      probes,
      fromRow,
      keep,
      bufferLength(keep),
    );
    this.#finish(found, k, hits);
  }

  similarities(query: Float32Array, fromRow: number, out: Float32Array): void {
    if (query.length !== DIM) throw invalid('query', `must have ${DIM} numbers`);
    if (fromRow < 0 || fromRow + out.length > this.#table.rows)
      throw invalid('fromRow', `${fromRow} and ${out.length} rows from it are not all there`);
    this.#query.set(query);
    for (let done = 0; done < out.length; done += MAX_HITS) {
      const count = Math.min(MAX_HITS, out.length - done);
      const { vectors } = this.#table.layout;
      const from = fromRow + done;
      const at = this.#at;
      this.#kernel.scoreRange(vectors, at + SCRATCH.query, from, from + count, at + SCRATCH.similarity);
      out.set(this.#similarity.subarray(0, count), done);
    }
  }

  similaritiesOf(query: Float32Array, rows: Uint32Array, out: Float32Array): void {
    if (query.length !== DIM) throw invalid('query', `must have ${DIM} numbers`);
    const { rows: end, layout } = this.#table;
    // The kernel reads wherever a row points.
    for (let i = 0; i < out.length; i++)
      if (!(rows[i] < end)) throw invalid('rows', `${rows[i]} is not there`);
    this.#query.set(query);
    const at = this.#at;
    for (let done = 0; done < out.length; done += MAX_HITS) {
      const count = Math.min(MAX_HITS, out.length - done);
      this.#rows.set(rows.subarray(done, done + count));
      this.#kernel.scoreRows(
        layout.vectors,
        at + SCRATCH.query,
        at + SCRATCH.rows,
        count,
        at + SCRATCH.similarity,
      );
      out.set(this.#similarity.subarray(0, count), done);
    }
  }

  /** Checks the input and puts the query into the scratch slot; how many candidates to keep. */
  #prepare(query: Float32Array, k: number, hits: Hits): number {
    checkVector(query, 'query');
    checkHits(k, hits, MAX_HITS);
    this.#query.set(query);
    encodeQuery(query, this.#codes);
    return keptFor(k);
  }

  /** Re-scores what was found in float32 and hands out the best. */
  #finish(found: number, k: number, hits: Hits): void {
    const at = this.#at;
    const buffer = at + SCRATCH.buffer;
    this.#kernel.rescore(this.#table.layout.vectors, at + SCRATCH.query, buffer, found);
    const size = this.#take(found, k);
    hits.rows.set(this.#rows.subarray(0, size));
    hits.similarity.set(this.#similarity.subarray(0, size));
    hits.size = size;
  }

  /** The best `k` of the buffer's candidates to the scratch slot's rows and similarities, in order; how many. */
  #take(count: number, k: number): number {
    const at = this.#at;
    const { buffer, rows, similarity } = SCRATCH;
    return this.#kernel.take(at + buffer, count, k, at + rows, at + similarity);
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
