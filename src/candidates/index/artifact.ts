// Published index versions on disk: `<indexDir>/<version>/…` and `<indexDir>/current`, which names the one to serve.
// A version is complete before its folder gets its name and before `current` names it.
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FeedrankError, messageOf } from '../../errors.ts';
import {
  corrupt,
  type FileEntry,
  readInto,
  replaceFile,
  syncFolder,
  verifyFile,
  writeFileSynced,
} from './artifact-files.ts';
import { type Manifest, manifestSchema } from './artifact-manifest.ts';
import { shardFileNames, shardStart } from './graph-shards.ts';
import type { InvertedLists } from './inverted-lists.ts';
import { readNeighbours } from './neighbours-file.ts';
import { packLists } from './packed-lists.ts';
import { KEY_BYTES_PER_POST, PostTable } from './post-table.ts';
import type { ListProbes } from './short-searches.ts';
import { indexRows, tableBytes } from './table-bytes.ts';
import { type ListsSize, largestCapacity } from './table-layout.ts';

const VERSION = /^v[0-9]{8}T[0-9]{9}Z-[0-9a-f]{6}$/;
const TEMPORARY_PREFIX = '.building-';
/** Lists, a line each, versions that serve, are on trial or are the way back: a build keeps them. */
export const IN_USE_FILE = 'in-use';

/** The graph over rows [firstRow, firstRow + rows), which are also its labels. */
export interface GraphShard {
  path: string;
  file: FileEntry;
  firstRow: number;
  rows: number;
}

/** Where a worker finds the graph of a generation: one shard, or several that follow one another. */
export interface GraphFile {
  ef: number;
  shards: GraphShard[];
}

export interface Generation {
  table: PostTable;
  manifest: Manifest;
  /** The graph to search by; null where another search was calibrated or no graph was built. */
  graph: GraphFile | null;
  /** Inverted lists to probe; null where another search was calibrated. */
  probes: ListProbes | null;
}

export interface LoadOptions {
  /** Rows for posts that arrive after the build; default a quarter of the base plus 100,000. */
  liveCapacity?: number;
  /** Loads the inverted lists even where another search was calibrated: the build measures them. */
  withLists?: boolean;
}

export function newVersion(now = new Date()): string {
  const stamp = now.toISOString().replace(/[-:.]/g, '');
  return `v${stamp}-${randomBytes(3).toString('hex')}`;
}

/** Published versions, oldest first. */
export async function listVersions(indexDir: string): Promise<string[]> {
  const names = await readdir(indexDir).catch(() => [] as string[]);
  return names.filter((name) => VERSION.test(name)).sort();
}

/** The version that `current` names, null when nothing was published. Throws corrupt_artifact on another content. */
export async function currentVersion(indexDir: string): Promise<string | null> {
  const path = join(indexDir, 'current');
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  if (!VERSION.test(text)) throw corrupt(path, 'does not name an index version');
  return text;
}

/** Writes the table's files into a folder, synced; the graph is written by its builder. */
export async function writeTable(folder: string, table: PostTable): Promise<Record<string, FileEntry>> {
  const { rows } = table;
  const bytes = tableBytes(table, rows, table.authorTable.size, table.keys.offsets[rows]);
  return {
    'vectors.f32': await writeFileSynced(join(folder, 'vectors.f32'), [bytes.vectors]),
    'records.bin': await writeFileSynced(join(folder, 'records.bin'), [bytes.records]),
    'keys.bin': await writeFileSynced(join(folder, 'keys.bin'), [bytes.offsets, bytes.keys]),
    'authors.bin': await writeFileSynced(join(folder, 'authors.bin'), [bytes.authors]),
  };
}

/** Gives a finished folder its name and makes it current. */
export async function publish(indexDir: string, folder: string, manifest: Manifest): Promise<void> {
  const text = `${JSON.stringify(manifestSchema.parse(manifest), null, 2)}\n`;
  await writeFileSynced(join(folder, 'manifest.json'), [Buffer.from(text)]);
  await syncFolder(folder);
  await rename(folder, join(indexDir, manifest.version));
  await replaceFile(join(indexDir, 'current'), `${manifest.version}\n`);
}

/** Removes all but the `keep` newest versions, those in use, and what killed builds left. Called under the build lock. */
export async function prune(indexDir: string, keep: number): Promise<void> {
  const current = await currentVersion(indexDir);
  const versions = await listVersions(indexDir);
  const inUse = (await readFile(join(indexDir, IN_USE_FILE), 'utf8').catch(() => '')).split('\n');
  const old = versions
    .slice(0, Math.max(0, versions.length - keep))
    .filter((version) => version !== current && !inUse.includes(version));
  const left = (await readdir(indexDir)).filter(
    (name) => name.startsWith(TEMPORARY_PREFIX) || /^current\..*\.tmp$/.test(name),
  );
  for (const name of [...old, ...left]) await rm(join(indexDir, name), { recursive: true, force: true });
}

/**
 * Loads a version (default: the current one) into fresh shared memory, every file checked. null when nothing was
 * published. Throws corrupt_artifact naming the file and the reason.
 */
export async function loadGeneration(
  indexDir: string,
  version?: string,
  options: LoadOptions = {},
): Promise<Generation | null> {
  const name = version ?? (await currentVersion(indexDir));
  if (name === null) return null;
  const folder = join(indexDir, name);
  const manifest = await readManifest(folder);
  if (manifest.version !== name)
    throw corrupt(join(folder, 'manifest.json'), `belongs to ${manifest.version}`);
  return loadFolder(folder, manifest, options);
}

/** An empty table: the start without an index, where every post is served from the live tier. */
export function emptyGeneration(liveCapacity = 200_000): PostTable {
  const capacity = largestCapacity(liveCapacity);
  return PostTable.create({
    generation: 'empty',
    baseRows: 0,
    capacity,
    keyBytes: capacity * KEY_BYTES_PER_POST,
  });
}

/** Loads a folder by a manifest that is not necessarily written yet: the build verifies with it what it wrote. */
export async function loadFolder(
  folder: string,
  manifest: Manifest,
  options: LoadOptions = {},
): Promise<Generation> {
  const { rows, authors, keyBytes, files } = manifest;
  const useLists = manifest.lists !== null && (options.withLists || manifest.search.kind === 'ivf');
  const lists = useLists && manifest.lists ? { count: manifest.lists.count, rows } : null;
  const capacity = capacityOf(rows, lists, options.liveCapacity);
  const table = PostTable.create({
    generation: manifest.version,
    baseRows: rows,
    capacity,
    keyBytes: keyBytes + (capacity - rows) * KEY_BYTES_PER_POST,
    authorsWithoutPosts: Math.max(authors, capacity >>> 1),
    lists,
    neighbours: await readNeighbours(folder, manifest),
  });
  const bytes = tableBytes(table, rows, authors, keyBytes);
  await readInto(join(folder, 'vectors.f32'), entry(files, folder, 'vectors.f32'), [bytes.vectors]);
  await readInto(join(folder, 'records.bin'), entry(files, folder, 'records.bin'), [bytes.records]);
  await readInto(join(folder, 'keys.bin'), entry(files, folder, 'keys.bin'), [bytes.offsets, bytes.keys]);
  await readInto(join(folder, 'authors.bin'), entry(files, folder, 'authors.bin'), [bytes.authors]);
  if (table.lists) {
    const { centroids, offsets, rows: listed } = table.lists;
    const parts = [centroids, offsets, listed].map(bytesOf);
    await readInto(join(folder, 'lists.bin'), entry(files, folder, 'lists.bin'), parts);
    checkLists(table.lists, join(folder, 'lists.bin'));
  }
  await indexRows(table, rows, authors);
  if (table.lists) await packLists(table.lists, table.codes);
  const graph = await graphOf(folder, manifest);
  return { table, manifest, graph, probes: probesOf(manifest) };
}

/** Room for live posts gives way to the codes in the order of the lists, down to a tenth of the base. */
function capacityOf(rows: number, lists: ListsSize, asked: number | undefined): number {
  const wanted = rows + (asked ?? Math.ceil(rows / 4) + 100_000);
  const packed = largestCapacity(wanted, lists, true);
  if (packed - rows >= (asked ?? rows / 10)) return Math.max(packed, 1);
  return Math.max(largestCapacity(wanted, lists), rows, 1);
}

function probesOf({ search, calibration }: Manifest): ListProbes | null {
  if (search.kind !== 'ivf' || search.probes === null) return null;
  return { all: search.probes, short: calibration.short };
}

/** Writes inverted lists into a folder, synced. */
export async function writeLists(folder: string, lists: InvertedLists): Promise<FileEntry> {
  const { centroids, offsets, rows } = lists;
  return writeFileSynced(join(folder, 'lists.bin'), [centroids, offsets, rows].map(bytesOf));
}

/** Every row number is one of the base: the kernel reads where they point. */
function checkLists({ offsets, rows }: InvertedLists, path: string): void {
  for (let list = 0; list + 1 < offsets.length; list++) {
    if (offsets[list] > offsets[list + 1]) throw corrupt(path, `list ${list} ends before it begins`);
  }
  if (offsets[0] !== 0 || offsets[offsets.length - 1] !== rows.length)
    throw corrupt(path, 'the lists do not cover the base');
  for (const row of rows) if (row >= rows.length) throw corrupt(path, `row ${row} is not in the base`);
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Uint32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, 'manifest.json');
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw corrupt(path, `cannot be read: ${messageOf(error)}`);
  }
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw corrupt(path, `${issue.path.join('.') || 'manifest'}: ${issue.message}`);
  }
  return parsed.data;
}

async function graphOf(folder: string, manifest: Manifest): Promise<GraphFile | null> {
  const shards = graphShards(folder, manifest);
  for (const { path, file } of shards) await verifyFile(path, file);
  if (manifest.search.kind !== 'hnsw' || shards.length === 0) return null;
  return { ef: manifest.search.ef ?? manifest.calibration.k, shards };
}

/** The shards that a manifest names, none where no graph was built. Throws corrupt_artifact on one without an entry. */
export function graphShards(folder: string, { graph, rows, files }: Manifest): GraphShard[] {
  if (!graph) return [];
  return shardFileNames(graph.shards).map((name, i) => {
    const firstRow = shardStart(i, graph.shards, rows);
    return {
      path: join(folder, name),
      file: entry(files, folder, name),
      firstRow,
      rows: shardStart(i + 1, graph.shards, rows) - firstRow,
    };
  });
}

function entry(files: Record<string, FileEntry>, folder: string, name: string): FileEntry {
  if (!files[name]) throw corrupt(join(folder, 'manifest.json'), `does not list ${name}`);
  return files[name];
}

/** The folder that a build writes into before it has a name. Throws as mkdir does. */
export async function temporaryFolder(indexDir: string, version: string): Promise<string> {
  const folder = join(indexDir, `${TEMPORARY_PREFIX}${version}`);
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new FeedrankError('unavailable', `cannot write to ${indexDir}: ${messageOf(cause)}`, { cause });
  }
  return folder;
}
