import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ServedPost, ServingRecord } from '../../../../src/contracts.ts';
import { decodeRecord, encodeRecord } from '../../../../src/features/store/serving-record-codec.ts';
import { HEADS, type Head, SOURCES } from '../../../../src/vocabulary.ts';

const share = fc.double({ min: 0, max: 1, noNaN: true });
const probabilities = fc
  .tuple(...HEADS.map(() => share))
  .map((values) => Object.fromEntries(HEADS.map((head, i) => [head, values[i]])) as Record<Head, number>);
const post: fc.Arbitrary<ServedPost> = fc.record({
  postId: fc.string({ unit: 'grapheme' }),
  token: fc.string(),
  position: fc.nat(),
  score: fc.double({ noNaN: true, noDefaultInfinity: true }),
  propensity: share,
  sources: fc.subarray([...SOURCES]),
  probabilities: fc.option(probabilities),
});

function record(posts: ServedPost[]): ServingRecord {
  return {
    requestId: 'request',
    userId: 'user',
    at: 1,
    model: 'ranker@1',
    index: 'generation',
    rules: 'rules',
    explored: false,
    degraded: ['ranker_late'],
    watermark: '1-2',
    posts,
  };
}

describe('a stored serving record', () => {
  it('gives back exactly what was served, over JSON, ranked or not', () => {
    fc.assert(
      fc.property(fc.array(post, { maxLength: 8 }), (posts) => {
        const given = record(posts);
        const text = JSON.stringify(encodeRecord(given));
        expect(decodeRecord(JSON.parse(text))).toEqual(given);
      }),
    );
  });

  it('is read as it is where its posts were stored one by one', () => {
    const old = record([
      {
        postId: 'p1',
        token: 't',
        position: 0,
        score: 0.5,
        propensity: 1,
        sources: ['nearest'],
        probabilities: null,
      },
    ]);
    expect(decodeRecord(old)).toEqual(old);
  });

  it('is read where its posts were stored as columns of digits', () => {
    const heads = Object.fromEntries(HEADS.map((head, i) => [head, i / 8])) as Record<Head, number>;
    const posts: ServedPost[] = [heads, null].map((probabilities, position) => ({
      postId: `p${position}`,
      token: `t${position}`,
      position,
      score: 0.25,
      propensity: 1,
      sources: ['fresh'],
      probabilities,
    }));
    const { posts: _, ...rest } = record(posts);
    const columns = {
      ids: ['p0', 'p1'],
      tokens: ['t0', 't1'],
      positions: [0, 1],
      scores: [0.25, 0.25],
      propensities: [1, 1],
      sources: [1 << SOURCES.indexOf('fresh'), 1 << SOURCES.indexOf('fresh')],
      heads: [...HEADS],
      probabilities: [...HEADS.map((head) => heads[head]), ...HEADS.map(() => null)],
    };
    expect(decodeRecord({ ...rest, columns })).toEqual(record(posts));
  });

  it('takes less than a third of the bytes for a page', () => {
    const heads = Object.fromEntries(
      HEADS.map((head, i) => [head, Math.fround(0.123456 + i / 10)]),
    ) as Record<Head, number>;
    const page = record(
      Array.from({ length: 50 }, (_, position) => ({
        postId: `p${position * 7919}`,
        token: `${'x'.repeat(20)}${String(position).padStart(28, 'y')}`,
        position,
        score: Math.fround(0.123456),
        propensity: 1,
        sources: ['nearest', 'similar'],
        probabilities: heads,
      })),
    );
    const size = (value: object) => JSON.stringify(value).length;
    expect(size(encodeRecord(page))).toBeLessThan(size(page) / 3);
  });
});
