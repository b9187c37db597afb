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
        // JSON has no negative zero.
        expect(decodeRecord(JSON.parse(text))).toEqual(JSON.parse(JSON.stringify(given)));
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

  it('takes less than half of the bytes for a page', () => {
    const heads = Object.fromEntries(HEADS.map((head, i) => [head, 0.123456 + i / 10])) as Record<
      Head,
      number
    >;
    const page = record(
      Array.from({ length: 50 }, (_, position) => ({
        postId: `p${position * 7919}`,
        token: 'x'.repeat(48),
        position,
        score: 0.123456,
        propensity: 1,
        sources: ['nearest', 'similar'],
        probabilities: heads,
      })),
    );
    const size = (value: object) => JSON.stringify(value).length;
    expect(size(encodeRecord(page))).toBeLessThan(size(page) / 2);
  });
});
