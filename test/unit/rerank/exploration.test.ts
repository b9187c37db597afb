import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { plackettLucePick } from '../../../src/rerank/exploration.ts';
import { seededRandom } from '../../../src/rerank/seeded-random.ts';
import { rerankPosts } from './test-ranked.ts';

describe('plackettLucePick', () => {
  it('gives each item the softmax of its logit, and these sum to 1', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -800, max: 800, noNaN: true }), { minLength: 1, maxLength: 30 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (logits, random) => {
          const { index, probability } = plackettLucePick(logits, random);
          const top = Math.max(...logits);
          const weights = logits.map((logit) => Math.exp(logit - top));
          const total = weights.reduce((sum, weight) => sum + weight);
          expect(probability).toBeCloseTo(weights[index] / total, 12);
          expect(probability).toBeGreaterThan(0);
        },
      ),
    );
  });
});

describe('explored requests', () => {
  const posts = Array.from({ length: 4 }, () => ({}));
  const rules = { exploration: { temperature: 1, pool: 4, depth: 4 } };

  it('draw whole orders as often as their propensities say, over all orders summing to 1', () => {
    const seen = new Map<string, { count: number; propensity: number }>();
    const runs = 8000;
    for (let seed = 0; seed < runs; seed++) {
      const { slate, rows } = rerankPosts(posts, rules, { explore: true, seed });
      const entry = seen.get(rows.join()) ?? { count: 0, propensity: 0 };
      entry.count++;
      entry.propensity = slate.reduce((product, { propensity }) => product * propensity, 1);
      seen.set(rows.join(), entry);
    }
    expect(seen.size).toBe(24);
    let total = 0;
    let chiSquare = 0;
    for (const { count, propensity } of seen.values()) {
      total += propensity;
      chiSquare += (count - runs * propensity) ** 2 / (runs * propensity);
    }
    expect(total).toBeCloseTo(1, 9);
    // 23 degrees of freedom, p = 0.001; seeds are fixed, so the outcome is too.
    expect(chiSquare).toBeLessThan(49.7);
  });

  it('agree with Gumbel top-k on the first position', () => {
    const { slate } = rerankPosts(posts, rules, { explore: true, seed: 3 });
    const scores = posts.map((_, i) => 1 - i / 5);
    const mean = scores.reduce((a, b) => a + b) / 4;
    const deviation = Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / 4);
    const random = seededRandom(99);
    const wins = [0, 0, 0, 0];
    const runs = 40_000;
    for (let run = 0; run < runs; run++) {
      const keys = scores.map((score) => (score - mean) / deviation - Math.log(-Math.log(1 - random())));
      wins[keys.indexOf(Math.max(...keys))]++;
    }
    expect(slate[0].propensity).toBeCloseTo(wins[slate[0].row] / runs, 1);
  });

  it('keep caps, with the probability among the posts that the caps allowed', () => {
    const mine = [{ authorId: 'a' }, { authorId: 'a' }, { authorId: 'b' }];
    const capped = { ...rules, authorCap: { window: 2, perWindow: 1, decay: 1 } };
    for (let seed = 0; seed < 50; seed++) {
      const { rows, slate } = rerankPosts(mine, capped, { explore: true, seed });
      if (rows[0] === 2) continue;
      expect(rows[1]).toBe(2);
      expect(slate[1].propensity).toBe(1);
    }
  });

  it('sample only the pool and only to the depth', () => {
    const many = Array.from({ length: 30 }, () => ({}));
    const { rows, slate } = rerankPosts(
      many,
      { exploration: { temperature: 5, pool: 10, depth: 5 } },
      { explore: true },
    );
    expect(rows.slice(0, 5).every((row) => row < 10)).toBe(true);
    expect(rows.slice(5)).toEqual([...rows.slice(5)].sort((a, b) => a - b));
    expect(slate.slice(5).every(({ propensity }) => propensity === 1)).toBe(true);
  });
});

describe('fresh slots', () => {
  const posts = Array.from({ length: 30 }, (_, i) => ({
    impressions: i < 20 ? 1000 : 0,
    ageHours: 5,
    clicks: i === 25 ? 1 : 0,
  }));
  const freshSlots = { every: 10, offset: 4, pool: 5, maxImpressions: 50 };

  it('show one of the best fresh posts each, uniformly, with that probability', () => {
    const counts = new Map<number, number>();
    for (let seed = 0; seed < 500; seed++) {
      const { slate, rows } = rerankPosts(posts, { freshSlots }, { seed, slateSize: 20 });
      expect(slate[4].propensity).toBe(1 / 5);
      expect(slate[4].rules).toEqual([{ rule: 'fresh-slot', effect: 'chosen from 5 for 5' }]);
      expect(rows[14]).toBeGreaterThanOrEqual(20);
      expect(rows.filter((row) => row >= 20)).toHaveLength(2);
      counts.set(rows[4], (counts.get(rows[4]) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual([20, 21, 22, 23, 24]);
    for (const count of counts.values()) expect(Math.abs(count - 100)).toBeLessThan(40);
  });

  it('are not used when a fresh post stands nearby anyway', () => {
    const natural = posts.map((post, i) => (i === 2 ? { ...post, impressions: 0 } : post));
    const { rows } = rerankPosts(natural, { freshSlots }, { slateSize: 10 });
    expect(rows).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('choose the largest upper confidence bound when told to', () => {
    const choices = { ...freshSlots, choice: 'ucb', pool: 10, ucbWeight: 0.1 };
    const { slate, rows } = rerankPosts(
      posts.map((post, i) => (i === 25 ? { ...post, impressions: 1, clicks: 1 } : post)),
      { freshSlots: choices },
    );
    expect(rows[4]).toBe(25);
    expect(slate[4].propensity).toBe(1);
  });
});
