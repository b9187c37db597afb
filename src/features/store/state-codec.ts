// Binary form of the parts of a user's online state. Every value but a vector opens with a format byte; whatever does not decode
// exactly (another version, a torn or foreign value) is null, never an exception. Called by state-fields.ts.
import { Buffer } from 'node:buffer';
import type { Edge, EdgeKind, User } from '../../contracts.ts';
import { DIM, SEEN_LIMIT } from '../../vocabulary.ts';
import { PackedReader, PackedWriter } from './packed-bytes.ts';

/** Raised when a layout changes; older values then read as absent and are rebuilt from the SQL store. */
export const FORMAT = 3;

/** Seen posts, oldest first: hash64 and unix seconds, three words each. */
export type SeenEntries = Uint32Array;
export const SEEN_WORDS = 3;

// ---------------------------------------- embedding: largest component f32, DIM × int16 LE in units of it ÷ 32767

const EMBEDDING_HEAD_BYTES = 4;
export const EMBEDDING_BYTES = EMBEDDING_HEAD_BYTES + DIM * 2;
const INT16_MAX = 32_767;

/** 16 bits a component: off by at most 1 ÷ 65534 of the largest one. */
export function encodeEmbedding(vector: Float32Array): Buffer {
  const bytes = Buffer.alloc(EMBEDDING_BYTES);
  let largest = 0;
  for (const value of vector) largest = Math.max(largest, Math.abs(value));
  bytes.writeFloatLE(largest, 0);
  const scale = largest === 0 ? 0 : INT16_MAX / largest;
  for (let i = 0; i < DIM; i++)
    bytes.writeInt16LE(Math.round(vector[i] * scale), EMBEDDING_HEAD_BYTES + i * 2);
  return bytes;
}

export function decodeEmbedding(bytes: Uint8Array | null): Float32Array | null {
  if (!bytes || bytes.length !== EMBEDDING_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const largest = view.getFloat32(0, true);
  if (!Number.isFinite(largest) || largest < 0) return null;
  const vector = new Float32Array(DIM);
  for (let i = 0; i < DIM; i++) {
    vector[i] = (view.getInt16(EMBEDDING_HEAD_BYTES + i * 2, true) / INT16_MAX) * largest;
  }
  return vector;
}

// ------------------- seen: format, then per run of one second: seconds since the run before, posts, hash64 of each

/** About 8 bytes a post where a page's posts share their second. */
export function encodeSeen(entries: SeenEntries): Buffer {
  const out = new PackedWriter();
  out.byte(FORMAT);
  let before = 0;
  for (let from = 0; from < entries.length; ) {
    const seconds = entries[from + 2];
    let to = from;
    while (to < entries.length && entries[to + 2] === seconds) to += SEEN_WORDS;
    out.varint(seconds - before);
    out.varint((to - from) / SEEN_WORDS);
    for (let i = from; i < to; i += SEEN_WORDS) {
      out.uint32(entries[i]);
      out.uint32(entries[i + 1]);
    }
    before = seconds;
    from = to;
  }
  return out.take();
}

export function decodeSeen(bytes: Uint8Array | null): SeenEntries | null {
  if (!bytes || bytes.length < 1 || bytes[0] !== FORMAT) return null;
  const input = new PackedReader(bytes, 1);
  // Every post takes eight bytes, and every run some more.
  const words = new Uint32Array(Math.floor(bytes.length / 8) * SEEN_WORDS);
  let to = 0;
  let seconds = 0;
  while (input.left > 0 && input.ok) {
    seconds += input.varint();
    const posts = input.varint();
    if (posts * 8 > input.left || seconds > 0xffffffff) return null;
    for (let left = posts; left > 0; left--) {
      words[to++] = input.uint32();
      words[to++] = input.uint32();
      words[to++] = seconds;
    }
  }
  return input.isDone && to <= SEEN_LIMIT * SEEN_WORDS ? words.subarray(0, to) : null;
}

// ---------------------------------------------------------------- profile and edges: format, JSON

export function encodeUser(user: User): Buffer {
  return encodeJson(user);
}

export function decodeUser(bytes: Uint8Array | null): User | null {
  const user = decodeJson(bytes) as User | null;
  return user && typeof user.id === 'string' && Number.isFinite(user.createdAt) ? user : null;
}

/** One list per kind, without the user's id: `{ follow: [[target, createdAt], …] }`. */
export function encodeEdges(edges: readonly Edge[]): Buffer {
  const byKind: Partial<Record<EdgeKind, [string, number][]>> = {};
  for (const edge of edges) (byKind[edge.kind] ??= []).push([edge.target, edge.createdAt]);
  return encodeJson(byKind);
}

export function decodeEdges(bytes: Uint8Array | null, userId: string): Edge[] | null {
  const byKind = decodeJson(bytes);
  if (byKind === null) return null;
  const edges: Edge[] = [];
  for (const [kind, list] of Object.entries(byKind)) {
    if (!Array.isArray(list)) return null;
    for (const item of list) {
      if (!Array.isArray(item) || typeof item[0] !== 'string' || typeof item[1] !== 'number') return null;
      edges.push({ userId, kind: kind as EdgeKind, target: item[0], createdAt: item[1] });
    }
  }
  return edges;
}

function encodeJson(value: unknown): Buffer {
  return Buffer.concat([Buffer.of(FORMAT), Buffer.from(JSON.stringify(value))]);
}

function decodeJson(bytes: Uint8Array | null): object | null {
  if (!bytes || bytes.length < 2 || bytes[0] !== FORMAT) return null;
  try {
    const value: unknown = JSON.parse(UTF8.decode(bytes.subarray(1)));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
