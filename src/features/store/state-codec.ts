// Binary form of the parts of a user's online state. Every value opens with a format byte; whatever does not decode
// exactly (another version, a torn or foreign value) is null, never an exception. Called by state-fields.ts.
import { Buffer } from 'node:buffer';
import type { Edge, EdgeKind, HistoryEntry, User } from '../../contracts.ts';
import { DIM, EVENT_TYPES, HISTORY_LIMIT, SEEN_LIMIT } from '../../vocabulary.ts';

/** Raised when a layout below changes; older values then read as absent and are rebuilt from the SQL store. */
const FORMAT = 1;

/** Seen posts, oldest first: hash64 and unix seconds, three words each. */
export type SeenEntries = Uint32Array;
export const SEEN_WORDS = 3;

// ---------------------------------------------------------------- embedding: format, 3 zero bytes, DIM × float32 LE

const EMBEDDING_BYTES = 4 + DIM * 4;

export function encodeEmbedding(vector: Float32Array): Buffer {
  const bytes = Buffer.alloc(EMBEDDING_BYTES);
  bytes[0] = FORMAT;
  for (let i = 0; i < DIM; i++) bytes.writeFloatLE(vector[i], 4 + i * 4);
  return bytes;
}

export function decodeEmbedding(bytes: Uint8Array | null): Float32Array | null {
  if (!bytes || bytes.length !== EMBEDDING_BYTES || bytes[0] !== FORMAT) return null;
  const view = viewOf(bytes);
  const vector = new Float32Array(DIM);
  for (let i = 0; i < DIM; i++) {
    const value = view.getFloat32(4 + i * 4, true);
    if (!Number.isFinite(value)) return null;
    vector[i] = value;
  }
  return vector;
}

// ---------------------------------------------------------------- seen: format, 3 zero bytes, n × 3 words LE

export function encodeSeen(entries: SeenEntries): Buffer {
  const bytes = Buffer.alloc(4 + entries.length * 4);
  bytes[0] = FORMAT;
  for (let i = 0; i < entries.length; i++) bytes.writeUInt32LE(entries[i], 4 + i * 4);
  return bytes;
}

export function decodeSeen(bytes: Uint8Array | null): SeenEntries | null {
  if (!bytes || bytes.length < 4 || bytes[0] !== FORMAT) return null;
  const words = (bytes.length - 4) / 4;
  if (words % SEEN_WORDS !== 0 || words > SEEN_LIMIT * SEEN_WORDS) return null;
  const view = viewOf(bytes);
  const entries = new Uint32Array(words);
  for (let i = 0; i < words; i++) entries[i] = view.getUint32(4 + i * 4, true);
  return entries;
}

// ------------------------------- history: format, count, then per entry: type, at f64, dwell f64, three texts (u16, UTF-8)

const ENTRY_HEAD_BYTES = 1 + 8 + 8;

export function encodeHistory(history: readonly HistoryEntry[]): Buffer {
  const texts = history.map((entry) => [
    Buffer.from(entry.postId),
    Buffer.from(entry.authorId),
    Buffer.from(entry.topic),
  ]);
  const textBytes = texts.flat().reduce((sum, text) => sum + 2 + text.length, 0);
  const bytes = Buffer.alloc(2 + history.length * ENTRY_HEAD_BYTES + textBytes);
  bytes[0] = FORMAT;
  bytes[1] = history.length;
  let at = 2;
  history.forEach((entry, i) => {
    at = bytes.writeUInt8(EVENT_TYPES.indexOf(entry.type), at);
    at = bytes.writeDoubleLE(entry.at, at);
    at = bytes.writeDoubleLE(entry.dwellMs, at);
    for (const text of texts[i]) {
      at = bytes.writeUInt16LE(text.length, at);
      at += text.copy(bytes, at);
    }
  });
  return bytes;
}

export function decodeHistory(bytes: Uint8Array | null): HistoryEntry[] | null {
  if (!bytes || bytes.length < 2 || bytes[0] !== FORMAT || bytes[1] > HISTORY_LIMIT) return null;
  const view = viewOf(bytes);
  const history: HistoryEntry[] = [];
  let at = 2;
  const text = (): string | null => {
    if (at + 2 > bytes.length) return null;
    const start = at + 2;
    const end = start + view.getUint16(at, true);
    if (end > bytes.length) return null;
    at = end;
    try {
      return UTF8.decode(bytes.subarray(start, end));
    } catch {
      return null;
    }
  };
  for (let i = 0; i < bytes[1]; i++) {
    if (at + ENTRY_HEAD_BYTES > bytes.length) return null;
    const type = EVENT_TYPES[view.getUint8(at)];
    const atMs = view.getFloat64(at + 1, true);
    const dwellMs = view.getFloat64(at + 9, true);
    at += ENTRY_HEAD_BYTES;
    const postId = text();
    const authorId = postId === null ? null : text();
    const topic = authorId === null ? null : text();
    if (!type || postId === null || authorId === null || topic === null) return null;
    if (!Number.isFinite(atMs) || !Number.isFinite(dwellMs)) return null;
    history.push({ postId, authorId, topic, type, at: atMs, dwellMs });
  }
  return at === bytes.length ? history : null;
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

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
