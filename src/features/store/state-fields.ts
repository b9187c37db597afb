// A user's online state as named binary fields, and the pure merge of a patch into them: the one place that says
// what a patch means, shared by the Redis and the LMDB adapter.
import type { HistoryEntry, UserState, UserStatePatch } from '../../contracts.ts';
import { FeedrankError, invalid } from '../../errors.ts';
import { hash64 } from '../../hashing.ts';
import { DIM, EVENT_TYPES, HISTORY_LIMIT, SEEN_LIMIT, SEEN_TTL_MS } from '../../vocabulary.ts';
import {
  decodeEdges,
  decodeEmbedding,
  decodeHistory,
  decodeSeen,
  decodeUser,
  encodeEdges,
  encodeEmbedding,
  encodeHistory,
  encodeSeen,
  encodeUser,
  SEEN_WORDS,
  type SeenEntries,
} from './state-codec.ts';
import { checkKey, checkText, checkTime } from './storable.ts';

/** Field names as stored: `v` version, `x` expiry, `h` history, `s` seen, `u` profile, `g` edges, `e:<tower>` vectors. */
export type StateFields = Map<string, Uint8Array>;

/** Field names have one length byte in an LMDB record. */
const TOWER_LIMIT_BYTES = 200;

export const VERSION_FIELD = 'v';
export const EXPIRY_FIELD = 'x';

/** What a read of one user needs, in the order of readState's `values`. */
export function fieldsToRead(tower: string): string[] {
  return [VERSION_FIELD, EXPIRY_FIELD, embeddingField(tower), 'h', 's', 'u', 'g'];
}

/** Fields that a merge must know before it can write; empty where the patch only replaces. */
export function fieldsToMerge(patch: UserStatePatch): string[] {
  const fields: string[] = [];
  if (patch.history?.length || patch.forget?.length) fields.push('h');
  if (patch.seen?.postIds.length) fields.push('s');
  return fields;
}

/** null when there is no state, when it has expired, or when it was written by another version of this program. */
export function readState(
  userId: string,
  tower: string,
  get: (field: string) => Uint8Array | null,
  nowMs: number,
): UserState | null {
  const version = decodeNumber(get(VERSION_FIELD));
  const expiresAtMs = decodeNumber(get(EXPIRY_FIELD));
  if (version === null || expiresAtMs === null || expiresAtMs <= nowMs) return null;
  return {
    version,
    embedding: decodeEmbedding(get(embeddingField(tower))),
    history: decodeHistory(get('h')) ?? [],
    seen: seenHashes(decodeSeen(get('s')), nowMs),
    user: decodeUser(get('u')),
    edges: decodeEdges(get('g'), userId) ?? [],
  };
}

/** The fields that a patch writes, given the present values of `fieldsToMerge`. */
export function mergePatch(
  patch: UserStatePatch,
  get: (field: string) => Uint8Array | null,
  nowMs: number,
): StateFields {
  const written: StateFields = new Map();
  if (patch.embedding) {
    written.set(embeddingField(patch.embedding.tower), encodeEmbedding(patch.embedding.vector));
  }
  if (patch.history?.length || patch.forget?.length) {
    const present = decodeHistory(get('h')) ?? [];
    written.set('h', encodeHistory(mergeHistory(present, patch.history ?? [], patch.forget ?? [])));
  }
  if (patch.seen?.postIds.length) {
    written.set('s', encodeSeen(mergeSeen(decodeSeen(get('s')), patch.seen, nowMs)));
  }
  if (patch.user) written.set('u', encodeUser(patch.user));
  if (patch.edges) written.set('g', encodeEdges(patch.edges));
  return written;
}

/** Throws FeedrankError(invalid_input) that names the field. */
export function checkPatch(userId: string, patch: UserStatePatch): void {
  checkKey(userId, 'userId');
  if (patch.embedding) {
    checkKey(patch.embedding.tower, 'embedding.tower');
    if (Buffer.byteLength(patch.embedding.tower) > TOWER_LIMIT_BYTES) {
      throw invalid('embedding.tower', `must be at most ${TOWER_LIMIT_BYTES} bytes`);
    }
    const vector = patch.embedding.vector;
    if (!(vector instanceof Float32Array) || vector.length !== DIM) {
      throw invalid('embedding.vector', `must be a Float32Array of ${DIM} numbers`);
    }
    if (!vector.every(Number.isFinite)) throw invalid('embedding.vector', 'must hold finite numbers');
  }
  patch.history?.forEach((entry, i) => {
    checkKey(entry.postId, `history[${i}].postId`);
    checkKey(entry.authorId, `history[${i}].authorId`);
    checkText(entry.topic, `history[${i}].topic`);
    if (Buffer.byteLength(entry.topic) > 0xffff) throw invalid(`history[${i}].topic`, 'is too long');
    if (!EVENT_TYPES.includes(entry.type)) throw invalid(`history[${i}].type`, 'must be an event type');
    checkTime(entry.at, `history[${i}].at`);
    if (!Number.isFinite(entry.dwellMs)) throw invalid(`history[${i}].dwellMs`, 'must be a number');
  });
  if (patch.seen) {
    checkTime(patch.seen.atMs, 'seen.atMs');
    patch.seen.postIds.forEach((id, i) => {
      checkKey(id, `seen.postIds[${i}]`);
    });
  }
  if (patch.user) {
    checkKey(patch.user.id, 'user.id');
    checkTime(patch.user.createdAt, 'user.createdAt');
  }
}

/** Checks a bulk write; fields are named `states[i].…`. */
export function checkPatches(patches: readonly (UserStatePatch & { userId: string })[]): void {
  patches.forEach((patch, i) => {
    try {
      checkPatch(patch.userId, patch);
    } catch (error) {
      if (!(error instanceof FeedrankError) || error.fields.length === 0) throw error;
      throw invalid(`states[${i}].${error.fields[0].field}`, error.fields[0].reason);
    }
  });
}

/** Grows with every change, across expiry and erasure too: the clock, or one more where the clock stood still. */
export function nextVersion(present: number | null, nowMs: number): number {
  return Math.max((present ?? 0) + 1, Math.floor(nowMs));
}

/** Numbers are decimal text in both stores, so that Redis's scripts can read them. */
export function encodeNumber(value: number): Uint8Array {
  return Buffer.from(String(value));
}

export function decodeNumber(bytes: Uint8Array | null): number | null {
  if (!bytes || bytes.length === 0 || bytes.length > 20) return null;
  const text = Buffer.from(bytes).toString('latin1');
  return /^\d{1,16}$/.test(text) ? Number(text) : null;
}

function embeddingField(tower: string): string {
  return `e:${tower}`;
}

/** Newest first, one entry per (post, type), at most HISTORY_LIMIT. `forget` is applied last. */
function mergeHistory(
  present: readonly HistoryEntry[],
  added: readonly HistoryEntry[],
  forget: readonly { postId: string; type: string }[],
): HistoryEntry[] {
  const byKey = new Map<string, HistoryEntry>();
  for (const entry of [...present, ...added]) {
    const key = `${entry.type} ${entry.postId}`;
    const other = byKey.get(key);
    if (!other || entry.at >= other.at) byKey.set(key, entry);
  }
  for (const { type, postId } of forget) byKey.delete(`${type} ${postId}`);
  return [...byKey.values()]
    .sort((a, b) => b.at - a.at || compare(a.postId, b.postId) || compare(a.type, b.type))
    .slice(0, HISTORY_LIMIT);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Oldest first, one entry a post with its latest time, expired ones gone, the newest SEEN_LIMIT kept. */
function mergeSeen(
  present: SeenEntries | null,
  added: { postIds: readonly string[]; atMs: number },
  nowMs: number,
): SeenEntries {
  const latest = new Map<string, [lo: number, hi: number, seconds: number]>();
  const put = (lo: number, hi: number, seconds: number) => {
    const key = `${lo}:${hi}`;
    const other = latest.get(key);
    if (other && other[2] > seconds) return;
    latest.delete(key);
    latest.set(key, [lo, hi, seconds]);
  };
  for (let i = 0; present && i < present.length; i += SEEN_WORDS) {
    put(present[i], present[i + 1], present[i + 2]);
  }
  const addedSeconds = Math.min(0xffffffff, Math.max(0, Math.floor(added.atMs / 1000)));
  for (const id of added.postIds) {
    const { lo, hi } = hash64(id);
    put(lo, hi, addedSeconds);
  }
  const kept = [...latest.values()]
    .filter((entry) => isFresh(entry[2], nowMs))
    .sort((a, b) => a[2] - b[2])
    .slice(-SEEN_LIMIT);
  return Uint32Array.from(kept.flat());
}

function seenHashes(entries: SeenEntries | null, nowMs: number): Uint32Array {
  if (!entries) return new Uint32Array(0);
  let from = 0;
  while (from < entries.length && !isFresh(entries[from + 2], nowMs)) from += SEEN_WORDS;
  const hashes = new Uint32Array(((entries.length - from) / SEEN_WORDS) * 2);
  for (let i = from, to = 0; i < entries.length; i += SEEN_WORDS) {
    hashes[to++] = entries[i];
    hashes[to++] = entries[i + 1];
  }
  return hashes;
}

function isFresh(seconds: number, nowMs: number): boolean {
  return seconds * 1000 + SEEN_TTL_MS > nowMs;
}
