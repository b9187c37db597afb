// The hnswlib graph over the base rows: the only file that imports hnswlib-node, and lazily. Native code here kills
// the process on a hole in a vector or a corrupt file, so every number is checked and a file is hashed before load.
import type { HierarchicalNSW } from 'hnswlib-node';
import type { Hits, VectorIndex } from '../../contracts.ts';
import { FeedrankError, messageOf } from '../../errors.ts';
import { DIM } from '../../vocabulary.ts';
import type { GraphFile, GraphShard } from './artifact.ts';
import { corrupt, verifyFile } from './artifact-files.ts';
import type { PostTable } from './post-table.ts';
import { checkHits } from './search-table.ts';
import { MAX_HITS } from './table-layout.ts';
import { checkVector } from './vector-codes.ts';

/** Beyond this share of deleted base rows the graph would have to fetch too much: refused, scan instead. */
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

interface LoadedShard {
  graph: HierarchicalNSW;
  rows: number;
}

export class HnswIndex implements VectorIndex {
  readonly kind = 'hnsw';
  readonly #shards: readonly LoadedShard[];
  readonly #table: PostTable;
  readonly #query: number[] = new Array(DIM).fill(0);
  #ef: number;

  private constructor(shards: readonly LoadedShard[], table: PostTable, ef: number) {
    this.#shards = shards;
    this.#table = table;
    this.#ef = ef;
  }

  /**
   * Reads a graph over the base rows, all of its shards, into fresh objects. Throws unavailable where the addon is
   * missing, corrupt_artifact where a file is not the one that was published or the shards do not cover the base.
   */
  static async load({ ef, shards }: GraphFile, table: PostTable): Promise<HnswIndex> {
    const loaded = await loadAddon();
    if (typeof loaded === 'string') throw new FeedrankError('unavailable', loaded);
    let covered = 0;
    const graphs: LoadedShard[] = [];
    for (const shard of shards) {
      if (shard.firstRow !== covered) {
        const reason = `begins at row ${shard.firstRow}, the shards before it end at ${covered}`;
        throw corrupt(shard.path, reason);
      }
      covered += shard.rows;
      graphs.push({ graph: await readShard(loaded, shard), rows: shard.rows });
    }
    if (covered !== table.baseRows) {
      const reason = `the graph covers ${covered} rows of ${table.baseRows}`;
      throw new FeedrankError('corrupt_artifact', reason);
    }
    return new HnswIndex(graphs, table, ef);
  }

  /** Candidates that a search explores at least, in each shard; more is slower and finds more. */
  setEf(ef: number): void {
    this.#ef = ef;
  }

  /**
   * True where the graph can answer well: all rows wanted, `k` within reach and not too many of its rows deleted.
   * The caller scans otherwise.
   */
  fits(k: number, fromRow = 0): boolean {
    const { base } = this.#table.deletedRows;
    return fromRow <= 0 && k <= this.#table.baseRows && base <= this.#table.baseRows * MAX_DELETED_SHARE;
  }

  /**
   * As VectorIndex, over the base rows only; fetches more than `k` by the share of deleted rows. Fewer than `k` where
   * deleted rows crowd a shard: the list ends where that shard may hold better ones than the others.
   */
  search(query: Float32Array, k: number, hits: Hits): void {
    checkVector(query, 'query');
    checkHits(k, hits, MAX_HITS);
    const table = this.#table;
    const deleted = table.deletedRows.base;
    const spare =
      deleted === 0 ? 0 : Math.ceil((1.5 * k * deleted) / Math.max(1, table.baseRows - deleted)) + 16;
    for (let i = 0; i < DIM; i++) this.#query[i] = query[i];
    const found = this.#shards.map(({ graph, rows }) => {
      const fetch = Math.min(rows, k + spare);
      graph.setEf(Math.max(this.#ef, fetch));
      const { neighbors, distances } = graph.searchKnn(this.#query, fetch);
      return { neighbors, distances, at: 0, more: neighbors.length < rows };
    });
    let size = 0;
    while (size < k) {
      const best = nearest(found);
      if (!best) break;
      const row = best.neighbors[best.at];
      const distance = best.distances[best.at++];
      if (deleted > 0 && table.isDeleted(row)) continue;
      hits.rows[size] = row;
      hits.similarity[size++] = 1 - distance;
    }
    hits.size = size;
  }
}

interface ShardHits {
  neighbors: number[];
  /** Rising. */
  distances: number[];
  /** Next to take. */
  at: number;
  /** The shard has rows that were not fetched. */
  more: boolean;
}

/** The list whose next is nearest; null when all are taken, or one ran out whose shard has more. */
function nearest(lists: readonly ShardHits[]): ShardHits | null {
  let best: ShardHits | null = null;
  for (const list of lists) {
    if (list.at === list.neighbors.length) {
      if (list.more) return null;
    } else if (!best || list.distances[list.at] < best.distances[best.at]) {
      best = list;
    }
  }
  return best;
}

async function readShard(addon: Addon, { path, file, rows }: GraphShard): Promise<HierarchicalNSW> {
  await verifyFile(path, file);
  const graph = new addon.HierarchicalNSW('ip', DIM);
  try {
    await graph.readIndex(path);
  } catch (cause) {
    throw new FeedrankError('corrupt_artifact', `${path}: hnswlib cannot read it: ${messageOf(cause)}`, {
      cause,
    });
  }
  const found = graph.getCurrentCount();
  if (found !== rows) throw corrupt(path, `holds ${found} rows, the manifest says ${rows}`);
  return graph;
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
