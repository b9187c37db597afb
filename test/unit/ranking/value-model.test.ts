import { describe, expect, it } from 'vitest';
import { DEFAULT_WEIGHTS, parseValueWeights, ValueModel } from '../../../src/ranking/value-model.ts';
import { HEADS } from '../../../src/vocabulary.ts';

const ZERO = { click: 0, like: 0, reply: 0, share: 0, dwell: 0, negative: 0 };
/** click .5, like .1, reply .02, share .03, dwell .4, negative .05 */
const PROBABILITIES = Float32Array.of(9, 0.5, 0.1, 0.02, 0.03, 0.4, 0.05);

describe('value model', () => {
  it('sums weight × probability from the offset given', () => {
    const value = new ValueModel({ ...ZERO, click: 2, negative: -10 });
    expect(value.scoreAt(PROBABILITIES, 1)).toBeCloseTo(2 * 0.5 - 10 * 0.05, 6);
  });

  it('explains the score by contributions that sum to it', () => {
    const value = new ValueModel();
    const heads = value.explain(PROBABILITIES, 1);
    expect(heads.map(({ head }) => head)).toEqual([...HEADS]);
    const sum = heads.reduce((total, { contribution }) => total + contribution, 0);
    expect(sum).toBeCloseTo(value.scoreAt(PROBABILITIES, 1), 10);
  });

  it('orders a post that is likely to be rejected below one that is not', () => {
    const value = new ValueModel();
    const good = Float32Array.of(0.3, 0.1, 0.02, 0.02, 0.2, 0.01);
    const bait = Float32Array.of(0.4, 0.05, 0.01, 0.01, 0.1, 0.2);
    expect(value.scoreAt(good, 0)).toBeGreaterThan(value.scoreAt(bait, 0));
  });

  it('keeps the default of a head that the configuration leaves out', () => {
    expect(parseValueWeights({ share: 5 })).toEqual({ ...DEFAULT_WEIGHTS, share: 5 });
    expect(parseValueWeights(undefined)).toEqual(DEFAULT_WEIGHTS);
  });

  it.each([
    [{ retweet: 1 }, 'weights.retweet'],
    [{ click: '1' }, 'weights.click'],
    [{ click: Number.NaN }, 'weights.click'],
    [{ click: 1e9 }, 'weights.click'],
    [ZERO, 'at least one'],
    [[1, 2], 'must be an object'],
    [null, 'must be an object'],
  ])('refuses %j and names the field', (input, reason) => {
    expect(() => parseValueWeights(input)).toThrow(reason);
  });
});
