import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { evaluateDemo } from '../../../../scripts/evaluate/demo-evaluation.ts';
import {
  dcg,
  greedyIdealList,
  idealList,
  intraListDiversity,
  meanOf,
} from '../../../../scripts/evaluate/slate-metrics.ts';
import { generateWorld } from '../../../../scripts/generate/world.ts';

describe('NDCG', () => {
  const gains = Float32Array.of(0.5, 0, 1, 0.25);
  const gainOf = (item: number) => gains[item];

  test('agrees with a sum worked by hand', () => {
    // 0.5/log2(2) + 1/log2(3) + 0.25/log2(4) = 0.5 + 0.63093 + 0.125
    expect(dcg([0, 2, 3], gainOf, 3)).toBeCloseTo(1.25593, 5);
    // 1/log2(2) + 0.5/log2(3) + 0.25/log2(4) = 1 + 0.315465 + 0.125
    expect(dcg(idealList(gains, 3), gainOf, 3)).toBeCloseTo(1.440465, 5);
  });

  test('items after k do not count', () => {
    expect(dcg([1, 2], gainOf, 1)).toBe(0);
  });

  test('the ideal list has the k largest gains, ties by item, none of gain 0', () => {
    expect(idealList(Float32Array.of(0.2, 0.9, 0.2, 0, 0.9), 3)).toEqual([1, 4, 0]);
    expect(idealList(gains, 10)).toEqual([2, 0, 3]);
  });

  test('no list has more than the ideal', () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 30 }),
        (values) => {
          const all = Float32Array.from(values);
          const ideal = dcg(idealList(all, 10), (item) => all[item], 10);
          const list = values.map((_, item) => item);
          expect(dcg(list, (item) => all[item], 10)).toBeLessThanOrEqual(ideal + 1e-9);
        },
      ),
    );
  });

  test('with fatigue the greedy ideal alternates where repeating would cost more', () => {
    // Items 0 and 1 are of one kind, 2 of another; a repeat halves the gain: .9, then .5 against .8 × .5.
    const halved = (before: readonly number[], item: number) =>
      before.some((other) => other < 2 && item < 2) ? 0.5 : 1;
    const values = Float32Array.of(0.9, 0.8, 0.5);
    expect(greedyIdealList(values, 3, halved)).toEqual([0, 2, 1]);
    expect(greedyIdealList(values, 3, () => 1)).toEqual([0, 1, 2]);
    // .9/log2(2) + .5/log2(3) + .8 × .5/log2(4)
    expect(dcg([0, 2, 1], (item) => values[item], 3, halved)).toBeCloseTo(0.9 + 0.5 / Math.log2(3) + 0.2, 5);
  });
});

test('diversity is one minus the mean similarity of pairs', () => {
  expect(intraListDiversity([1, 2, 3], (a, b) => (a + b === 3 ? 0.6 : 0))).toBeCloseTo(0.8, 6);
  expect(intraListDiversity([1], () => 1)).toBe(0);
});

test('mean and standard error of 1, 2, 3, 4', () => {
  const { mean, standardError } = meanOf([1, 2, 3, 4]);
  expect(mean).toBe(2.5);
  expect(standardError).toBeCloseTo(Math.sqrt(5 / 3 / 4), 6);
});

describe('evaluateDemo', () => {
  const world = generateWorld({ posts: 3_000, users: 60, seed: 4 });
  const best = (userId: string) => {
    const user = world.userIndex(userId);
    const eligible = world.eligible(user);
    return idealList(
      world.affinities(user).map((gain, post) => (eligible[post] ? gain : 0)),
      500,
    ).map(world.postId);
  };

  test('the true order scores 1, simple orders far less, and every step is reported with its error', async () => {
    const { orders, steps, eachStageAdds } = await evaluateDemo({
      world,
      sample: 25,
      lists: async (userId) => {
        const order = best(userId);
        return { ann: order.slice(40, 90), ranked: order.slice(15, 65), slate: order.slice(0, 50) };
      },
    });
    expect(orders.slate.ndcg).toBeCloseTo(1, 6);
    expect(orders.random.ndcg).toBeLessThan(0.3);
    expect(orders.ann.ndcg).toBeLessThan(orders.ranked.ndcg);
    expect(orders.newest.freshShare).toBe(1);
    expect(orders.slate.notEligible).toBe(0);
    expect(steps.map(({ to }) => to)).toEqual(['ann', 'ann', 'ranked', 'ranked', 'slate', 'slate']);
    expect(eachStageAdds).toBe(true);
  });

  test('a stage that adds nothing is not called an addition', async () => {
    const { eachStageAdds } = await evaluateDemo({
      world,
      sample: 20,
      lists: async (userId) => {
        const list = best(userId).slice(0, 50);
        return { ann: list, ranked: list, slate: list };
      },
    });
    expect(eachStageAdds).toBe(false);
  });

  test('tells of each user how many of the ideal posts were candidates', async () => {
    const recalls: (number | undefined)[] = [];
    const slates: (number | undefined)[] = [];
    await evaluateDemo({
      world,
      sample: 12,
      lists: async (userId) => {
        const list = best(userId);
        return { candidates: [...list.slice(10, 60), 'nobody'], slate: list.slice(0, 50) };
      },
      onUser: (_, { candidateRecall, slate }) => {
        recalls.push(candidateRecall);
        slates.push(slate);
      },
    });
    expect(recalls).toHaveLength(12);
    for (const recall of recalls) expect(recall).toBeCloseTo(40 / 50, 6);
    for (const slate of slates) expect(slate).toBeCloseTo(1, 6);
  });

  test('seen, unknown and missing posts earn nothing', async () => {
    const { orders, eachStageAdds } = await evaluateDemo({
      world,
      sample: 20,
      lists: async (userId) => ({
        slate: [
          'nobody',
          ...world
            .eventsOf(world.userIndex(userId))
            .slice(0, 5)
            .map(({ postId }) => postId),
        ],
      }),
    });
    expect(orders.slate.ndcg).toBe(0);
    expect(orders.slate.notEligible).toBeCloseTo(orders.slate.length, 6);
    expect(eachStageAdds).toBeNull();
  });
});
