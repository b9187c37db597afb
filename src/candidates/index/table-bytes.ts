// A table's rows as plain bytes, and what is derived from them: used to write, to read and to enlarge a table.
import { setImmediate as breathe } from 'node:timers/promises';
import { AUTHOR_BYTES, RECORD_BYTES } from '../../post-record.ts';
import { DIM } from '../../vocabulary.ts';
import { KEY_BYTES_PER_POST, PostTable } from './post-table.ts';
import { HEADER } from './table-layout.ts';
import { encodeRow } from './vector-codes.ts';

export interface TableBytes {
  vectors: Uint8Array;
  records: Uint8Array;
  /** Uint32 offsets of the ids, one more than rows. */
  offsets: Uint8Array;
  keys: Uint8Array;
  authors: Uint8Array;
}

/** Views, not copies. Little-endian, as every platform that Node runs on. */
export function tableBytes(table: PostTable, rows: number, authors: number, keyBytes: number): TableBytes {
  const { buffer, byteOffset } = table.vectors;
  return {
    vectors: new Uint8Array(buffer, byteOffset, rows * DIM * 4),
    records: new Uint8Array(table.records.u32.buffer, 0, rows * RECORD_BYTES),
    offsets: new Uint8Array(table.keys.handle.offsets, 0, (rows + 1) * 4),
    keys: new Uint8Array(table.keys.handle.bytes, 0, keyBytes),
    authors: new Uint8Array(table.authorTable.handle.dense, 0, authors * AUTHOR_BYTES),
  };
}

/**
 * Derives codes, key table and author table from rows whose bytes were put in place, then publishes the rows.
 * In slices, so that a process that serves another generation meanwhile goes on serving.
 */
export async function indexRows(table: PostTable, rows: number, authors: number): Promise<void> {
  const slice = 8192;
  for (let from = 0; from < authors; from += slice) {
    for (let author = from; author < Math.min(authors, from + slice); author++)
      table.authorTable.insert(author);
    await breathe();
  }
  table.header[HEADER.authors] = authors;
  for (let from = 0; from < rows; from += slice) {
    for (let row = from; row < Math.min(rows, from + slice); row++) {
      encodeRow(table.vectors, table.codes, row);
      table.keys.insert(row);
    }
    await breathe();
  }
  Atomics.store(table.header, HEADER.rows, rows);
}

/** The same rows in a table of another capacity. */
export async function enlarge(table: PostTable, capacity: number): Promise<PostTable> {
  const { rows } = table;
  const authors = table.authorTable.size;
  const keyBytes = table.keys.offsets[rows];
  const perKey = Math.max(KEY_BYTES_PER_POST, Math.ceil((1.25 * keyBytes) / Math.max(1, rows)));
  const larger = PostTable.create({
    generation: table.generation,
    baseRows: table.baseRows,
    capacity,
    keyBytes: keyBytes + (capacity - rows) * perKey,
  });
  const from = tableBytes(table, rows, authors, keyBytes);
  const to = tableBytes(larger, rows, authors, keyBytes);
  for (const part of Object.keys(from) as (keyof TableBytes)[]) to[part].set(from[part]);
  await indexRows(larger, rows, authors);
  return larger;
}
