// A small catalogue in real shared memory with a real index, for the tests of candidates and re-ranking.
import { ExactIndex } from '../../../src/candidates/index/exact-index.ts';
import { PostTable } from '../../../src/candidates/index/post-table.ts';
import type { FeedQuery, PackedUser } from '../../../src/contracts.ts';
import { hash64 } from '../../../src/hashing.ts';
import { FIELD, FLAG, RECORD_WORDS } from '../../../src/post-record.ts';
import { seededRandom } from '../../../src/rerank/seeded-random.ts';
import { DIM, languageCode } from '../../../src/vocabulary.ts';

export const NOW = 1_750_000_000_000;
export const HOUR = 3_600_000;

export interface TestPost {
  id?: string;
  authorId?: string;
  ageHours?: number;
  topic?: string;
  language?: string;
  text?: string;
  sensitive?: boolean;
  deleted?: boolean;
  vector?: Float32Array;
  impressions?: number;
  clicks?: number;
  fast?: number;
  slow?: number;
  simhash?: [number, number];
}

/** Rows in the given order; the last `live` of them are the live tier, the others must come oldest first. */
export function buildTable(posts: readonly TestPost[], live = 0, generation = 'test'): PostTable {
  const table = PostTable.create({
    generation,
    baseRows: posts.length - live,
    capacity: Math.max(1, posts.length),
    keyBytes: 64 + posts.length * 40,
  });
  posts.forEach((post, i) => {
    const row = table.append(
      {
        id: post.id ?? `p${i}`,
        authorId: post.authorId ?? `a${i}`,
        createdAt: NOW - (post.ageHours ?? 1) * HOUR,
        topic: post.topic ?? '',
        language: languageCode(post.language),
        flags: post.sensitive ? FLAG.sensitive : 0,
        text: post.text ?? '',
      },
      post.vector ?? randomUnit(i + 1),
    );
    const at = row * RECORD_WORDS;
    const { f32, u32 } = table.records;
    f32[at + FIELD.impressions] = post.impressions ?? 0;
    f32[at + FIELD.clicks] = post.clicks ?? 0;
    f32[at + FIELD.fastEngagement] = post.fast ?? 0;
    f32[at + FIELD.slowEngagement] = post.slow ?? post.fast ?? 0;
    u32[at + FIELD.countersAtSec] = NOW / 1000;
    if (post.simhash) [u32[at + FIELD.simhashLo], u32[at + FIELD.simhashHi]] = post.simhash;
    if (post.deleted) table.markDeleted(row);
  });
  return table;
}

export function openIndex(table: PostTable): Promise<ExactIndex> {
  return ExactIndex.open(table);
}

export function randomUnit(seed: number): Float32Array {
  const random = seededRandom(seed);
  const vector = Float32Array.from({ length: DIM }, () => random() + random() + random() - 1.5);
  const norm = Math.hypot(...vector);
  return vector.map((value) => value / norm);
}

export function packedUser(user: Partial<PackedUser> = {}): PackedUser {
  const { lo, hi } = hash64('me');
  return {
    userLo: lo,
    userHi: hi,
    embedding: randomUnit(7777),
    embeddingKind: 'stored',
    historyKeys: new Uint32Array(0),
    historyAuthors: new Uint32Array(0),
    historyTopics: new Uint32Array(0),
    historyTypes: new Uint8Array(0),
    historyAtMs: new Float64Array(0),
    seen: new Uint32Array(0),
    follows: new Uint32Array(0),
    blockedAuthors: new Uint32Array(0),
    mutedAuthors: new Uint32Array(0),
    mutedTopics: new Uint32Array(0),
    interestTopics: new Uint32Array(0),
    mutedWords: new Uint16Array(0),
    languages: new Uint8Array(0),
    accountCreatedAtMs: 0,
    showSensitive: false,
    ...user,
  };
}

export function feedQuery(query: Partial<FeedQuery> = {}, user: Partial<PackedUser> = {}): FeedQuery {
  return {
    requestId: 'r',
    user: packedUser(user),
    nowMs: NOW,
    seed: 1,
    candidates: 100,
    slateSize: 20,
    exclude: new Uint32Array(0),
    explain: 0,
    explore: false,
    deadlineAtMs: NOW + 1000,
    ...query,
  };
}
