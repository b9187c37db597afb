// Builds, verifies, calibrates and publishes one index version from streams of posts, events and edges. Called by
// scripts/build-index.ts; embedding comes in as a function. A kill at any moment leaves the published version intact.
import { mkdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edge, EngagementEvent, Post, VectorIndex } from '../../contracts.ts';
import { FeedrankError, invalid } from '../../errors.ts';
import { DIM } from '../../vocabulary.ts';
import { ItemGraph, type ItemGraphOptions } from '../item-graph.ts';
import {
  type Generation,
  graphShards,
  loadFolder,
  newVersion,
  prune,
  publish,
  temporaryFolder,
  writeLists,
  writeTable,
} from './artifact.ts';
import { measureFile, storageError } from './artifact-files.ts';
import { FORMAT_VERSION, type Manifest, type SearchSetting } from './artifact-manifest.ts';
import { acquireBuildLock } from './build-lock.ts';
import { TableBuilder } from './build-table.ts';
import { calibrate, syntheticQueries } from './calibration.ts';
import { EngagementPairs } from './engagement-pairs.ts';
import { canScan, ExactIndex, openExactScan } from './exact-index.ts';
import { checkGraphFile } from './graph-file.ts';
import { MAX_SHARDS, shardFileNames, shardStart } from './graph-shards.ts';
import { HnswIndex, hnswUnavailable } from './hnsw-index.ts';
import { InvertedIndex } from './inverted-index.ts';
import { buildInvertedLists, type InvertedLists } from './inverted-lists.ts';
import { NEIGHBOURS_FILE, writeNeighbours } from './neighbours-file.ts';
import type { PostTable } from './post-table.ts';
import { newHits } from './search-table.ts';
import { SCAN_BELOW_ROWS } from './two-tier-index.ts';

export interface BuildProgress {
  stage: 'embed' | 'events' | 'edges' | 'neighbours' | 'lists' | 'graph' | 'write' | 'verify' | 'calibrate';
  done: number;
  /** Null where the total is not known in advance. */
  total: number | null;
}

export interface BuildOptions {
  indexDir: string;
  /** `post-tower@1` */
  tower: string;
  /** Change position from before the posts were read. */
  position: string;
  /** In (createdAt, id) order. */
  posts: AsyncIterable<Post[]>;
  /** Those committed before `position`. Counters are made from these; posts that are not in the catalogue are skipped. */
  events?: AsyncIterable<EngagementEvent[]>;
  /** Called for each event of a post in the catalogue, with its row. */
  onEvent?: (event: EngagementEvent, row: number) => void;
  /** As of `position`; `follow` edges are counted as followers. */
  edges?: AsyncIterable<Edge[]>;
  /** [n × 64] row-major vectors, in order. Several calls may run at a time. */
  embed: (posts: readonly Post[]) => Promise<Float32Array>;
  /**
   * Runs beside the graph's construction once all rows and counters are there; gives held-out user vectors to
   * calibrate on (fewer than 30: means of posts are used).
   */
  queries?: (table: PostTable) => Promise<Float32Array[]>;
  k?: number;
  targetRecall?: number;
  m?: number;
  /** Default by the number of rows. */
  efConstruction?: number;
  /** Graphs over equal parts of the rows, built in parallel: a faster build, slower queries. Default 1. */
  shards?: number;
  /** `auto` builds and measures all of them; another kind builds what it needs and serves by it. */
  search?: 'auto' | SearchSetting['kind'];
  /** Rows from which a graph and inverted lists are built. */
  graphFromRows?: number;
  /** Versions to keep, the new one included. */
  keep?: number;
  /** Batches being embedded at a time. */
  inFlight?: number;
  onProgress?: (progress: BuildProgress) => void;
}

const MIN_QUERIES = 30;
/** The symmetric normalisation of GF-CF, untuned; as many neighbours as a seed's share of the default quotas. */
const NEIGHBOURS: ItemGraphOptions = { neighbours: 50, user: 1, source: 0.5, target: 0.5, power: 1 };

/** Throws locked, storage_full, corrupt_artifact (verification failed), invalid_input (bad vectors, wrong order). */
export async function buildIndex(options: BuildOptions): Promise<Manifest> {
  const { indexDir, shards = 1 } = options;
  if (!(Number.isInteger(shards) && shards >= 1 && shards <= MAX_SHARDS)) {
    throw invalid('shards', `must be a whole number within 1…${MAX_SHARDS}`);
  }
  await mkdir(indexDir, { recursive: true }).catch((error) => {
    throw storageError(error, indexDir);
  });
  const lock = await acquireBuildLock(indexDir);
  try {
    await prune(indexDir, Number.POSITIVE_INFINITY);
    const manifest = await build(options);
    await prune(indexDir, Math.max(1, options.keep ?? 3));
    return manifest;
  } finally {
    await lock.release();
  }
}

async function build(options: BuildOptions): Promise<Manifest> {
  const version = newVersion();
  const folder = await temporaryFolder(options.indexDir, version);
  const report = options.onProgress ?? (() => {});
  const { search = 'auto', graphFromRows = SCAN_BELOW_ROWS } = options;
  const asked = search === 'exact' ? 'the scan was' : search === 'ivf' ? 'inverted lists were' : null;
  const absent = asked ? `${asked} asked for` : await hnswUnavailable();
  const fromRows = absent === null ? graphFromRows : Number.POSITIVE_INFINITY;
  const { m = 16, efConstruction = null, shards = 1 } = options;
  const plan = { m, efConstruction, fromRows, shards };
  const builder = new TableBuilder(version, plan, report);
  try {
    await builder.addPosts(options.posts, options.embed, options.inFlight ?? 6);
    const pairs = new EngagementPairs();
    const onEvent = (event: EngagementEvent, row: number) => {
      pairs.add(event, row);
      options.onEvent?.(event, row);
    };
    const events = options.events ? await builder.addEvents(options.events, onEvent) : 0;
    if (options.edges) await builder.addEdges(options.edges);
    const users = (await options.queries?.(builder.table)) ?? [];
    const enough = users.length >= MIN_QUERIES;
    const queries = enough ? users : syntheticQueries(builder.table, MIN_QUERIES * 3);

    const draft = await write(folder, version, builder, absent, options, events, pairs);
    builder.release();
    report({ stage: 'verify', done: 0, total: draft.rows });
    const generation = await loadFolder(folder, draft, { liveCapacity: 0, withLists: true });
    const scan = await openExactScan(generation.table);
    const graph = await loadGraph(folder, draft, generation);
    const lists =
      scan instanceof ExactIndex && draft.lists
        ? new InvertedIndex(scan, { all: scan.lists, short: [] })
        : null;
    verify(generation, scan);
    if (graph) verify(generation, graph);
    if (lists) verify(generation, lists);
    report({ stage: 'calibrate', done: 0, total: queries.length });
    const manifest = {
      ...draft,
      ...calibrate({
        table: generation.table,
        scan,
        graph,
        lists,
        queries,
        queriesFrom: enough ? 'users' : 'posts',
        k: options.k ?? 1000,
        targetRecall: options.targetRecall ?? 0.95,
        prefer: search,
      }),
    };
    await publish(options.indexDir, folder, manifest);
    return manifest;
  } catch (error) {
    throw storageError(error, folder);
  } finally {
    await builder.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function write(
  folder: string,
  version: string,
  builder: TableBuilder,
  absent: string | null,
  options: BuildOptions,
  events: number,
  pairs: EngagementPairs,
): Promise<Manifest> {
  const { table, graphOptions } = builder;
  const graphBytes = graphOptions ? graphBytesPerRow(graphOptions.m) : 0;
  await mustFit(folder, table.rows * (TABLE_BYTES_PER_ROW + graphBytes));
  const files = await writeTable(folder, table);
  const lists = await buildLists(table, options);
  if (lists) files['lists.bin'] = await writeLists(folder, lists.lists);
  const startedAt = performance.now();
  options.onProgress?.({ stage: 'neighbours', done: 0, total: table.rows });
  const neighbours = ItemGraph.build(pairs.interactions(table.rows), NEIGHBOURS);
  const neighboursSeconds = secondsSince(startedAt);
  if (neighbours.edgeCount > 0) files[NEIGHBOURS_FILE] = await writeNeighbours(folder, neighbours.parts);
  options.onProgress?.({ stage: 'write', done: table.rows, total: table.rows });
  const { shards = 1 } = options;
  const names = shardFileNames(shards);
  const seconds = await builder.finishGraph(names.map((name) => join(folder, name)));
  for (const [i, name] of seconds === null ? [] : names.entries()) {
    const rows = shardStart(i + 1, shards, table.rows) - shardStart(i, shards, table.rows);
    await checkGraphFile(join(folder, name), rows).catch(async (error) => {
      // A torn file on a disk with no room for a whole one: say what the cause is.
      await mustFit(folder, rows * graphBytes);
      throw error;
    });
    files[name] = await measureFile(join(folder, name));
  }
  return {
    format: FORMAT_VERSION,
    version,
    createdAt: new Date().toISOString(),
    space: 'cosine',
    dim: DIM,
    tower: options.tower,
    position: options.position,
    rows: table.rows,
    skipped: builder.skipped,
    authors: table.authorTable.size,
    keyBytes: table.keys.offsets[table.rows],
    events,
    graph:
      seconds === null || !graphOptions
        ? null
        : { ...graphOptions, shards, buildSeconds: Math.round(seconds * 10) / 10 },
    graphAbsent:
      seconds === null ? (absent ?? `${table.rows} rows are scanned faster than a graph is walked`) : null,
    lists: lists && { count: lists.lists.offsets.length - 1, buildSeconds: lists.seconds },
    neighbours:
      neighbours.edgeCount > 0 ? { edges: neighbours.edgeCount, buildSeconds: neighboursSeconds } : null,
    search: { kind: 'exact', ef: null, probes: null },
    calibration: {
      k: 0,
      targetRecall: options.targetRecall ?? 0.95,
      queries: 0,
      queriesFrom: 'none',
      measured: [],
      short: [],
    },
    files,
  };
}

/** Null where they are not wanted, too few rows are there, or the engine cannot scan them. */
async function buildLists(
  table: PostTable,
  { search = 'auto', graphFromRows = SCAN_BELOW_ROWS, onProgress }: BuildOptions,
): Promise<{ lists: InvertedLists; seconds: number } | null> {
  const wanted = search === 'auto' || search === 'ivf';
  if (!wanted || table.rows < Math.max(4, graphFromRows) || !(await canScan())) return null;
  const startedAt = performance.now();
  const lists = await buildInvertedLists(table, {
    onProgress: (done, total) => onProgress?.({ stage: 'lists', done, total }),
  });
  return { lists, seconds: secondsSince(startedAt) };
}

function secondsSince(startedAt: number): number {
  return Math.round((performance.now() - startedAt) / 100) / 10;
}

/** Vector, record, id, author and place in a list. */
const TABLE_BYTES_PER_ROW = 256 + 128 + 40 + 64 + 4;

/** Vector, links on the lowest level, label, and a few upper links. */
function graphBytesPerRow(m: number): number {
  return 256 + (2 * m + 1) * 4 + 8 + m * 2;
}

/** Ahead of writing, since hnswlib reports success on a full disk. */
async function mustFit(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= bytes) return;
  const free = Math.floor((bavail * bsize) / 1e6);
  throw new FeedrankError(
    'storage_full',
    `the index needs about ${Math.ceil(bytes / 1e6)} MB, ${free} MB are free`,
  );
}

async function loadGraph(folder: string, draft: Manifest, { table }: Generation): Promise<HnswIndex | null> {
  if (!draft.graph) return null;
  return HnswIndex.load({ ef: 200, shards: graphShards(folder, draft) }, table);
}

/** Posts must find themselves: all of a sample by a scan (its own list is probed), 95 % by the graph. */
function verify({ table }: Generation, index: VectorIndex): void {
  const { rows } = table;
  const hits = newHits(10);
  const sample = Math.min(rows, 100);
  let found = 0;
  for (let i = 0; i < sample; i++) {
    const row = Math.floor((i * rows) / sample);
    const vector = table.vectors.slice(row * DIM, (row + 1) * DIM);
    index.search(vector, Math.min(10, rows), hits);
    if (hits.size > 0 && hits.similarity[0] > 0.999) found++;
  }
  if (found < sample * (index.kind === 'hnsw' ? 0.95 : 1)) {
    const reason = `the reloaded ${index.kind} index finds ${found} of ${sample} posts by their own vectors`;
    throw new FeedrankError('corrupt_artifact', reason);
  }
}
