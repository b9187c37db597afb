// Rows of a CSV file (RFC 4180) by column name, streamed. Called by the CSV formats.
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { FeedrankError } from '../../src/errors.ts';
import { decodeRecord, readByteRecords } from './byte-records.ts';

export interface CsvRow {
  /** 1-based, the header not counted. */
  row: number;
  values: Record<string, string>;
  /** Part of the file read, 0 to 1. */
  fraction: number;
}

/**
 * Rows with exactly the header's number of fields; others go to `reject`.
 * @throws FeedrankError(invalid_input) when a column of `required` is missing.
 */
export async function* csvRows(
  path: string,
  required: readonly string[],
  limit: number,
  reject: (row: number, field: string, reason: string) => void,
): AsyncGenerator<CsvRow> {
  const { size } = await stat(path);
  let header: string[] | null = null;
  for await (const records of readByteRecords(path, true)) {
    for (const { number, bytes, end } of records) {
      const row = number - 1;
      if (row > limit) return;
      const decoded = decodeRecord(bytes);
      if ('problem' in decoded) {
        reject(row, '(row)', decoded.problem);
        continue;
      }
      if (header && decoded.text === '') continue;
      const fields = splitCsv(decoded.text);
      if (!header) {
        header = fields;
        requireColumns(path, header, required);
        continue;
      }
      if (fields.length !== header.length) {
        reject(row, '(row)', `has ${fields.length} fields, the header has ${header.length}`);
        continue;
      }
      const values: Record<string, string> = {};
      for (let i = 0; i < fields.length; i++) values[header[i]] = fields[i];
      yield { row, values, fraction: end / size };
    }
  }
  if (!header) requireColumns(path, [], required);
}

export function requireColumns(path: string, present: readonly string[], required: readonly string[]): void {
  const missing = required.filter((column) => !present.includes(column));
  if (missing.length > 0) {
    throw new FeedrankError('invalid_input', `${basename(path)}: column ${missing.join(', ')} is missing`);
  }
}

/** Fields of one record; quotes around a field go, doubled quotes inside become one. */
export function splitCsv(text: string): string[] {
  if (!text.includes('"')) return text.split(',');
  const fields: string[] = [];
  for (let at = 0; at <= text.length; ) {
    if (text[at] !== '"') {
      const comma = text.indexOf(',', at);
      const end = comma < 0 ? text.length : comma;
      fields.push(text.slice(at, end));
      at = end + 1;
      continue;
    }
    let field = '';
    for (at++; at < text.length; at++) {
      if (text[at] !== '"') field += text[at];
      else if (text[at + 1] === '"') field += text[++at];
      else break;
    }
    fields.push(field);
    const comma = text.indexOf(',', at);
    at = comma < 0 ? text.length + 1 : comma + 1;
  }
  return fields;
}
