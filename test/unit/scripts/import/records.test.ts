import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { decodeRecord, MAX_RECORD_BYTES, readByteRecords } from '../../../../scripts/import/byte-records.ts';
import { csvRows, splitCsv } from '../../../../scripts/import/csv-rows.ts';
import { parquetGroups } from '../../../../scripts/import/parquet-rows.ts';

const dir = mkdtempSync(join(tmpdir(), 'feedrank-records-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, content: string | Buffer): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}

async function records(path: string, quotes = false) {
  const all: { number: number; text: string }[] = [];
  for await (const batch of readByteRecords(path, quotes)) {
    for (const { number, bytes } of batch) {
      const decoded = decodeRecord(bytes);
      all.push({ number, text: 'text' in decoded ? decoded.text : `! ${decoded.problem}` });
    }
  }
  return all;
}

describe('records of a file', () => {
  test('the last line needs no newline, CRLF and a byte order mark go', async () => {
    expect(await records(file('a', '\ufeffone\r\n\ntwo'))).toEqual([
      { number: 1, text: 'one' },
      { number: 2, text: '' },
      { number: 3, text: 'two' },
    ]);
  });

  test('lines that cross the read buffer stay whole', async () => {
    const lines = Array.from({ length: 60 }, (_, i) => `${i}`.repeat(9_000));
    expect((await records(file('b', lines.join('\n')))).map(({ text }) => text)).toEqual(lines);
  });

  test('a line above the limit is named and the next one is read', async () => {
    const all = await records(file('c', `a\n${'x'.repeat(3 * MAX_RECORD_BYTES)}\nb\n`));
    expect(all.map(({ text }) => text)).toEqual(['a', `! is longer than ${MAX_RECORD_BYTES} bytes`, 'b']);
  });

  test('broken UTF-8 is named, not repaired', async () => {
    const all = await records(file('d', Buffer.from([0x61, 0x0a, 0xc3, 0x28, 0x0a, 0x62])));
    expect(all.map(({ text }) => text)).toEqual(['a', '! is not valid UTF-8', 'b']);
  });

  test('a newline within quotes does not end a CSV record', async () => {
    expect((await records(file('e', 'a,"b\nc"\nd,e\n'), true)).map(({ text }) => text)).toEqual([
      'a,"b\nc"',
      'd,e',
    ]);
  });
});

describe('CSV', () => {
  test('any fields written with quotes are read back', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1, maxLength: 6 }), (fields) => {
        const line = fields.map((field) => `"${field.replaceAll('"', '""')}"`).join(',');
        expect(splitCsv(line)).toEqual(fields);
      }),
    );
  });

  test('plain, quoted and empty fields mix', () => {
    expect(splitCsv('1,"a, b",,"say ""hi""",')).toEqual(['1', 'a, b', '', 'say "hi"', '']);
  });

  test('a row of the wrong width is rejected by its number and the others come', async () => {
    const rejects: unknown[] = [];
    const rows: unknown[] = [];
    const path = file('f.csv', 'id,name\n1,a\n2\n3,c\n');
    for await (const { row, values } of csvRows(path, ['id', 'name'], 100, (...reject) =>
      rejects.push(reject),
    )) {
      rows.push([row, values.id, values.name]);
    }
    expect(rows).toEqual([
      [1, '1', 'a'],
      [3, '3', 'c'],
    ]);
    expect(rejects).toEqual([[2, '(row)', 'has 1 fields, the header has 2']]);
  });

  test.each([['id\n1\n'], ['']])('a missing column is an error that names it (%#)', async (content) => {
    const rows = csvRows(file('g.csv', content), ['id', 'name'], 100, () => {});
    await expect(rows.next()).rejects.toThrow(/g\.csv: column (id, )?name is missing/);
  });
});

test.each([Buffer.from('not a parquet file at all'), Buffer.alloc(0), Buffer.from('PAR1PAR1')])(
  'a file that is no parquet is an error that names it (%#)',
  async (content) => {
    const groups = parquetGroups(file('h.parquet', content), ['id'], 100);
    await expect(groups.next()).rejects.toThrow(/h\.parquet: is not a readable parquet file/);
  },
);
