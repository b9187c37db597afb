// A user's online state as named binary fields, and the pure merge of a patch into them: the one place that says
// what a patch means, shared by the Redis and the LMDB adapter.
import type { UserState, UserStatePatch } from '../../contracts.ts';
import { FeedrankError, invalid } from '../../errors.ts';
import { hash32, hash64 } from '../../hashing.ts';
import { DIM, EVENT_TYPES, SEEN_LIMIT, SEEN_TTL_MS } from '../../vocabulary.ts';
import { decodeHistory, encodeHistory } from './history-codec.ts';
import { mergeHistory } from './merge-history.ts';
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
import { checkKey, checkTime, isKey, isTime } from './storable.ts';

/**
 * Parts as stored: `h` history, `s` seen posts, `u` profile, `g` edges, `e<hash>` a tower's vector. History and vectors in
 * the order they changed in: a vector before the history was computed from an older one.
 */
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
  const embedding = decodeEmbedding(get(embeddingField(tower)));
  return {
    version: record.version,
    embedding,
    ...(embedding && isBefore(embeddingField(tower), 'h', record.fields) ? { embeddingLags: true } : {}),
    history: (decodeHistory(get('h')) ?? []).filter((entry) => entry.type !== 'unlike'),
    seen: seenHashes(decodeSeen(seen), nowMs),
    user: decodeUser(get('u')),
    edges: decodeEdges(get('g'), userId) ?? [],
  };
}

function isBefore(first: string, second: string, fields: StateFields): boolean {
  for (const name of fields.keys()) {
    if (name === first) return fields.has(second);
    if (name === second) return false;
  }
  return false;
}

/** Applies a patch to the parts of one user. */
export function applyPatch(patch: UserStatePatch, fields: StateFields, nowMs: number): void {
  if (patch.history?.length || patch.forget?.length) {
    const before = fields.get('h') ?? null;
    const merged = mergeHistory(decodeHistory(before) ?? [], patch.history ?? [], patch.forget ?? []);
    const after = encodeHistory(merged);
    if (before === null || Buffer.compare(before, after) !== 0) {
      fields.delete('h');
      fields.set('h', after);
    }
  }
  const { embedding } = patch;
  if (embedding) {
    fields.delete(embeddingField(embedding.tower));
    fields.set(embeddingField(embedding.tower), encodeEmbedding(embedding.vector));
    const vectors = [...fields.keys()].filter((name) => name.startsWith(EMBEDDING_PREFIX));
    for (const name of vectors.slice(0, -TOWERS_KEPT)) fields.delete(name);
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
    // A bulk write checks tens of millions of ids: a name is made only for one that is wrong.
    if (!isKey(entry.postId)) checkKey(entry.postId, `history[${i}].postId`);
    if (!isKey(entry.authorId)) checkKey(entry.authorId, `history[${i}].authorId`);
    if (!(entry.topic >>> 0 === entry.topic))
      throw invalid(`history[${i}].topic`, 'must be a hash of 32 bits');
    if (!EVENT_TYPES.includes(entry.type)) throw invalid(`history[${i}].type`, 'must be an event type');
    if (!isTime(entry.at)) checkTime(entry.at, `history[${i}].at`);
    if (!Number.isFinite(entry.dwellMs)) throw invalid(`history[${i}].dwellMs`, 'must be a number');
  });
  if (patch.seen) {
    const { postIds, atMs } = patch.seen;
    if (typeof atMs === 'number') checkTime(atMs, 'seen.atMs');
    else if (atMs?.length !== postIds.length) throw invalid('seen.atMs', 'must hold one time for each post');
    postIds.forEach((id, i) => {
      if (!isKey(id)) checkKey(id, `seen.postIds[${i}]`);
      if (typeof atMs !== 'number' && !isTime(atMs[i])) checkTime(atMs[i], `seen.atMs[${i}]`);
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
 * Oldest first, one entry a post with its latest time, expired ones gone, the newest SEEN_LIMIT kept. Every page that is
 * served ends here: no text, no object and no sort of what is there already.
 */
function mergeSeen(
  present: SeenEntries | null,
  added: { postIds: readonly string[]; atMs: number | readonly number[] },
  nowMs: number,
): SeenEntries {
  const old = present ?? new Uint32Array(0);
  const news = new SeenPosts(added);
  const kept = new Uint32Array(old.length + news.entries.length);
  let to = 0;
  const keep = (from: Uint32Array, i: number) => {
    if (!isFresh(from[i + 2], nowMs)) return;
    kept[to++] = from[i];
    kept[to++] = from[i + 1];
    kept[to++] = from[i + 2];
  };
  for (let i = 0; i < old.length; i += SEEN_WORDS) {
    const newer = news.find(old[i], old[i + 1]);
    if (newer >= 0 && old[i + 2] > news.entries[newer + 2]) news.remove(newer);
  }
  const inOrder = news.inOrder();
  let next = 0;
  for (let i = 0; i < old.length; i += SEEN_WORDS) {
    while (next < inOrder.length && news.entries[inOrder[next] + 2] < old[i + 2]) {
      keep(news.entries, inOrder[next++]);
    }
    if (news.find(old[i], old[i + 1]) < 0) keep(old, i);
  }
  while (next < inOrder.length) keep(news.entries, inOrder[next++]);
  return kept.subarray(Math.max(0, to - SEEN_LIMIT * SEEN_WORDS), to);
}

/** Posts by key, each with its latest time: a table with open addressing over `entries`. */
class SeenPosts {
  /** As SeenEntries, also of those that were removed. */
  readonly entries: Uint32Array;
  /** One more than the place in `entries`; 0 = free. */
  readonly #table: Uint32Array;
  readonly #removed: Uint8Array;
  readonly #sameTime: boolean;

  constructor({ postIds, atMs }: { postIds: readonly string[]; atMs: number | readonly number[] }) {
    this.entries = new Uint32Array(postIds.length * SEEN_WORDS);
    this.#table = new Uint32Array(2 ** Math.ceil(Math.log2(4 * postIds.length + 1)));
    this.#removed = new Uint8Array(this.entries.length);
    this.#sameTime = typeof atMs === 'number';
    const hash = { lo: 0, hi: 0 };
    for (let i = 0; i < postIds.length; i++) {
      const at = i * SEEN_WORDS;
      const { lo, hi } = hash64(postIds[i], hash);
      const seconds = Math.floor((typeof atMs === 'number' ? atMs : atMs[i]) / 1000);
      this.entries[at] = lo;
      this.entries[at + 1] = hi;
      this.entries[at + 2] = Math.min(0xffffffff, Math.max(0, seconds));
      this.#add(at);
    }
  }

  /** Its place in `entries`, -1 where it is not there. */
  find(lo: number, hi: number): number {
    const at = this.#table[this.#slot(lo, hi)] - 1;
    return at >= 0 && this.#removed[at] === 0 ? at : -1;
  }

  remove(at: number): void {
    this.#removed[at] = 1;
  }

  /** Places of those that were not removed, oldest first. */
  inOrder(): number[] {
    const places: number[] = [];
    for (let at = 0; at < this.entries.length; at += SEEN_WORDS) {
      if (this.#removed[at] === 0) places.push(at);
    }
    return this.#sameTime ? places : places.sort((a, b) => this.entries[a + 2] - this.entries[b + 2]);
  }

  #add(at: number): void {
    const slot = this.#slot(this.entries[at], this.entries[at + 1]);
    const other = this.#table[slot] - 1;
    if (other >= 0 && this.entries[other + 2] > this.entries[at + 2]) {
      this.remove(at);
      return;
    }
    if (other >= 0) this.remove(other);
    this.#table[slot] = at + 1;
  }

  /** Where this key stands or would stand. */
  #slot(lo: number, hi: number): number {
    const mask = this.#table.length - 1;
    for (let slot = lo & mask; ; slot = (slot + 1) & mask) {
      const at = this.#table[slot] - 1;
      if (at < 0 || (this.entries[at] === lo && this.entries[at + 1] === hi)) return slot;
    }
  }
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
