// One user's online state as bytes: a head that changes with every write (format, version, expiry) and the named parts.
// A record of another format is null. Called by the Redis and the LMDB adapter.
import { Buffer } from 'node:buffer';
import { PackedReader, PackedWriter } from './packed-bytes.ts';
import { EMBEDDING_BYTES, FORMAT } from './state-codec.ts';
import type { StateFields } from './state-fields.ts';

/** Versions count steps of 20 µs: shorter than any round trip to a store, and 48 bits of them last until the year 2148. */
export const VERSIONS_A_MS = 50;

/** Format, version (48 bits), time to live (16 bits). */
export const HEAD_BYTES = 9;
/** A time to live is kept to 11 bits, rounded up by .1 % at most, and the power of two that they stand for. */
const TTL_BITS = 11;
const POWER_BITS = 5;

const VECTOR_TAG = 'e'.charCodeAt(0);
/** Other parts have names of one character. */
const TAGS = 'hsug';

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
  head.writeUInt16LE(packTtl(expiresAtMs - writtenAtMs(version)), 7);
  return head;
}

/** A version is a clock's time unless that stood still: `nextVersion` in state-fields.ts. */
function writtenAtMs(version: number): number {
  return Math.floor(version / VERSIONS_A_MS);
}

function packTtl(ms: number): number {
  const wanted = Math.min(2 ** 42, Math.max(0, ms));
  let power = 0;
  while (Math.ceil(wanted / 2 ** power) >= 2 ** TTL_BITS) power++;
  return (Math.ceil(wanted / 2 ** power) << POWER_BITS) | power;
}

function unpackTtl(packed: number): number {
  return (packed >>> POWER_BITS) * 2 ** (packed & (2 ** POWER_BITS - 1));
}

/** Per part a tag, then of a vector its tower's hash, of any other its length, then the bytes. */
export function packFields(fields: StateFields): Buffer {
  const out = new PackedWriter();
  for (const [name, value] of fields) {
    out.byte(name.charCodeAt(0));
    if (name.charCodeAt(0) === VECTOR_TAG) out.uint32(Number(name.slice(1)));
    else out.varint(value.length);
    out.bytes(value);
  }
  return out.take();
}

function unpackFields(input: PackedReader): StateFields | null {
  const fields: StateFields = new Map();
  while (input.left > 0 && input.ok) {
    const tag = input.byte();
    const name = String.fromCharCode(tag);
    if (tag === VECTOR_TAG) fields.set(`${name}${input.uint32()}`, input.bytes(EMBEDDING_BYTES));
    else if (TAGS.includes(name)) fields.set(name, input.bytes(input.varint()));
    else return null;
  }
  return input.isDone ? fields : null;
}

export function packRecord(record: StateRecord): Buffer {
  return Buffer.concat([packHead(record), packFields(record.fields)]);
}

/** Version and expiry alone; null where the bytes are no record of this format. */
export function unpackHead(bytes: Uint8Array | undefined | null): Omit<StateRecord, 'fields'> | null {
  if (!bytes || bytes.length < HEAD_BYTES || bytes[0] !== FORMAT) return null;
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, HEAD_BYTES);
  const version = head.readUIntLE(1, 6);
  return { version, expiresAtMs: writtenAtMs(version) + unpackTtl(head.readUInt16LE(7)) };
}

export function unpackRecord(bytes: Uint8Array | undefined | null): StateRecord | null {
  const head = unpackHead(bytes);
  if (!bytes || !head) return null;
  const fields = unpackFields(new PackedReader(bytes, HEAD_BYTES));
  return fields && { ...head, fields };
}
