import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ageWindow } from '../../../src/candidates/age-window.ts';
import { engagedRows } from '../../../src/candidates/engaged-rows.ts';
import type { PostTable } from '../../../src/candidates/index/post-table.ts';
import { interestsOf, LEAST_POSTS, wardGroups } from '../../../src/candidates/interest-vectors.ts';
import { NearestSource } from '../../../src/candidates/nearest-source.ts';
import { parseRetrievalConfig } from '../../../src/candidates/retrieval-config.ts';
import { Retriever, standardSources } from '../../../src/candidates/retrieve.ts';
import { newHits } from '../../../src/candidates/source.ts';
import { TrendingBoard } from '../../../src/candidates/trending-board.ts';
import type { Hits, PackedUser } from '../../../src/contracts.ts';
import { packHashes } from '../../../src/hashing.ts';
import { seededRandom } from '../../../src/rerank/seeded-random.ts';
import { DIM, ENGAGEMENT_CODES, HISTORY_LIMIT, SOURCES } from '../../../src/vocabulary.ts';
import { buildTable, feedQuery, NOW, openIndex, randomUnit } from './test-world.ts';

const TOPICS = 3;
const POSTS = 300;
const topicVector = (topic: number): Float32Array => randomUnit(900_000 + topic);

/** A post near the vector of its topic. */
function near(topic: number, seed: number): Float32Array {
  const noise = randomUnit(seed);
  const vector = topicVector(topic).map((x, d) => x + 0.5 * noise[d]);
  const norm = Math.hypot(...vector);
  return vector.map((x) => x / norm);
}

/** Post i is of topic i mod TOPICS. */
const table = buildTable(
  Array.from({ length: POSTS }, (_, i) => ({ ageHours: POSTS - i, vector: near(i % TOPICS, i + 1) })),
);

function historyOf(rows: readonly number[], types: readonly number[] = []): Partial<PackedUser> {
  return {
    historyKeys: packHashes(rows.map((row) => `p${row}`)),
    historyTypes: Uint8Array.from(rows, (_, i) => types[i] ?? ENGAGEMENT_CODES.click),
    historyAtMs: Float64Array.from(rows, (_, i) => NOW - i * 1000),
  };
}

const userOf = (rows: readonly number[], types: readonly number[] = []) =>
  feedQuery({}, historyOf(rows, types)).user;
const cosine = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, d) => sum + x * b[d], 0);
const rowsOf = (hits: Hits) => [...hits.rows.subarray(0, hits.size)];

describe('engagedRows', () => {
  it('gives distinct liked posts, newest first, without those that were hidden too or are gone', () => {
    const { click, like, negative, none } = ENGAGEMENT_CODES;
    const user = userOf(
      [5, 7, 5, 9, 7, 8, 4000, 11],
      [like, click, click, none, negative, click, like, click],
    );
    expect(engagedRows(user, table, 10)).toEqual([5, 8, 11]);
    expect(engagedRows(user, table, 2)).toEqual([5, 8]);
  });
});

describe('interestsOf', () => {
  it('finds one interest for each topic of the history, the largest first', () => {
    const interests = interestsOf(userOf([0, 3, 6, 9, 12, 1, 4, 7, 2, 5]), table, 3);
    expect(interests.map(({ share }) => share)).toEqual([0.5, 0.3, 0.2]);
    interests.forEach(({ vector }, topic) => {
      expect(cosine(vector, topicVector(topic))).toBeGreaterThan(0.9);
      expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    });
  });

  it('finds none in a short history, or where none are asked for', () => {
    const rows = [0, 3, 1, 4];
    expect(interestsOf(userOf(rows.slice(0, LEAST_POSTS - 1)), table, 2)).toEqual([]);
    expect(interestsOf(userOf(rows), table, 0)).toEqual([]);
    expect(interestsOf(userOf(rows), table, 2)).toHaveLength(2);
    // Several engagements with one post are one post.
    expect(interestsOf(userOf([0, 0, 0, 0, 3]), table, 2)).toEqual([]);
  });

  it('leaves out a group whose vectors cancel out', () => {
    const up = randomUnit(1);
    const down = up.map((x) => -x);
    const opposite = buildTable([up, down, up, down].map((vector) => ({ vector })));
    expect(interestsOf(userOf([0, 1, 2, 3]), opposite, 1)).toEqual([]);
    expect(interestsOf(userOf([0, 1, 2, 3]), opposite, 2)).toHaveLength(2);
  });
});

describe('wardGroups', () => {
  it('joins at every step the two groups whose union adds least to the squared distances', () => {
    const random = fc.uniqueArray(fc.integer({ min: 0, max: POSTS - 1 }), { minLength: 2, maxLength: 14 });
    fc.assert(
      fc.property(random, fc.integer({ min: 1, max: 5 }), (rows, count) => {
        const sorted = (groups: number[][]) =>
          groups.map((group) => [...group].sort((a, b) => a - b)).sort((a, b) => a[0] - b[0]);
        expect(sorted(wardGroups(rows, table, count))).toEqual(sorted(byDefinition(rows, count)));
      }),
      { numRuns: 60 },
    );
  });
});

describe('NearestSource with interests', () => {
  const config = parseRetrievalConfig().nearest;
  const window = ageWindow(table, NOW, 720);
  // The user vector is of topic 0 alone, the history of all three.
  const user = { ...historyOf([0, 3, 6, 1, 4, 7, 2, 5, 8]), embedding: topicVector(0) };
  const query = feedQuery({}, user);
  const retrieve = async (from: PostTable, settings: typeof config, quota: number): Promise<Hits> => {
    const hits = newHits(0);
    new NearestSource(await openIndex(from), settings).retrieve(query, from, window, quota, hits);
    return hits;
  };

  it('proposes posts of interests that the user vector does not point to', async () => {
    const topics = (hits: Hits) => new Set(rowsOf(hits).map((row) => row % TOPICS));
    expect(topics(await retrieve(table, { interests: 0, userShare: 0.5 }, 30))).toEqual(new Set([0]));
    expect(topics(await retrieve(table, { interests: 3, userShare: 0.5 }, 30))).toEqual(new Set([0, 1, 2]));
  });

  it('fills the quota without repeating a row, with the similarity to the user where a search by it found the row', async () => {
    for (const quota of [2, 10, 60, POSTS]) {
      const hits = await retrieve(table, config, quota);
      expect(hits.size).toBe(quota);
      expect(new Set(rowsOf(hits)).size).toBe(quota);
      for (let i = 0; i < hits.size; i++) {
        if (Number.isNaN(hits.similarity[i])) continue;
        const vector = table.vectors.subarray(hits.rows[i] * DIM, (hits.rows[i] + 1) * DIM);
        expect(hits.similarity[i]).toBeCloseTo(cosine(vector, query.user.embedding), 4);
      }
      const known = hits.similarity.subarray(0, hits.size).filter((one) => !Number.isNaN(one));
      expect(known.length).toBeGreaterThanOrEqual(quota / 2);
    }
  });

  it('keeps the share of the user vector, in the order of similarity', async () => {
    const best = rowsOf(await retrieve(table, { interests: 0, userShare: 0.5 }, 40));
    for (const [userShare, kept] of [
      [0.5, 20],
      [0.8, 32],
      [1, 40],
    ]) {
      const rows = rowsOf(await retrieve(table, { interests: 2, userShare }, 40));
      const own = rows.filter((row) => best.includes(row));
      expect(rows[0]).toBe(best[0]);
      expect(own.length).toBeGreaterThanOrEqual(kept);
      expect(rows.length).toBe(40);
    }
  });

  it('finds what one vector finds for a reader without a history', async () => {
    const search = async (interests: number) => {
      const hits = newHits(0);
      const source = new NearestSource(await openIndex(table), { interests, userShare: 0.5 });
      source.retrieve(feedQuery(), table, window, 25, hits);
      return rowsOf(hits);
    };
    expect(await search(2)).toEqual(await search(0));
  });

  it('is named `nearest` with its rank for every post it proposes, and removes none of the other filters', async () => {
    const parsed = parseRetrievalConfig({ quotas: { following: 0, trending: 0, fresh: 0, similar: 0 } });
    const sources = standardSources(await openIndex(table), new TrendingBoard(parsed.trending), parsed);
    const { candidates } = new Retriever(sources, parsed).retrieve({ ...query, candidates: 60 }, table);
    const nearest = SOURCES.indexOf('nearest');
    for (let i = 0; i < candidates.size; i++) {
      expect(candidates.sources[i]).toBe(1 << nearest);
      expect(candidates.sourceRanks[i * SOURCES.length + nearest]).toBeGreaterThan(0);
      expect(candidates.rows[i]).toBeGreaterThan(8);
    }
    expect(new Set([...candidates.rows].map((row) => row % TOPICS))).toEqual(new Set([0, 1, 2]));
  });

  it('takes a full history of far-apart posts', () => {
    const random = seededRandom(5);
    const rows = Array.from({ length: HISTORY_LIMIT }, () => Math.floor(random() * POSTS));
    const interests = interestsOf(userOf(rows), table, 4);
    expect(interests.length).toBe(4);
    expect(interests.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
  });
});

describe('parseRetrievalConfig', () => {
  it('refuses more interests than a request has time for', () => {
    expect(() => parseRetrievalConfig({ nearest: { interests: 5 } })).toThrow(
      /^retrieval\.nearest\.interests: /,
    );
    expect(() => parseRetrievalConfig({ nearest: { userShare: 0 } })).toThrow(
      /^retrieval\.nearest\.userShare: /,
    );
  });
});

/** Ward's method by its definition: the sum of squared distances to the group mean, computed anew at each step. */
function byDefinition(rows: readonly number[], count: number): number[][] {
  const spread = (group: readonly number[]): number => {
    const vectors = group.map((row) => table.vectors.subarray(row * DIM, (row + 1) * DIM));
    const mean = Array.from(
      { length: DIM },
      (_, d) => vectors.reduce((sum, v) => sum + v[d], 0) / group.length,
    );
    return vectors.reduce((sum, v) => sum + mean.reduce((own, m, d) => own + (v[d] - m) ** 2, 0), 0);
  };
  let groups = rows.map((row) => [row]);
  while (groups.length > count) {
    let best = { cost: Number.POSITIVE_INFINITY, a: 0, b: 1 };
    for (let a = 0; a < groups.length; a++) {
      for (let b = a + 1; b < groups.length; b++) {
        const cost = spread([...groups[a], ...groups[b]]) - spread(groups[a]) - spread(groups[b]);
        if (cost < best.cost) best = { cost, a, b };
      }
    }
    const joined = [...groups[best.a], ...groups[best.b]];
    groups = [...groups.filter((_, i) => i !== best.a && i !== best.b), joined];
  }
  return groups;
}
