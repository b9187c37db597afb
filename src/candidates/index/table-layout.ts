// Where everything of one generation's posts lies in shared memory; the only place that does the arithmetic.
// One WebAssembly memory holds what the search reads: header page, scratch slots, bitmap, codes, vectors, lists. Records
// lie in a memory of their own, since 4 GiB is all that the kernel can address.
import { FeedrankError, invalid } from '../../errors.ts';
import { DIM } from '../../vocabulary.ts';

const PAGE = 65_536;
/** A WebAssembly memory ends at 4 GiB. */
const MAX_PAGES = 65_536;
const MAX_BYTES = MAX_PAGES * PAGE;

/** Header words (Int32, atomic). */
export const HEADER = {
  rows: 0,
  deleted: 1,
  deletedInBase: 2,
  scratchSlots: 3,
  authors: 4,
  keyBytes: 5,
} as const;

/** Rows that one search may return. */
export const MAX_HITS = 8192;
/**
 * Scan candidates kept for the float32 re-score, per row asked for: recall@1000 .99994 at 1.1 (1.05 .9998, 1.5 1.0;
 * 100,000 generated posts), and the re-score is half of a search by inverted lists.
 */
const RESCORE_FACTOR = 1.1;
/** Kept beyond that, so that a small k loses nothing to the coarse codes. */
const RESCORE_EXTRA = 64;
const BUFFER_FACTOR = 2;
const MAX_KEPT = keptFor(MAX_HITS);
/** Views of one memory that may scan at a time, one per thread that opens it. */
export const SCRATCH_SLOTS = 64;

/** Byte offsets within one scratch slot. */
export const SCRATCH = {
  query: 0,
  queryCodes: DIM * 4,
  rows: 512,
  similarity: 512 + MAX_HITS * 4,
  /** Of the sort and of the selection, u32[4, 256]. */
  histogram: 512 + MAX_HITS * 8,
  buffer: 512 + MAX_HITS * 8 + 4096,
} as const;
const SCRATCH_BYTES = align(SCRATCH.buffer + bufferLength(MAX_KEPT) * 8);

/** Candidates that the scan keeps for `k` hits. */
export function keptFor(k: number): number {
  return Math.ceil(k * RESCORE_FACTOR) + RESCORE_EXTRA;
}

/** Length of the candidate buffer for `keep` kept candidates. */
export function bufferLength(keep: number): number {
  return BUFFER_FACTOR * keep + 64;
}

export interface MemoryLayout {
  capacity: number;
  scratch: number;
  deleted: number;
  codes: number;
  vectors: number;
  /** Inverted lists: centroids, offsets, rows; nothing where `lists` is null. */
  lists: ListsLayout | null;
  pages: number;
}

export interface ListsLayout {
  count: number;
  /** Base rows in the lists. */
  rows: number;
  /** Byte offsets of f32[count, 64], u32[count + 1] and u32[rows]. */
  centroidsAt: number;
  offsetsAt: number;
  rowsAt: number;
  /** 7-bit codes of the centroids, u8[count, 64], and of the rows in the order of `rowsAt`; null without room for these. */
  centroidCodesAt: number;
  codesAt: number | null;
}

/** Size of inverted lists, null where a generation has none. */
export type ListsSize = { count: number; rows: number } | null;

/** Byte offsets for `capacity` rows. Throws invalid_input where they do not fit 4 GiB (about 13.2 million rows). */
export function memoryLayout(capacity: number, listsSize: ListsSize = null): MemoryLayout {
  if (!Number.isInteger(capacity) || capacity < 1)
    throw invalid('capacity', 'must be a whole number of rows ≥ 1');
  const scratch = PAGE;
  const deleted = scratch + SCRATCH_SLOTS * SCRATCH_BYTES;
  const codes = align(deleted + Math.ceil(capacity / 8));
  const vectors = align(codes + capacity * DIM);
  const listsAt = align(vectors + capacity * DIM * 4);
  const lists = listsSize && listsLayout(listsSize, listsAt);
  let end = listsAt + listsBytes(listsSize);
  if (lists && end + lists.rows * DIM <= MAX_BYTES) {
    lists.codesAt = end;
    end += lists.rows * DIM;
  }
  if (end > MAX_BYTES) {
    throw invalid(
      'capacity',
      `${capacity} rows need ${end} bytes; one generation holds at most ${MAX_BYTES}`,
    );
  }
  return { capacity, scratch, deleted, codes, vectors, lists, pages: Math.ceil(end / PAGE) };
}

function listsLayout({ count, rows }: NonNullable<ListsSize>, at: number): ListsLayout {
  const offsetsAt = at + count * DIM * 4;
  const rowsAt = align(offsetsAt + (count + 1) * 4);
  const centroidCodesAt = align(rowsAt + rows * 4);
  return { count, rows, centroidsAt: at, offsetsAt, rowsAt, centroidCodesAt, codesAt: null };
}

function listsBytes(size: ListsSize): number {
  if (size === null) return 0;
  return align(size.count * DIM * 4 + (size.count + 1) * 4) + align(size.rows * 4) + size.count * DIM;
}

/** The largest capacity ≤ `wanted` that fits one memory; `packed`: with the codes in the order of the lists as well. */
export function largestCapacity(wanted: number, lists: ListsSize = null, packed = false): number {
  const perRow = DIM + DIM * 4 + 1 / 8;
  const fixed =
    PAGE +
    SCRATCH_SLOTS * SCRATCH_BYTES +
    listsBytes(lists) +
    (packed && lists ? lists.rows * DIM : 0) +
    1024;
  return Math.min(wanted, Math.floor((MAX_BYTES - fixed) / perRow));
}

export function scratchOffset(layout: MemoryLayout, slot: number): number {
  if (slot >= SCRATCH_SLOTS) {
    throw new FeedrankError('overloaded', `more than ${SCRATCH_SLOTS} threads opened one generation`);
  }
  return layout.scratch + slot * SCRATCH_BYTES;
}

/** Memory reserved, touched only as rows are written. Throws overloaded when the machine refuses it. */
export function allocateMemory(layout: MemoryLayout): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: layout.pages, maximum: layout.pages, shared: true });
  } catch (cause) {
    throw new FeedrankError('overloaded', `cannot reserve ${layout.pages * PAGE} bytes for the catalogue`, {
      cause,
    });
  }
}

/** Bytes that several threads share, reserved and touched only as they are written. Throws overloaded. */
export function sharedBytes(bytes: number, what: string): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(bytes);
  } catch (cause) {
    throw new FeedrankError('overloaded', `cannot reserve ${bytes} bytes for ${what}`, { cause });
  }
}

/** Slots of an open-addressed table at load ≤ ½. */
export function tableSlots(entries: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(16, entries * 2)));
}

function align(bytes: number): number {
  return Math.ceil(bytes / 64) * 64;
}
