// The exchange format of docs/DATA-FORMAT.md: one JSON object a line in posts, users, follows, blocks and events.jsonl;
// any of the files may be absent. What scripts/export.ts writes, this reads.
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../src/errors.ts';
import { type ByteRecord, decodeRecord, readByteRecords } from './byte-records.ts';
import { BatchBuilder, type ImportFormat } from './format.ts';

const ADD = {
  'posts.jsonl': (builder, value, file, row) => builder.addPost(value, file, row),
  'users.jsonl': (builder, value, file, row) => builder.addUser(value, file, row),
  'follows.jsonl': (builder, value, file, row) => builder.addFollow(value, file, row),
  'blocks.jsonl': (builder, value, file, row) => builder.addBlock(value, file, row),
  'events.jsonl': (builder, value, file, row) => builder.addEvent(value, file, row),
} satisfies Record<string, (builder: BatchBuilder, value: unknown, file: string, row: number) => void>;

export const jsonl: ImportFormat & { anyFile: true } = {
  files: Object.keys(ADD),
  anyFile: true,
  detectsLanguage: true,
  async *read(options) {
    const builder = new BatchBuilder(options);
    const present = Object.entries(ADD).filter(([file]) => existsSync(join(options.dir, file)));
    const sizes = await Promise.all(
      present.map(async ([file]) => (await stat(join(options.dir, file))).size),
    );
    const total = Math.max(
      1,
      sizes.reduce((sum, size) => sum + size, 0),
    );
    let before = 0;
    for (const [index, [file, add]] of present.entries()) {
      read: for await (const records of readByteRecords(join(options.dir, file), false)) {
        for (const record of records) {
          if (record.number > options.limit) break read;
          const value = parseLine(builder, file, record);
          if (value !== undefined) add(builder, value, file, record.number);
          if (builder.countRow()) yield builder.take((before + record.end) / total);
        }
      }
      before += sizes[index];
      yield builder.take(before / total);
    }
  },
};

/** undefined for an empty line and for one that was rejected. */
function parseLine(builder: BatchBuilder, file: string, { number, bytes }: ByteRecord): unknown {
  const decoded = decodeRecord(bytes);
  if ('problem' in decoded) {
    builder.reject(file, number, '(row)', decoded.problem);
    return undefined;
  }
  if (decoded.text.trim() === '') return undefined;
  try {
    return JSON.parse(decoded.text);
  } catch (error) {
    builder.reject(file, number, '(row)', `is not JSON: ${messageOf(error).slice(0, 120)}`);
    return undefined;
  }
}
