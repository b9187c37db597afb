import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
// @ts-expect-error: the build is plain JavaScript, so that it runs before anything is typed
import { compileKernel, SIMILARITY_KERNEL } from '../../../scripts/setup/build-kernels.mjs';
import type { PackedUser } from '../../../src/contracts.ts';
import { FeatureEncoder } from '../../../src/features/feature-encoder.ts';
import { compilePlan, FEATURES, type FeatureId, fullOffset } from '../../../src/features/feature-schema.ts';
import { FIELD } from '../../../src/post-record.ts';
import { DIM, ENGAGEMENT_CODES } from '../../../src/vocabulary.ts';
import { NOW_MS, rowRange, testCatalogue, testUser } from './catalogue.ts';

const ALL = compilePlan(FEATURES.map(({ id }) => id));
const HISTORY = [
  { post: 7, type: ENGAGEMENT_CODES.like },
  { post: 7, type: ENGAGEMENT_CODES.click },
  { post: 12, type: ENGAGEMENT_CODES.negative },
  { post: 33, type: ENGAGEMENT_CODES.longDwell },
  { post: 4, type: ENGAGEMENT_CODES.share },
];

function encodeAll(
  user: PackedUser,
  catalogue = testCatalogue(64),
  rows = rowRange(0, 64),
  nowMs = NOW_MS,
): Float32Array {
  const encoder = new FeatureEncoder(ALL);
  const out = new Float32Array(rows.length * ALL.width);
  encoder.begin(user, catalogue, { nowMs });
  encoder.encode(catalogue, rows, 0, rows.length, out);
  return out;
}

function featureAt(matrix: Float32Array, row: number, id: FeatureId, column = 0): number {
  return matrix[row * ALL.width + fullOffset(id) + column];
}

describe('the similarity kernel', () => {
  it('is built from the committed source', async () => {
    const path = new URL('../../../src/features/similarity-kernel/similarity.wasm', import.meta.url);
    expect(Buffer.compare(await compileKernel(SIMILARITY_KERNEL), await readFile(path))).toBe(0);
  });
});

describe('feature encoder', () => {
  it('encodes a row alone bit for bit as in any batch', () => {
    const catalogue = testCatalogue(200);
    const user = testUser(HISTORY);
    const together = encodeAll(user, catalogue, rowRange(0, 200));
    const encoder = new FeatureEncoder(ALL);
    const alone = new Float32Array(ALL.width);
    for (const row of [199, 0, 7, 103]) {
      encoder.begin(user, catalogue, { nowMs: NOW_MS });
      encoder.encode(catalogue, Uint32Array.of(row), 0, 1, alone);
      expect(alone).toEqual(together.slice(row * ALL.width, (row + 1) * ALL.width));
    }
  });

  it('forgets the request before', () => {
    const catalogue = testCatalogue(64);
    const reader = testUser(HISTORY);
    const stranger = testUser([], 3, { follows: new Uint32Array(0), languages: new Uint8Array(0) });
    const fresh = encodeAll(stranger, catalogue);
    const encoder = new FeatureEncoder(ALL);
    const out = new Float32Array(64 * ALL.width);
    encoder.begin(reader, catalogue, { nowMs: NOW_MS, position: 3 });
    encoder.encode(catalogue, rowRange(0, 64), 0, 64, out);
    encoder.begin(stranger, catalogue, { nowMs: NOW_MS });
    encoder.encode(catalogue, rowRange(0, 64), 0, 64, out);
    expect(out).toEqual(fresh);
  });

  it('writes a chunk at the start of the output', () => {
    const catalogue = testCatalogue(64);
    const user = testUser(HISTORY);
    const all = encodeAll(user, catalogue);
    const encoder = new FeatureEncoder(ALL);
    const out = new Float32Array(10 * ALL.width);
    encoder.begin(user, catalogue, { nowMs: NOW_MS });
    encoder.encode(catalogue, rowRange(0, 64), 20, 30, out);
    expect(out).toEqual(all.slice(20 * ALL.width, 30 * ALL.width));
  });

  it('gives the columns of a smaller plan the values they have in the full one', () => {
    const catalogue = testCatalogue(64);
    const user = testUser(HISTORY);
    const all = encodeAll(user, catalogue);
    const plan = compilePlan(['topic_affinity@1', 'post_age@1']);
    const encoder = new FeatureEncoder(plan);
    const out = new Float32Array(64 * plan.width);
    encoder.begin(user, catalogue, { nowMs: NOW_MS });
    encoder.encode(catalogue, rowRange(0, 64), 0, 64, out);
    for (let row = 0; row < 64; row++) {
      const expected = Array.from(plan.columns, (column) => all[row * ALL.width + column]);
      expect([...out.slice(row * plan.width, (row + 1) * plan.width)]).toEqual(expected);
    }
  });

  it('counts cosines to liked and to rejected posts apart', () => {
    const matrix = encodeAll(testUser(HISTORY));
    expect(featureAt(matrix, 7, 'history_similarity@1')).toBeCloseTo(1, 5);
    expect(featureAt(matrix, 12, 'negative_similarity@1')).toBeCloseTo(1, 5);
    expect(featureAt(matrix, 12, 'history_similarity@1')).toBeLessThan(0.9);
    expect(featureAt(matrix, 7, 'history_duplicate@1')).toBe(1);
  });

  it('gives the dot product with the user vector, its parts and its sum', () => {
    const catalogue = testCatalogue(64);
    const user = testUser(HISTORY);
    const matrix = encodeAll(user, catalogue);
    let sum = 0;
    for (let d = 0; d < DIM; d++) {
      const part = Math.fround(user.embedding[d] * catalogue.vectors[5 * DIM + d]);
      expect(featureAt(matrix, 5, 'hadamard@1', d)).toBe(part);
      sum += part;
    }
    expect(featureAt(matrix, 5, 'user_similarity@1')).toBeCloseTo(sum, 5);
  });

  it('knows authors, topics, follows, interests and languages of the user', () => {
    const matrix = encodeAll(testUser(HISTORY));
    // Author a7 wrote posts 7, 17, …: liked and clicked. Author a2 wrote post 12, which was rejected.
    expect(featureAt(matrix, 17, 'author_affinity@1', 1)).toBeCloseTo(Math.log(3), 5);
    expect(featureAt(matrix, 22, 'author_affinity@1', 2)).toBeGreaterThan(0.6);
    expect(featureAt(matrix, 22, 'author_affinity@1', 1)).toBe(0);
    expect(featureAt(matrix, 21, 'follows_author@1')).toBe(1);
    expect(featureAt(matrix, 23, 'follows_author@1')).toBe(0);
    // Posts of topic t1 are 1, 6, …; every fifth from 4 on has none.
    expect(featureAt(matrix, 6, 'interest_topic@1')).toBe(1);
    expect(featureAt(matrix, 9, 'topic_affinity@1', 3)).toBe(1);
    expect(featureAt(matrix, 2, 'topic_affinity@1', 1)).toBeCloseTo(2 / 3, 5);
    expect([featureAt(matrix, 3, 'language_match@1'), featureAt(matrix, 3, 'language_match@1', 1)]).toEqual([
      1, 0,
    ]);
    expect([featureAt(matrix, 4, 'language_match@1'), featureAt(matrix, 4, 'language_match@1', 1)]).toEqual([
      0, 1,
    ]);
  });

  it('decays counters to now', () => {
    const catalogue = testCatalogue(64);
    catalogue.set(0, 'slowEngagement', 100);
    catalogue.set(0, 'fastEngagement', 100);
    catalogue.set(0, 'countersAtSec', NOW_MS / 1000 - 24 * 3600);
    const matrix = encodeAll(testUser([]), catalogue);
    expect(featureAt(matrix, 0, 'post_heat@1', 1)).toBeCloseTo(Math.log(51), 4);
    expect(featureAt(matrix, 0, 'post_heat@1', 0)).toBeCloseTo(Math.log(1 + 100 / 4096), 4);
  });

  it('gives a user without history zeros, and says so', () => {
    const matrix = encodeAll(testUser([], 3, { embeddingKind: 'cold' }));
    for (const { id, width, fromHistory } of FEATURES) {
      if (!fromHistory) continue;
      const columns = Array.from({ length: width }, (_, column) => featureAt(matrix, 7, id, column));
      if (id === 'topic_affinity@1') columns.pop();
      expect(columns, id).toEqual(columns.map(() => 0));
    }
    expect(featureAt(matrix, 7, 'user_cold@1')).toBe(1);
  });

  it('knows the position only when it is given', () => {
    const catalogue = testCatalogue(4);
    const encoder = new FeatureEncoder(compilePlan(['context_position@1']));
    const out = new Float32Array(2);
    encoder.begin(testUser([]), catalogue, { nowMs: NOW_MS, position: 0 });
    encoder.encode(catalogue, rowRange(0, 1), 0, 1, out);
    expect([...out]).toEqual([0, 1]);
    encoder.begin(testUser([]), catalogue, { nowMs: NOW_MS });
    encoder.encode(catalogue, rowRange(0, 1), 0, 1, out);
    expect([...out]).toEqual([0, 0]);
  });

  it.each([Number.NaN, Infinity])('refuses %s as the time', (nowMs) => {
    expect(() => encodeAll(testUser([]), testCatalogue(4), rowRange(0, 4), nowMs)).toThrow('nowMs');
  });

  it('refuses a user vector of another length', () => {
    const user = testUser([], 3, { embedding: new Float32Array(32) });
    expect(() => encodeAll(user)).toThrow('user.embedding');
  });

  it('is finite whatever the user and the records hold', () => {
    const weird = fc.constantFrom(Number.NaN, Infinity, -Infinity, -1, 0, 1e30, 3.4e38, -1e20, 5);
    const counters = Object.keys(FIELD).filter((field) => !/^(authorSlot|words|previous)/.test(field));
    const change = fc.tuple(fc.nat(15), fc.constantFrom(...counters), weird);
    const user = fc.record({
      history: fc.array(fc.record({ post: fc.nat(90), type: fc.nat(9) }), { maxLength: 60 }),
      at: weird,
      created: weird,
      embedding: weird,
      languages: fc.array(fc.nat(255), { maxLength: 3 }),
      nowMs: fc.constantFrom(0, NOW_MS, -1e12, 8.64e15, 1e300),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), user, (changes, given) => {
        const catalogue = testCatalogue(16);
        for (const [row, field, value] of changes) catalogue.set(row, field as keyof typeof FIELD, value);
        catalogue.authors.fill(given.at, 0, 40);
        const packed = testUser(given.history, 5, {
          accountCreatedAtMs: given.created,
          languages: Uint8Array.from(given.languages),
        });
        packed.historyAtMs.fill(given.at);
        packed.embedding[3] = given.embedding;
        catalogue.vectors[9] = given.embedding;
        const matrix = encodeAll(packed, catalogue, rowRange(0, 16), given.nowMs);
        expect(matrix.every(Number.isFinite)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
