// Packs named binary fields into one LMDB record and back: format byte, then per field u8 name length, name,
// u32 value length, value. A record of another format is null. Called by lmdb-state-store.ts.
import { Buffer } from 'node:buffer';
import type { StateFields } from './state-fields.ts';

const FORMAT = 1;

export function packFields(fields: StateFields): Buffer {
  const names = [...fields.keys()].map((name) => Buffer.from(name));
  let bytes = 1;
  let i = 0;
  for (const value of fields.values()) bytes += 5 + names[i++].length + value.length;
  const record = Buffer.alloc(bytes);
  record[0] = FORMAT;
  let at = 1;
  i = 0;
  for (const value of fields.values()) {
    const name = names[i++];
    at = record.writeUInt8(name.length, at);
    at += name.copy(record, at);
    at = record.writeUInt32LE(value.length, at);
    record.set(value, at);
    at += value.length;
  }
  return record;
}

export function unpackFields(record: Uint8Array | undefined | null): StateFields | null {
  if (!record || record.length < 1 || record[0] !== FORMAT) return null;
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const fields: StateFields = new Map();
  let at = 1;
  while (at < bytes.length) {
    const nameEnd = at + 1 + bytes[at];
    if (nameEnd + 4 > bytes.length) return null;
    const valueEnd = nameEnd + 4 + bytes.readUInt32LE(nameEnd);
    if (valueEnd > bytes.length) return null;
    fields.set(bytes.toString('utf8', at + 1, nameEnd), bytes.subarray(nameEnd + 4, valueEnd));
    at = valueEnd;
  }
  return fields;
}
