import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bucketOf } from '../../../../src/ranking/lifecycle/buckets.ts';
import { Concentration } from '../../../../src/ranking/lifecycle/concentration.ts';
import { rankCorrelation } from '../../../../src/ranking/lifecycle/rank-correlation.ts';
import { RecentMedian } from '../../../../src/ranking/lifecycle/recent-median.ts';
import { decileCounts, stabilityIndex } from '../../../../src/ranking/lifecycle/score-drift.ts';
import { randomOf } from '../../features/catalogue.ts';

const scores = fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 3, maxLength: 60 });

describe('buckets', () => {
  it('give a share of the users its share, whatever the salt', () => {
    for (const salt of ['canary:ranker@2', 'canary:ranker@3', 'experiment:weights']) {
      const inside = Array.from({ length: 20_000 }, (_, i) => bucketOf(salt, `user-${i}`) < 0.1);
      expect(inside.filter(Boolean).length / 20_000).toBeCloseTo(0.1, 2);
    }
  });

  it('are sticky under one salt and independent between two', () => {
    const users = Array.from({ length: 20_000 }, (_, i) => `user-${i}`);
    const both = users.filter((user) => bucketOf('a', user) < 0.3 && bucketOf('b', user) < 0.3);
    expect(both.length / users.length).toBeCloseTo(0.09, 2);
    for (const user of users.slice(0, 100)) expect(bucketOf('a', user)).toBe(bucketOf('a', user));
  });
});

describe('rank correlation', () => {
  it('is 1 under any rising transformation, −1 reversed, and the same either way round', () => {
    fc.assert(
      fc.property(scores, scores, (a, b) => {
        fc.pre(new Set(a).size > 1);
        expect(
          rankCorrelation(
            a,
            a.map((x) => x ** 3 + 7),
          ),
        ).toBeCloseTo(1, 9);
        expect(
          rankCorrelation(
            a,
            a.map((x) => -x),
          ),
        ).toBeCloseTo(-1, 9);
        expect(rankCorrelation(a, b)).toBeCloseTo(rankCorrelation(b, a), 12);
      }),
    );
  });

  it('agrees with the textbook on ties (Spearman, mean ranks)', () => {
    // scipy.stats.spearmanr gives the same.
    expect(rankCorrelation([1, 2, 2, 4, 5], [5, 6, 7, 8, 7])).toBeCloseTo(0.7631578947368421, 12);
  });

  it('is 0 where a list orders nothing', () => {
    expect(rankCorrelation([1, 1, 1], [1, 2, 3])).toBe(0);
    expect(rankCorrelation([1], [1])).toBe(0);
  });
});

describe('score drift', () => {
  const normal = (seed: number, shift: number) => {
    const random = randomOf(seed);
    return Float32Array.from({ length: 4000 }, () => {
      return shift + Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    });
  };

  it('is near 0 for the same distribution and major for a shift of one standard deviation', () => {
    const reference = normal(1, 0);
    const own = decileCounts(reference, reference);
    expect(Math.max(...own) - Math.min(...own)).toBeLessThanOrEqual(2);
    expect(stabilityIndex(own, decileCounts(reference, normal(2, 0)))).toBeLessThan(0.02);
    expect(stabilityIndex(own, decileCounts(reference, normal(2, 1)))).toBeGreaterThan(0.5);
  });

  it('stays finite when nothing falls into a bin', () => {
    const reference = normal(1, 0);
    const far = decileCounts(reference, new Float32Array(100).fill(1000));
    expect(stabilityIndex(decileCounts(reference, reference), far)).toBeGreaterThan(5);
    expect(stabilityIndex([0, 0], [0, 0])).toBe(0);
  });
});

describe('concentration', () => {
  it('is the probability that two draws are of one kind, however much was counted', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 2, maxLength: 40 }), (kinds) => {
        const counted = new Concentration();
        for (const kind of kinds) counted.add(kind);
        let same = 0;
        for (let i = 0; i < kinds.length; i++) for (let j = 0; j < i; j++) if (kinds[i] === kinds[j]) same++;
        expect(counted.indexWith(null)).toBeCloseTo(same / ((kinds.length * (kinds.length - 1)) / 2), 12);
      }),
    );
  });

  it('of two counts together is that of all that both counted, whichever is asked', () => {
    const kinds = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 30 });
    fc.assert(
      fc.property(kinds, kinds, (here, there) => {
        const [one, other, all] = [new Concentration(), new Concentration(), new Concentration()];
        for (const kind of here) one.add(kind);
        for (const kind of there) other.add(kind);
        all.addAll([...one.toJSON(), ...other.toJSON()]);
        expect(one.indexWith(other)).toBeCloseTo(all.indexWith(null), 12);
        expect(other.indexWith(one)).toBeCloseTo(all.indexWith(null), 12);
      }),
    );
  });

  it('counts no more kinds than its limit', () => {
    const counted = new Concentration(2);
    for (const kind of ['a', 'b', 'c', 'c', 'c', 'a']) counted.add(kind);
    expect(counted.indexWith(null)).toBeCloseTo(1 / 3, 12);
  });
});

describe('recent median', () => {
  it('forgets what is old, and does not mind a value that waited', () => {
    const recent = new RecentMedian();
    expect(recent.medianWith(null)).toBeNull();
    for (let i = 0; i < 1000; i++) recent.add(50);
    for (let i = 0; i < 1000; i++) recent.add(i % 10 === 0 ? 900 : 2);
    expect(recent.medianWith(null)).toBe(2);
  });
});
