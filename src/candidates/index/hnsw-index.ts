// The hnswlib graph over the base rows: the only file that imports hnswlib-node, and lazily. Native code here kills
// the process on a hole in a vector or a corrupt file, so every number is checked and a file is hashed before load.
import type { HierarchicalNSW } from 'hnswlib-node';
import type { Hits, VectorIndex } from '../../contracts.ts';
import { FeedrankError, messageOf } from '../../errors.ts';
import { DIM } from '../../vocabulary.ts';
import { type FileEntry, verifyFile } from './artifact-files.ts';
import type { PostTable } from './post-table.ts';
import { checkHits } from './search-table.ts';
import { MAX_HITS } from './table-layout.ts';
import { checkVector } from './vector-codes.ts';

/** Beyond this share of deleted base rows the graph would have to fetch too much: refused, scan instead (FACTS). */
const MAX_DELETED_SHARE = 0.5;
/** Seed of the graph's levels: the same posts give the same graph. */
const LEVEL_SEED = 100;

export interface GraphOptions {
  m: number;
  efConstruction: number;
}

type Addon = { HierarchicalNSW: typeof HierarchicalNSW };

let addon: Promise<Addon | string> | undefined;

async function loadAddon(): Promise<Addon | string> {
  addon ??= import('hnswlib-node').then(
    (module) => module.default,
    (error) => `hnswlib-node cannot be loaded: ${messageOf(error).split('\n')[0]}`,
  );
  return addon;
}

/** null when the addon is usable, else the reason why not. */
export async function hnswUnavailable(): Promise<string | null> {
  const loaded = await loadAddon();
  return typeof loaded === 'string' ? loaded : null;
}

export class HnswIndex implements VectorIndex {
  readonly kind = 'hnsw';
  readonly #graph: HierarchicalNSW;
  readonly #table: PostTable;
  readonly #query: number[] = new Array(DIM).fill(0);
  #ef: number;

  private constructor(graph: HierarchicalNSW, table: PostTable, ef: number) {
    this.#graph = graph;
    this.#table = table;
    this.#ef = ef;
  }

  /**
   * Reads a graph of `rows` base rows into a fresh object. Throws unavailable where the addon is missing,
   * corrupt_artifact where the file is not the one that was published.
   */
  static async load(
    path: string,
    options: { table: PostTable; rows: number; ef: number; file: FileEntry },
  ): Promise<HnswIndex> {
    const loaded = await loadAddon();
    if (typeof loaded === 'string') throw new FeedrankError('unavailable', loaded);
    await verifyFile(path, options.file);
    const graph = new loaded.HierarchicalNSW('ip', DIM);
    try {
      await graph.readIndex(path);
    } catch (cause) {
      throw new FeedrankError('corrupt_artifact', `${path}: hnswlib cannot read it: ${messageOf(cause)}`, {
        cause,
      });
    }
    if (graph.getCurrentCount() !== options.rows) {
      const found = graph.getCurrentCount();
      throw new FeedrankError(
        'corrupt_artifact',
        `${path}: holds ${found} rows, the manifest says ${options.rows}`,
      );
    }
    return new HnswIndex(graph, options.table, options.ef);
  }

  /** Candidates that a search explores at least; more is slower and finds more. */
  setEf(ef: number): void {
    this.#ef = ef;
  }

  /**
   * True where the graph can answer well: `k` within reach and not too many of its rows deleted.
   * The caller scans otherwise.
   */
  fits(k: number): boolean {
    const { base } = this.#table.deletedRows;
    return k <= this.#table.baseRows && base <= this.#table.baseRows * MAX_DELETED_SHARE;
  }

  /** As VectorIndex, over the base rows only; fetches more than `k` by the share of deleted rows. */
  search(query: Float32Array, k: number, hits: Hits): void {
    checkVector(query, 'query');
    checkHits(k, hits, MAX_HITS);
    const table = this.#table;
    const deleted = table.deletedRows.base;
    const spare =
      deleted === 0 ? 0 : Math.ceil((1.5 * k * deleted) / Math.max(1, table.baseRows - deleted)) + 16;
    const fetch = Math.min(table.baseRows, k + spare);
    for (let i = 0; i < DIM; i++) this.#query[i] = query[i];
    this.#graph.setEf(Math.max(this.#ef, fetch));
    const { neighbors, distances } = this.#graph.searchKnn(this.#query, fetch);
    let size = 0;
    for (let i = 0; i < neighbors.length && size < k; i++) {
      if (deleted > 0 && table.isDeleted(neighbors[i])) continue;
      hits.rows[size] = neighbors[i];
      hits.similarity[size++] = 1 - distances[i];
    }
    hits.size = size;
  }
}

/** A graph under construction; synchronous, so it lives in a worker. */
export class HnswBuilder {
  readonly #graph: HierarchicalNSW;
  readonly #point: number[] = new Array(DIM).fill(0);

  private constructor(graph: HierarchicalNSW) {
    this.#graph = graph;
  }

  static async create(capacity: number, options: GraphOptions): Promise<HnswBuilder> {
    const loaded = await loadAddon();
    if (typeof loaded === 'string') throw new FeedrankError('unavailable', loaded);
    const graph = new loaded.HierarchicalNSW('ip', DIM);
    graph.initIndex(capacity, options.m, options.efConstruction, LEVEL_SEED);
    return new HnswBuilder(graph);
  }

  get rows(): number {
    return this.#graph.getCurrentCount();
  }

  resize(capacity: number): void {
    if (capacity > this.#graph.getMaxElements()) this.#graph.resizeIndex(capacity);
  }

  /** Inserts rows [from, to) of `vectors`; each was checked when the table took it. */
  insert(vectors: Float32Array, from: number, to: number): void {
    for (let row = from; row < to; row++) {
      for (let i = 0; i < DIM; i++) this.#point[i] = vectors[row * DIM + i];
      this.#graph.addPoint(this.#point, row);
    }
  }

  /** Writes the file; a full disk is noticed by the caller, who checks size and contents (hnswlib does not). */
  write(path: string): void {
    this.#graph.resizeIndex(Math.max(1, this.rows));
    this.#graph.writeIndexSync(path);
  }
}
