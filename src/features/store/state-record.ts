// One user's online state as bytes: a head that changes with every write (format, version, expiry) and the named parts.
// A record of another format is null. Called by the Redis and the LMDB adapter.
import { Buffer } from 'node:buffer';
import { PackedReader, PackedWriter } from './packed-bytes.ts';
import type { StateFields } from './state-fields.ts';

const FORMAT = 2;
/** Format, version and expiry as 48-bit integers. */
export const HEAD_BYTES = 13;

export interface StateRecord {
  /** Grows with every change. */
  version: number;
  expiresAtMs: number;
  fields: StateFields;
}

export function packHead({ version, expiresAtMs }: Pick<StateRecord, 'version' | 'expiresAtMs'>): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head[0] = FORMAT;
  head.writeUIntLE(version, 1, 6);
  head.writeUIntLE(expiresAtMs, 7, 6);
  return head;
}

/** Per part: name, length, bytes. */
export function packFields(fields: StateFields): Buffer {
  const out = new PackedWriter();
  for (const [name, value] of fields) {
    out.text(name);
    out.varint(value.length);
    out.bytes(value);
  }
  return out.take();
}

export function packRecord(record: StateRecord): Buffer {
  return Buffer.concat([packHead(record), packFields(record.fields)]);
}

/** Version and expiry alone; null where the bytes are no record of this format. */
export function unpackHead(bytes: Uint8Array | undefined | null): Omit<StateRecord, 'fields'> | null {
  if (!bytes || bytes.length < HEAD_BYTES || bytes[0] !== FORMAT) return null;
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, HEAD_BYTES);
  return { version: head.readUIntLE(1, 6), expiresAtMs: head.readUIntLE(7, 6) };
}

export function unpackRecord(bytes: Uint8Array | undefined | null): StateRecord | null {
  const head = unpackHead(bytes);
  if (!bytes || !head) return null;
  const fields: StateFields = new Map();
  const input = new PackedReader(bytes, HEAD_BYTES);
  while (input.left > 0 && input.ok) fields.set(input.text(), input.bytes(input.varint()));
  return input.isDone ? { ...head, fields } : null;
}
