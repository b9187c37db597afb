import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { orderByScore, rankedSet } from '../../../src/ranking/ranker.ts';
import { candidatesOf } from './ranking-world.ts';

describe('order by score', () => {
  it('equals a stable sort by falling score, NaN last', () => {
    fc.assert(
      fc.property(fc.array(fc.float(), { maxLength: 60 }), (values) => {
        const scores = Float32Array.from(values);
        const key = (i: number) => (Number.isNaN(scores[i]) ? -Infinity : scores[i]);
        const expected = [...scores.keys()].sort((a, b) => {
          return key(a) === key(b) ? a - b : key(b) - key(a);
        });
        expect([...orderByScore(scores, scores.length)]).toEqual(expected);
      }),
    );
  });

  it('ignores the room behind the candidates', () => {
    const scores = Float32Array.of(1, 3, 2, 99);
    expect([...orderByScore(scores, 3)]).toEqual([1, 2, 0]);
  });
});

describe('ranked set', () => {
  it('keeps rows, scores and probabilities together', () => {
    const candidates = candidatesOf(Uint32Array.of(50, 60, 70));
    const probabilities = Float32Array.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6);
    const ranked = rankedSet('m@1', candidates, Float32Array.of(1, 3, 2), probabilities);
    expect([...ranked.rows]).toEqual([60, 70, 50]);
    expect([...ranked.candidate]).toEqual([1, 2, 0]);
    expect([...ranked.scores]).toEqual([3, 2, 1]);
    expect(ranked.probabilities).toEqual(Float32Array.of(0.3, 0.4, 0.5, 0.6, 0.1, 0.2));
    expect(ranked.size).toBe(3);
  });

  it('is empty for no candidates', () => {
    const ranked = rankedSet(
      'm@1',
      candidatesOf(new Uint32Array(0)),
      new Float32Array(0),
      new Float32Array(0),
    );
    expect(ranked.size).toBe(0);
    expect(ranked.rows).toHaveLength(0);
  });
});
