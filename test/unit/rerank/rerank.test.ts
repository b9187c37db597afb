import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packHashes } from '../../../src/hashing.ts';
import { DEFAULT_RULES } from '../../../src/rerank/rules-config.ts';
import { SOURCES } from '../../../src/vocabulary.ts';
import { packedUser, randomUnit, type TestPost } from '../candidates/test-world.ts';
import { rerankPosts } from './test-ranked.ts';

const worlds = fc.array(
  fc.record({
    authorId: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    topic: fc.constantFrom('', 'x', 'y', 'z'),
    ageHours: fc.integer({ min: 0, max: 200 }),
    impressions: fc.constantFrom(0, 3, 1000),
    vector: fc.constantFrom(1, 2, 3, 4).map(randomUnit),
  }),
  { maxLength: 60 },
);
const scoreOf = fc.oneof(
  fc.double({ min: -2, max: 2, noNaN: true }),
  fc.constantFrom(0, 1, Number.NaN, Number.POSITIVE_INFINITY),
);

describe('rerank', () => {
  it('never invents or repeats a post, fills the slate and repeats itself, whatever the input', () => {
    fc.assert(
      fc.property(
        worlds,
        fc.infiniteStream(scoreOf),
        fc.record({
          slateSize: fc.nat(70),
          seed: fc.integer({ min: 0, max: 0xffffffff }),
          explore: fc.boolean(),
        }),
        fc.constantFrom('dpp', 'mmr', 'none'),
        (posts, stream, query, method) => {
          const scores = posts.map(() => stream.next().value as number);
          const rules = {
            ...DEFAULT_RULES,
            diversity: { ...DEFAULT_RULES.diversity, method },
            pins: [{ postId: 'p1', position: 2 }],
            boosts: [{ name: 'x up', when: { topics: ['x'] }, multiply: 3 }],
          };
          const first = rerankPosts(posts, rules, query, scores);
          expect(first.slate).toHaveLength(Math.min(posts.length, query.slateSize));
          expect(new Set(first.rows).size).toBe(first.rows.length);
          for (const entry of first.slate) {
            expect(entry.row).toBeLessThan(posts.length);
            expect(entry.propensity).toBeGreaterThan(0);
            expect(entry.propensity).toBeLessThanOrEqual(1);
          }
          expect(rerankPosts(posts, rules, query, scores).slate).toEqual(first.slate);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('keeps the ranked order, scores and a propensity of 1 when no rule applies', () => {
    const { slate } = rerankPosts([{}, {}, {}]);
    expect(slate.map(({ row, ranked }) => [row, ranked])).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
    expect(slate.every(({ propensity, rules }) => propensity === 1 && rules.length === 0)).toBe(true);
    expect(slate[1].score).toBeCloseTo(0.75);
  });

  it('handles a slate of equal scores and equal vectors', () => {
    const vector = randomUnit(1);
    const posts = Array.from({ length: 30 }, () => ({ vector }));
    for (const method of ['dpp', 'mmr']) {
      const { rows } = rerankPosts(
        posts,
        { diversity: { method } },
        {},
        posts.map(() => 0),
      );
      expect([...rows].sort((a, b) => a - b)).toEqual(posts.map((_, i) => i));
    }
  });

  it('separates near copies when diversity is on', () => {
    const posts: TestPost[] = [1, 1, 1, 2, 3].map((seed) => ({ vector: randomUnit(seed) }));
    const { rows, slate } = rerankPosts(posts, { diversity: { method: 'dpp', theta: 0.5 } });
    expect(rows[0]).toBe(0);
    expect(rows.slice(1, 3).sort()).toEqual([3, 4]);
    expect(slate[1].rules).toEqual([{ rule: 'dpp', effect: expect.stringMatching(/^\d → 2$/) }]);
  });
});

describe('caps', () => {
  it('hold in every window unless nothing else was left', () => {
    fc.assert(
      fc.property(
        worlds,
        fc.integer({ min: 2, max: 8 }),
        fc.integer({ min: 1, max: 3 }),
        (posts, window, perWindow) => {
          const cap = { window, perWindow, decay: 0.8 };
          const { rows } = rerankPosts(posts, { authorCap: cap, topicCap: cap });
          const violates = (row: number, position: number, key: 'authorId' | 'topic') => {
            const value = posts[row][key];
            const before = rows.slice(Math.max(0, position - window + 1), position);
            return value !== '' && before.filter((other) => posts[other][key] === value).length >= perWindow;
          };
          rows.forEach((row, position) => {
            const left = rows.slice(position);
            if (violates(row, position, 'authorId')) {
              expect(left.every((other) => violates(other, position, 'authorId'))).toBe(true);
            } else if (violates(row, position, 'topic')) {
              expect(
                left.every(
                  (other) => violates(other, position, 'authorId') || violates(other, position, 'topic'),
                ),
              ).toBe(true);
            }
          });
        },
      ),
      { numRuns: 100 },
    );
  });

  it('say which post they put off and where they gave way', () => {
    const posts = [{ authorId: 'a' }, { authorId: 'a' }, { authorId: 'b' }, { authorId: 'a' }];
    const { rows, slate } = rerankPosts(posts, { authorCap: { window: 4, perWindow: 1, decay: 1 } });
    expect(rows).toEqual([0, 2, 1, 3]);
    expect(slate[2].rules).toContainEqual({ rule: 'author-cap', effect: '2 → 3' });
    expect(slate[2].rules).toContainEqual({ rule: 'author-cap', effect: 'gave way, nothing else left' });
  });

  it('decay the score of further posts of an author, down to the floor', () => {
    const posts = [
      { authorId: 'a' },
      { authorId: 'a' },
      { authorId: 'a' },
      { authorId: 'b' },
      { authorId: 'c' },
    ];
    const scores = [1, 0.9, 0.8, 0.5, 0.45];
    const rules = { authorCap: { perWindow: null, window: 10, decay: 0.5, floor: 0.4 } };
    const { rows, slate } = rerankPosts(posts, rules, {}, scores);
    expect(rows).toEqual([0, 3, 1, 4, 2]);
    expect(slate[4].rules).toEqual([{ rule: 'repetition', effect: '×0.400' }]);
  });
});

describe('boosts', () => {
  const posts: TestPost[] = [
    {},
    { topic: 'x' },
    { language: 'de', authorId: 'w' },
    { ageHours: 50, sensitive: true },
  ];
  const boosted = (when: object, multiply = 5) =>
    rerankPosts(
      posts,
      { boosts: [{ name: 'b', when, multiply }] },
      { user: packedUser({ follows: packHashes(['w']) }) },
    );

  it.each([
    ['topic', { topics: ['x'] }, 1],
    ['author', { authors: ['w'] }, 2],
    ['language', { languages: ['de'] }, 2],
    ['age', { minAgeHours: 40 }, 3],
    ['sensitivity', { sensitive: true }, 3],
    ['network', { followed: true }, 2],
    ['all of several conditions', { languages: ['de'], maxAgeHours: 2 }, 2],
  ])('raise posts by %s', (_, when, row) => {
    const { rows, slate } = boosted(when);
    expect(rows[0]).toBe(row);
    expect(slate[0].rules).toEqual([{ rule: 'boosts', effect: 'b ×5' }]);
  });

  it('demote with a factor below 1, and also where scores are negative', () => {
    expect(boosted({ sources: [SOURCES[0]], maxAgeHours: 10 }, 0.01).rows[0]).toBe(3);
    const rules = { boosts: [{ name: 'down', when: { topics: ['x'] }, multiply: 0.1 }] };
    expect(rerankPosts(posts, rules, {}, [-4, -1, -3, -2]).rows).toEqual([3, 2, 1, 0]);
  });
});

describe('pins', () => {
  const posts = Array.from({ length: 8 }, () => ({}));

  it('put a post at its position while they hold, and name it', () => {
    const pins = [
      { postId: 'p6', position: 1 },
      { postId: 'p7', position: 1 },
      { postId: 'p6', position: 3 },
      { postId: 'absent', position: 0 },
      { postId: 'p5', position: 0, untilMs: 5 },
      { postId: 'p4', position: 100 },
    ];
    const { rows, slate } = rerankPosts(posts, { pins });
    expect(rows).toEqual([0, 6, 1, 2, 3, 4, 5, 7]);
    expect(slate[1].rules).toEqual([{ rule: 'pins', effect: 'pinned at 2' }]);
  });

  it('hold in explored requests with a propensity of 1', () => {
    const { slate } = rerankPosts(posts, { pins: [{ postId: 'p6', position: 1 }] }, { explore: true });
    expect(slate[1]).toMatchObject({ row: 6, propensity: 1 });
  });
});

describe('placement', () => {
  const posts = Array.from({ length: 40 }, (_, i) => ({ authorId: i < 20 ? `s${i}` : `f${i}` }));
  const user = packedUser({ follows: packHashes(posts.slice(20).map(({ authorId }) => authorId)) });

  it('keeps the share of followed authors within its bounds over every beginning', () => {
    const network = { minFollowedShare: 0.3, maxFollowedShare: 0.5 };
    const { rows } = rerankPosts(posts, { network }, { user, slateSize: 30 });
    rows.forEach((_, i) => {
      const followed = rows.slice(0, i + 1).filter((row) => row >= 20).length;
      expect(followed).toBeGreaterThanOrEqual(Math.floor(0.3 * (i + 1)));
      expect(followed).toBeLessThanOrEqual(Math.ceil(0.5 * (i + 1)));
    });
  });

  it('keeps posts of one author apart', () => {
    const repeated = Array.from({ length: 12 }, (_, i) => ({ authorId: `a${Math.floor(i / 3)}` }));
    const { rows } = rerankPosts(repeated, { network: { minAuthorDistance: 3 } });
    for (let i = 1; i < 10; i++) {
      expect(repeated[rows[i]].authorId).not.toBe(repeated[rows[i - 1]].authorId);
      if (i > 1) expect(repeated[rows[i]].authorId).not.toBe(repeated[rows[i - 2]].authorId);
    }
  });
});
