import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KneeSearch, type StepPlan } from '../../../scripts/load-test/knee-search.ts';

const plan: StepPlan = { start: 10, factor: 2, max: 1000, list: null, refine: 2 };

function find(change: Partial<StepPlan>, sustains: (rate: number) => boolean) {
  const search = new KneeSearch({ ...plan, ...change });
  const tried: number[] = [];
  for (let rate = search.next(); rate !== null && tried.length < 100; rate = search.next()) {
    tried.push(Number(rate.toFixed(3)));
    search.record(rate, sustains(rate));
  }
  return { tried, knee: search.knee, bounded: search.bounded };
}

describe('KneeSearch', () => {
  test('goes up by the factor, then between the last good and the first bad rate', () => {
    const { tried, knee } = find({}, (rate) => rate <= 60);
    expect(tried).toEqual([10, 20, 40, 80, 56.569, 67.272]);
    expect(knee).toBeCloseTo(56.569, 3);
  });

  test('a service that sustains everything gives a lower bound', () => {
    expect(find({ max: 40 }, () => true)).toEqual({ tried: [10, 20, 40], knee: 40, bounded: false });
  });

  test('a service that sustains nothing is tried at lower rates and has no knee', () => {
    expect(find({}, () => false)).toEqual({ tried: [10, 5, 2.5], knee: null, bounded: true });
  });

  test('a list is tried as it is, until one fails', () => {
    const list = [30, 50, 70, 90];
    expect(find({ list, refine: 0 }, (rate) => rate < 60)).toEqual({
      tried: [30, 50, 70],
      knee: 50,
      bounded: true,
    });
    expect(find({ list }, () => true).tried).toEqual(list);
  });

  test('the knee is sustained, and within the refined factor of the true limit', () => {
    fc.assert(
      fc.property(fc.double({ min: 10, max: 500, noNaN: true }), (limit) => {
        const { knee } = find({ refine: 3 }, (rate) => rate <= limit);
        expect(knee).toBeLessThanOrEqual(limit);
        expect(limit / knee!).toBeLessThanOrEqual(2 ** (1 / 8) + 1e-9);
      }),
    );
  });
});
