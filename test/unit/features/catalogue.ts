// A small catalogue of plain arrays for tests of features and ranking: records are set word by word.
import type { Catalogue, PackedUser } from '../../../src/contracts.ts';
import { hash32, hash64, packHashes } from '../../../src/hashing.ts';
import { FIELD, RECORD_BYTES, RECORD_WORDS, recordViews } from '../../../src/post-record.ts';
import { DIM } from '../../../src/vocabulary.ts';

export const NOW_MS = Date.UTC(2026, 5, 15, 18, 30);

/** Deterministic numbers in [0, 1) (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function unitVector(random: () => number): Float32Array {
  const vector = Float32Array.from({ length: DIM }, () => random() - 0.5);
  const norm = Math.hypot(...vector);
  return vector.map((x) => x / norm);
}

export interface TestCatalogue extends Catalogue {
  set(row: number, field: keyof typeof FIELD, value: number): void;
}

/** `p0`, `p1`, … by ten authors and five topics, an hour apart, with counters from the seed. */
export function testCatalogue(rows: number, seed = 1): TestCatalogue {
  const random = randomOf(seed);
  const records = recordViews(new ArrayBuffer(rows * RECORD_BYTES), 0, rows);
  const vectors = new Float32Array(rows * DIM);
  const keys = new Map<string, number>();
  const hash = { lo: 0, hi: 0 };
  const { u32, f32, f64 } = records;
  for (let row = 0; row < rows; row++) {
    vectors.set(unitVector(random), row * DIM);
    const at = row * RECORD_WORDS;
    f64[at / 2] = NOW_MS - row * 3_600_000;
    hash64(`p${row}`, hash);
    u32[at + FIELD.keyLo] = hash.lo;
    u32[at + FIELD.keyHi] = hash.hi;
    keys.set(`${hash.lo} ${hash.hi}`, row);
    hash64(`a${row % 10}`, hash);
    u32[at + FIELD.authorLo] = hash.lo;
    u32[at + FIELD.authorHi] = hash.hi;
    u32[at + FIELD.authorSlot] = row % 10;
    u32[at + FIELD.topic] = row % 5 === 4 ? 0 : hash32(`t${row % 5}`);
    u32[at + FIELD.flags] = (row % 16) | ((1 + (row % 3)) << 8) | ((20 + (row % 200)) << 16);
    u32[at + FIELD.simhashLo] = Math.floor(random() * 2 ** 32);
    u32[at + FIELD.simhashHi] = Math.floor(random() * 2 ** 32);
    const impressions = Math.floor(random() * 2000);
    f32[at + FIELD.impressions] = impressions;
    for (let i = 0; i < 6; i++) f32[at + FIELD.clicks + i] = Math.floor(impressions * random() * 0.1);
    f32[at + FIELD.dwellSeconds] = impressions * 4;
    f32[at + FIELD.fastEngagement] = impressions * random() * 0.1;
    f32[at + FIELD.slowEngagement] = impressions * random() * 0.3;
    f32[at + FIELD.slowImpressions] = impressions * 0.5;
    u32[at + FIELD.countersAtSec] = NOW_MS / 1000 - Math.floor(random() * 90_000);
  }
  const authors = Float32Array.from({ length: 16 * 10 }, () => Math.floor(random() * 5000));
  return {
    generation: 'test',
    dim: DIM,
    baseRows: rows,
    rows,
    vectors,
    records,
    authors,
    rowOf: (lo, hi) => keys.get(`${lo} ${hi}`) ?? -1,
    keyOf: (row) => `p${row}`,
    newestByAuthor: () => -1,
    set(row, field, value) {
      const at = row * RECORD_WORDS + FIELD[field];
      if (field === 'createdAtMs') f64[at / 2] = value;
      else if (/^(key|author|topic|flags|previous|simhash|countersAt)/.test(field)) u32[at] = value;
      else f32[at] = value;
    },
  };
}

/** A user who liked, clicked or rejected the posts given, newest first, an hour apart. */
export function testUser(
  history: { post: number; type: number }[],
  seed = 9,
  over: Partial<PackedUser> = {},
): PackedUser {
  const none = new Uint32Array(0);
  return {
    userLo: 1,
    userHi: 2,
    embedding: unitVector(randomOf(seed)),
    embeddingKind: 'stored',
    historyKeys: packHashes(history.map(({ post }) => `p${post}`)),
    historyAuthors: packHashes(history.map(({ post }) => `a${post % 10}`)),
    historyTopics: Uint32Array.from(history, ({ post }) => (post % 5 === 4 ? 0 : hash32(`t${post % 5}`))),
    historyTypes: Uint8Array.from(history, ({ type }) => type),
    historyAtMs: Float64Array.from(history, (_, i) => NOW_MS - (i + 1) * 3_600_000),
    seen: none,
    follows: packHashes(['a1', 'a2']),
    blockedAuthors: none,
    mutedAuthors: none,
    mutedTopics: none,
    interestTopics: Uint32Array.from(['t1'], hash32),
    mutedWords: new Uint16Array(0),
    languages: Uint8Array.from([1]),
    accountCreatedAtMs: NOW_MS - 100 * 86_400_000,
    showSensitive: false,
    ...over,
  };
}

export function rowRange(from: number, to: number): Uint32Array {
  return Uint32Array.from({ length: to - from }, (_, i) => from + i);
}
