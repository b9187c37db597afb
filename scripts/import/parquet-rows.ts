// Rows of a parquet file, one row group in memory at a time, only the columns asked for. Called by the parquet formats.
import { basename } from 'node:path';
import { asyncBufferFromFile, parquetMetadataAsync, parquetRead } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { FeedrankError, messageOf } from '../../src/errors.ts';
import { requireColumns } from './csv-rows.ts';

export interface ParquetGroup {
  /** 0-based index of the group's first row in the file. */
  firstRow: number;
  rows: number;
  /** Rows of the whole file. */
  totalRows: number;
  /** Values by column name, each [rows]; 64-bit integers come as bigint, timestamps as Date, lists as arrays. */
  columns: Record<string, ArrayLike<unknown>>;
}

/** @throws FeedrankError(invalid_input) when the file is no parquet, is damaged, or lacks a column. */
export async function* parquetGroups(
  path: string,
  columns: readonly string[],
  limit: number,
): AsyncGenerator<ParquetGroup> {
  const name = basename(path);
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file).catch((error: unknown) => {
    throw new FeedrankError('invalid_input', `${name}: is not a readable parquet file (${messageOf(error)})`);
  });
  const present = metadata.schema.slice(1).map((element) => element.name);
  requireColumns(path, present, columns);
  const totalRows = Math.min(limit, Number(metadata.num_rows));
  let firstRow = 0;
  for (const group of metadata.row_groups) {
    const rows = Math.min(Number(group.num_rows), totalRows - firstRow);
    if (rows <= 0) return;
    const parts = new Map(
      columns.map((column) => [column, [] as { at: number; data: ArrayLike<unknown> }[]]),
    );
    try {
      await parquetRead({
        file,
        metadata,
        compressors,
        columns: [...columns],
        rowStart: firstRow,
        rowEnd: firstRow + rows,
        onChunk: ({ columnName, columnData, rowStart }) => {
          parts.get(columnName)?.push({ at: rowStart, data: columnData });
        },
      });
    } catch (error) {
      throw new FeedrankError(
        'invalid_input',
        `${name}: rows from ${firstRow + 1} on cannot be read (${messageOf(error)})`,
      );
    }
    const values: ParquetGroup['columns'] = {};
    for (const [column, chunks] of parts) values[column] = join(chunks, firstRow, rows);
    yield { firstRow, rows, totalRows, columns: values };
    firstRow += rows;
  }
}

/** One array of a group's values out of page-sized chunks. */
function join(chunks: { at: number; data: ArrayLike<unknown> }[], firstRow: number, rows: number): unknown[] {
  const all = new Array<unknown>(rows).fill(null);
  for (const { at, data } of chunks) {
    for (let i = 0; i < data.length; i++) {
      const row = at - firstRow + i;
      if (row >= 0 && row < rows) all[row] = data[i];
    }
  }
  return all;
}

/** Integer columns come as number or bigint: a plain number, NaN for anything else. */
export function toNumber(value: unknown): number {
  if (typeof value === 'number') return value;
  return typeof value === 'bigint' ? Number(value) : Number.NaN;
}

/** A column's value as a key; undefined when it is null. */
export function toKey(value: unknown): string | undefined {
  return value === null || value === undefined ? undefined : String(value);
}

/** Date or integer unix ms. */
export function toTime(value: unknown): number {
  return value instanceof Date ? value.getTime() : toNumber(value);
}

/** A list column's value as an array; a null list is empty. */
export function toList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
