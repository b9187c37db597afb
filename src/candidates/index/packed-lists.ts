// Codes in the order of the inverted lists: a list is then read from end to end, where its rows lie apart in memory
// otherwise (5 million posts: 20 ns a row against 3). Derived when a generation is loaded, kept up when a post changes.
import { setImmediate as breathe } from 'node:timers/promises';
import { DIM } from '../../vocabulary.ts';
import type { InvertedLists } from './inverted-lists.ts';
import { encodeRow } from './vector-codes.ts';

const SLICE_ROWS = 16_384;

export interface PackedLists extends InvertedLists {
  /** [lists, 64] 7-bit codes of the centroids. */
  centroidCodes: Uint8Array;
  /** [base rows, 64] codes of `rows`; null where the memory has no room for them. */
  codes: Uint8Array | null;
}

/** Fills what is derived from the lists and the rows' codes [rows, 64], in slices, so that a process goes on serving. */
export async function packLists(lists: PackedLists, codes: Uint8Array): Promise<void> {
  const { centroids, centroidCodes, rows } = lists;
  for (let list = 0; list * DIM < centroids.length; list++) encodeRow(centroids, centroidCodes, list);
  if (lists.codes === null) return;
  const from = words(codes);
  const to = words(lists.codes);
  for (let start = 0; start < rows.length; start += SLICE_ROWS) {
    const end = Math.min(rows.length, start + SLICE_ROWS);
    for (let position = start; position < end; position++) copyRow(from, rows[position], to, position);
    await breathe();
  }
}

/** Takes over the codes of one base row after its vector changed; it stays in its list until the next build. */
export function repackRow(lists: PackedLists, codes: Uint8Array, row: number): void {
  if (lists.codes === null) return;
  const position = positionOf(lists, row);
  if (position >= 0) copyRow(words(codes), row, words(lists.codes), position);
}

/** Where `row` lies in the order of the lists, by a binary search in each of them; −1 when it is in none. */
function positionOf({ offsets, rows }: InvertedLists, row: number): number {
  for (let list = 0; list + 1 < offsets.length; list++) {
    let low = offsets[list];
    let high = offsets[list + 1];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (rows[middle] < row) low = middle + 1;
      else high = middle;
    }
    if (low < offsets[list + 1] && rows[low] === row) return low;
  }
  return -1;
}

/** Eight bytes at a time, faster than a subarray and a set a row. Seven-bit codes never make a NaN, which could change. */
function words({ buffer, byteOffset, byteLength }: Uint8Array): Float64Array {
  return new Float64Array(buffer, byteOffset, byteLength / 8);
}

function copyRow(from: Float64Array, row: number, to: Float64Array, position: number): void {
  const source = row * (DIM / 8);
  const target = position * (DIM / 8);
  for (let i = 0; i < DIM / 8; i++) to[target + i] = from[source + i];
}
