import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Rng } from '../../../scripts/generate/rng.ts';
import { type ScheduleOptions, schedule } from '../../../scripts/load-test/schedule.ts';
import { userOfRank } from '../../../scripts/load-test/traffic.ts';
import { Zipf } from '../../../scripts/load-test/zipf.ts';

const base: ScheduleOptions = { kind: 'poisson', rate: 200, durationMs: 100_000, burstSize: 20, phase: 0 };

function arrivals(change: Partial<ScheduleOptions>, seed = 1): number[] {
  const next = schedule({ ...base, ...change }, new Rng(seed, 'arrivals'));
  const all: number[] = [];
  for (let at = next(); at !== Number.POSITIVE_INFINITY; at = next()) all.push(at);
  return all;
}

/** Variance ÷ mean of the arrivals in bins: 1 for a Poisson process. */
function dispersion(all: number[], binMs: number): number {
  const bins = new Float64Array(base.durationMs / binMs);
  for (const at of all) bins[Math.floor(at / binMs)]++;
  const mean = all.length / bins.length;
  return bins.reduce((sum, count) => sum + (count - mean) ** 2, 0) / bins.length / mean;
}

describe('schedule', () => {
  test('poisson arrivals have the rate, exponential gaps and a variance equal to the mean', () => {
    const all = arrivals({});
    expect(Math.abs(all.length - 20_000)).toBeLessThan(4 * Math.sqrt(20_000));
    expect(dispersion(all, 100)).toBeGreaterThan(0.85);
    expect(dispersion(all, 100)).toBeLessThan(1.15);
    const gaps = all.slice(1).map((at, i) => at - all[i]);
    const longerThanMean = gaps.filter((gap) => gap > 5).length / gaps.length;
    expect(Math.abs(longerThanMean - Math.exp(-1))).toBeLessThan(0.02);
  });

  test('bursts keep the mean rate and fall due together', () => {
    const all = arrivals({ kind: 'burst' });
    const groups = new Map<number, number>();
    for (const at of all) groups.set(at, (groups.get(at) ?? 0) + 1);
    expect(new Set(groups.values())).toEqual(new Set([20]));
    expect(Math.abs(groups.size - 1000)).toBeLessThan(4 * Math.sqrt(1000));
    expect(dispersion(all, 100)).toBeGreaterThan(10);
  });

  test('a constant schedule is even, and two generators interleave', () => {
    const first = arrivals({ kind: 'constant', rate: 10, durationMs: 1000 });
    const second = arrivals({ kind: 'constant', rate: 10, durationMs: 1000, phase: 0.5 });
    expect(first).toEqual([0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
    expect(second.map((at) => at - 50)).toEqual(first);
  });

  test('is the same for the same seed and never falls or leaves the duration', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('poisson', 'burst', 'constant'),
        fc.integer({ min: 1, max: 2000 }),
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 0, max: 1000 }),
        (kind, rate, burstSize, seed) => {
          const options = { kind, rate, burstSize, durationMs: 500 } as const;
          const all = arrivals(options, seed);
          expect(arrivals(options, seed)).toEqual(all);
          expect(all.every((at, i) => at >= (all[i - 1] ?? 0) && at < 500)).toBe(true);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('Zipf', () => {
  test.each([0, 0.8, 1, 1.5])('exponent %s gives ranks their share', (exponent) => {
    const size = 50;
    const draws = 200_000;
    const zipf = new Zipf(size, exponent);
    const rng = new Rng(7, 'zipf');
    const counts = new Float64Array(size + 1);
    for (let i = 0; i < draws; i++) counts[zipf.draw(rng)]++;
    const weights = Array.from({ length: size }, (_, i) => (i + 1) ** -exponent);
    const sum = weights.reduce((a, b) => a + b, 0);
    // Chi-square with 49 degrees of freedom: 95 is beyond the .9999 quantile.
    const chiSquare = weights.reduce((total, weight, i) => {
      const expected = (draws * weight) / sum;
      return total + (counts[i + 1] - expected) ** 2 / expected;
    }, 0);
    expect(chiSquare).toBeLessThan(95);
  });

  test('draws only existing ranks, from one user to millions', () => {
    const rng = new Rng(3, 'zipf');
    for (const size of [1, 2, 3, 5_000_000]) {
      const zipf = new Zipf(size, 1);
      for (let i = 0; i < 2000; i++) {
        const rank = zipf.draw(rng);
        expect(Number.isInteger(rank) && rank >= 1 && rank <= size).toBe(true);
      }
    }
  });

  test('every rank is another user', () => {
    for (const count of [1, 2, 7, 1000, 6180]) {
      const ids = Array.from({ length: count }, (_, i) => userOfRank({ prefix: 'u', count }, i + 1));
      expect(new Set(ids).size).toBe(count);
    }
    const ids = ['x', 'y', 'z'];
    expect([1, 2, 3].map((rank) => userOfRank({ ids }, rank)).sort()).toEqual(ids);
  });
});
