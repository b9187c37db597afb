// The item graph of an index version on disk: offsets, rows and weights, one after another; read into shared memory.
// Every edge is checked to stay within the base before a worker may follow it. Used by build.ts and artifact.ts.
import { join } from 'node:path';
import type { ItemGraphParts } from '../item-graph.ts';
import { corrupt, type FileEntry, readInto, writeFileSynced } from './artifact-files.ts';
import type { Manifest } from './artifact-manifest.ts';
import { sharedBytes } from './table-layout.ts';

export const NEIGHBOURS_FILE = 'neighbours.bin';

export function writeNeighbours(folder: string, parts: ItemGraphParts): Promise<FileEntry> {
  return writeFileSynced(join(folder, NEIGHBOURS_FILE), bytesOf(parts));
}

/** Null where the manifest names none. Throws corrupt_artifact with the file and the reason, overloaded without memory. */
export async function readNeighbours(
  folder: string,
  { neighbours, rows, files }: Pick<Manifest, 'neighbours' | 'rows' | 'files'>,
): Promise<ItemGraphParts | null> {
  if (neighbours === null) return null;
  const entry = files[NEIGHBOURS_FILE];
  if (!entry) throw corrupt(join(folder, 'manifest.json'), `does not list ${NEIGHBOURS_FILE}`);
  const { edges } = neighbours;
  const parts = {
    start: new Uint32Array(sharedBytes((rows + 1) * 4, 'the item graph')),
    items: new Uint32Array(sharedBytes(edges * 4, 'the item graph')),
    weights: new Float32Array(sharedBytes(edges * 4, 'the item graph')),
  };
  const path = join(folder, NEIGHBOURS_FILE);
  await readInto(path, entry, bytesOf(parts));
  check(parts, rows, path);
  return parts;
}

function check({ start, items, weights }: ItemGraphParts, rows: number, path: string): void {
  for (let row = 0; row < rows; row++) {
    if (start[row] > start[row + 1]) throw corrupt(path, `the edges of row ${row} end before they begin`);
  }
  if (start[0] !== 0 || start[rows] !== items.length) throw corrupt(path, 'the rows do not cover the edges');
  for (const row of items) if (row >= rows) throw corrupt(path, `row ${row} is not in the base`);
  for (const weight of weights) if (!(weight > 0)) throw corrupt(path, `an edge has the weight ${weight}`);
}

function bytesOf({ start, items, weights }: ItemGraphParts): Uint8Array[] {
  return [start, items, weights].map(
    ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  );
}
