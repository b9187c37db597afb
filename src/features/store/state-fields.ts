// A user's online state as named binary fields, and the pure merge of a patch into them: the one place that says
// what a patch means, shared by the Redis and the LMDB adapter.
import type { HistoryEntry, UserState, UserStatePatch } from '../../contracts.ts';
import { FeedrankError, invalid } from '../../errors.ts';
import { hash32, hash64 } from '../../hashing.ts';
import { DIM, EVENT_TYPES, HISTORY_LIMIT, SEEN_LIMIT, SEEN_TTL_MS } from '../../vocabulary.ts';
import { decodeHistory, encodeHistory } from './history-codec.ts';
import {
  decodeEdges,
  decodeEmbedding,
  decodeSeen,
  decodeUser,
  encodeEdges,
  encodeEmbedding,
  encodeSeen,
  encodeUser,
  SEEN_WORDS,
  type SeenEntries,
} from './state-codec.ts';
import { type StateRecord, VERSIONS_A_MS } from './state-record.ts';
import { checkKey, checkTime } from './storable.ts';

/** Parts as stored: `h` history, `s` seen posts, `u` profile, `g` edges, `e<hash>` a tower's vector, the newest written last. */
export type StateFields = Map<string, Uint8Array>;

/** A part's name is short in every record. */
const TOWER_LIMIT_BYTES = 200;
/** Vectors of so many towers are kept: the one that serves, and the one that is filled beside it to serve next. */
const TOWERS_KEPT = 2;

export const SEEN_FIELD = 's';

/** The part's record need not be read to be written. */
export function isSeenOnly(patch: UserStatePatch): boolean {
  const { embedding, history, forget, user, edges } = patch;
  return !embedding && !history?.length && !forget?.length && !user && !edges;
}

/** null when there is no state, when it has expired, or when it was written by another version of this program. */
export function readState(
  userId: string,
  tower: string,
  record: StateRecord | null,
  seen: Uint8Array | null,
  nowMs: number,
): UserState | null {
  if (record === null || record.expiresAtMs <= nowMs) return null;
  const get = (field: string) => record.fields.get(field) ?? null;
  return {
    version: record.version,
    embedding: decodeEmbedding(get(embeddingField(tower))),
    history: (decodeHistory(get('h')) ?? []).filter((entry) => entry.type !== 'unlike'),
    seen: seenHashes(decodeSeen(seen), nowMs),
    user: decodeUser(get('u')),
    edges: decodeEdges(get('g'), userId) ?? [],
  };
}

/** Applies a patch to the parts of one user. */
export function applyPatch(patch: UserStatePatch, fields: StateFields, nowMs: number): void {
  const { embedding } = patch;
  if (embedding) {
    fields.delete(embeddingField(embedding.tower));
    fields.set(embeddingField(embedding.tower), encodeEmbedding(embedding.vector));
    const vectors = [...fields.keys()].filter((name) => name.startsWith(EMBEDDING_PREFIX));
    for (const name of vectors.slice(0, -TOWERS_KEPT)) fields.delete(name);
  }
  if (patch.history?.length || patch.forget?.length) {
    const present = decodeHistory(fields.get('h') ?? null) ?? [];
    fields.set('h', encodeHistory(mergeHistory(present, patch.history ?? [], patch.forget ?? [])));
  }
  if (patch.seen?.postIds.length) {
    const present = decodeSeen(fields.get(SEEN_FIELD) ?? null);
    fields.set(SEEN_FIELD, encodeSeen(mergeSeen(present, patch.seen, nowMs)));
  }
  if (patch.user) fields.set('u', encodeUser(patch.user));
  if (patch.edges) fields.set('g', encodeEdges(patch.edges));
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
    if (!(entry.topic >>> 0 === entry.topic))
      throw invalid(`history[${i}].topic`, 'must be a hash of 32 bits');
    if (!EVENT_TYPES.includes(entry.type)) throw invalid(`history[${i}].type`, 'must be an event type');
    checkTime(entry.at, `history[${i}].at`);
    if (!Number.isFinite(entry.dwellMs)) throw invalid(`history[${i}].dwellMs`, 'must be a number');
  });
  if (patch.seen) {
    const { postIds, atMs } = patch.seen;
    if (typeof atMs === 'number') checkTime(atMs, 'seen.atMs');
    else if (atMs?.length !== postIds.length) throw invalid('seen.atMs', 'must hold one time for each post');
    postIds.forEach((id, i) => {
      checkKey(id, `seen.postIds[${i}]`);
      if (typeof atMs !== 'number') checkTime(atMs[i], `seen.atMs[${i}]`);
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
export function nextVersion(present: number | null): number {
  const nowMs = performance.timeOrigin + performance.now();
  return Math.max((present ?? 0) + 1, Math.floor(nowMs * VERSIONS_A_MS));
}

const EMBEDDING_PREFIX = 'e';

/** A tower's name takes four bytes of every record. */
function embeddingField(tower: string): string {
  return `${EMBEDDING_PREFIX}${hash32(tower)}`;
}

/**
 * Newest first, one entry per (post, type), at most HISTORY_LIMIT of engagements and of un-likes. A like that is not
 * newer than the un-like of its post is dropped, in whatever order they come. `forget` is applied last.
 */
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
  const unlikes = [...byKey.values()].filter((entry) => entry.type === 'unlike');
  for (const { postId, at } of unlikes) {
    const like = byKey.get(`like ${postId}`);
    if (like && like.at <= at) byKey.delete(`like ${postId}`);
  }
  const newest = (entries: HistoryEntry[]) =>
    entries
      .sort((a, b) => b.at - a.at || compare(a.postId, b.postId) || compare(a.type, b.type))
      .slice(0, HISTORY_LIMIT);
  return [...newest([...byKey.values()].filter((entry) => entry.type !== 'unlike')), ...newest(unlikes)];
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Oldest first, one entry a post with its latest time, expired ones gone, the newest SEEN_LIMIT kept. Every page that is
 * served ends here: no text and no sort of what is there already.
 */
function mergeSeen(
  present: SeenEntries | null,
  added: { postIds: readonly string[]; atMs: number | readonly number[] },
  nowMs: number,
): SeenEntries {
  const news = newSeen(added);
  const kept = new Uint32Array((present?.length ?? 0) + news.size * SEEN_WORDS);
  let to = 0;
  const keep = (lo: number, hi: number, seconds: number) => {
    if (!isFresh(seconds, nowMs)) return;
    kept[to++] = lo;
    kept[to++] = hi;
    kept[to++] = seconds;
  };
  for (let i = 0; present && i < present.length; i += SEEN_WORDS) {
    const key = pairKey(present[i], present[i + 1]);
    const newer = news.get(key);
    if (newer && present[i + 2] > newer.seconds) news.delete(key);
  }
  const inOrder = [...news.values()].sort((a, b) => a.seconds - b.seconds);
  let next = 0;
  for (let i = 0; present && i < present.length; i += SEEN_WORDS) {
    const [lo, hi, seconds] = [present[i], present[i + 1], present[i + 2]];
    for (; next < inOrder.length && inOrder[next].seconds < seconds; next++) {
      keep(inOrder[next].lo, inOrder[next].hi, inOrder[next].seconds);
    }
    if (!news.has(pairKey(lo, hi))) keep(lo, hi, seconds);
  }
  for (const { lo, hi, seconds } of inOrder.slice(next)) keep(lo, hi, seconds);
  return kept.slice(Math.max(0, to - SEEN_LIMIT * SEEN_WORDS), to);
}

interface SeenPost {
  lo: number;
  hi: number;
  seconds: number;
}

/** By key, each with its latest time. */
function newSeen({
  postIds,
  atMs,
}: {
  postIds: readonly string[];
  atMs: number | readonly number[];
}): Map<number, SeenPost> {
  const news = new Map<number, SeenPost>();
  postIds.forEach((id, i) => {
    const { lo, hi } = hash64(id);
    const at = Math.floor((typeof atMs === 'number' ? atMs : atMs[i]) / 1000);
    const seconds = Math.min(0xffffffff, Math.max(0, at));
    const key = pairKey(lo, hi);
    const other = news.get(key);
    if (other && other.seconds > seconds) return;
    news.delete(key);
    news.set(key, { lo, hi, seconds });
  });
  return news;
}

/** 53 of the 64 bits as one exact number. */
function pairKey(lo: number, hi: number): number {
  return (hi & 0x1fffff) * 0x1_0000_0000 + lo;
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
