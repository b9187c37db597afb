import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { graphScores, pairedGain, poolOf, tuneBlend } from '../../../scripts/evaluate/retrieval-blend.ts';
import {
  historyOf,
  readPairs,
  recencyFactors,
  splitPairs,
  toInteractions,
  toTrainingSet,
} from '../../../scripts/evaluate/retrieval-data.ts';
import { BestList, QualityMean } from '../../../scripts/evaluate/retrieval-metrics.ts';
import { climb, range } from '../../../scripts/evaluate/retrieval-search.ts';
import { ItemGraph } from '../../../src/candidates/item-graph.ts';

describe('QualityMean', () => {
  it('gives the hand-computed recall and NDCG of one ranking', () => {
    const mean = new QualityMean();
    mean.add([7, 3, 9], new Set([3, 5]));
    expect(mean.value['recall@20']).toBe(0.5);
    // one hit at rank 2 against the ideal of two hits
    expect(mean.value['ndcg@20']).toBeCloseTo(1 / Math.log2(3) / (1 + 1 / Math.log2(3)), 12);
  });

  it('cuts the ideal at 20 and ignores what stands below rank 20', () => {
    const mean = new QualityMean();
    const wanted = new Set(Array.from({ length: 40 }, (_, i) => i));
    mean.add([...wanted], wanted);
    expect(mean.value).toEqual({ 'recall@20': 0.5, 'ndcg@20': 1 });
  });

  it('averages over users that have something to find', () => {
    const mean = new QualityMean();
    mean.add([1], new Set([1]));
    mean.add([1], new Set([2]));
    mean.add([1], new Set());
    expect(mean.users).toBe(2);
    expect(mean.value).toEqual({ 'recall@20': 0.5, 'ndcg@20': 0.5 });
  });

  it('stays within 0 and 1', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(60), { maxLength: 30 }),
        fc.uniqueArray(fc.nat(60), { maxLength: 30 }),
        (ranked, wanted) => {
          const mean = new QualityMean();
          mean.add(ranked, new Set(wanted));
          for (const value of Object.values(mean.value)) expect(value >= 0 && value <= 1 + 1e-12).toBe(true);
        },
      ),
    );
  });
});

describe('BestList', () => {
  it('holds what a full sort would put first', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -9, max: 9 })),
        fc.integer({ min: 1, max: 8 }),
        (scores, capacity) => {
          const best = new BestList(capacity);
          scores.forEach((score, item) => {
            best.offer(item, score);
          });
          const order = scores.map((_, item) => item).sort((a, b) => scores[b] - scores[a] || a - b);
          expect([...best.items.subarray(0, best.size)]).toEqual(order.slice(0, capacity));
        },
      ),
    );
  });
});

describe('poolOf', () => {
  it('ends a row where no item is left', () => {
    expect([...poolOf(Uint32Array.of(1, 2, 3, 4, 0xffffffff, 0xffffffff), 3, 1)]).toEqual([4]);
    expect([...poolOf(Uint32Array.of(1, 2, 3, 4, 5, 6), 3, 1)]).toEqual([4, 5, 6]);
  });
});

describe('pairedGain', () => {
  it('is the mean difference with its standard error, and no gain of fewer than two users', () => {
    expect(pairedGain(Float64Array.of(3, 5), Float64Array.of(1, 1))).toEqual({ mean: 3, standardError: 1 });
    expect(pairedGain(Float64Array.of(3), Float64Array.of(1))).toEqual({ mean: 0, standardError: 0 });
  });
});

describe('tuneBlend', () => {
  // Each user's held item follows their other item in the graph; the towers are given as good or bad.
  const users = 40;
  const fit = toInteractions(
    Array.from({ length: users }, (_, user) => [user % 10, ...(user >= 20 ? [10 + (user % 10)] : [])]),
    20,
  );
  const held = toInteractions(
    Array.from({ length: users }, (_, user) => (user >= 20 ? [] : [10 + (user % 10)])),
    20,
  );
  const split = { fit, held, users: Uint32Array.from({ length: 20 }, (_, i) => i), ordered: false };
  const graph = ItemGraph.build(fit, { neighbours: 5, user: 1, source: 0.5, target: 0.5, power: 1 });
  const run = (right: boolean) => {
    const dim = 20;
    const vectors = new Float32Array(20 * dim);
    for (let user = 0; user < 20; user++) vectors[user * dim + (right ? 10 + (user % 10) : user % 10)] = 4;
    const items = new Float32Array(20 * dim);
    for (let item = 0; item < 20; item++) items[item * dim + item] = 1;
    const pools = Uint32Array.from({ length: 20 * 20 }, (_, i) => (right ? 19 - (i % 20) : i % 20));
    const options = { split, users: 10, deadlineMs: Number.POSITIVE_INFINITY, say: () => {} };
    return tuneBlend(options, {
      graph,
      recency: 0,
      weight: 0.5,
      towers: { dim, users: vectors, items },
      pools,
      confirmUntil: 20,
    });
  };

  it('takes the graph where it helps users that did not choose its weight', async () => {
    const { weight, gain, quality } = await run(false);
    expect(weight).toBeGreaterThan(0);
    expect(gain.mean).toBeGreaterThan(gain.standardError);
    expect(quality['ndcg@20']).toBeGreaterThan(0.6);
  });

  it('leaves it out where the towers are right without it', async () => {
    expect(await run(true)).toMatchObject({ weight: 0, gain: { mean: 0 }, quality: { 'ndcg@20': 1 } });
  });

  it('gives the trainer the scores of the graph with spread 1, zeros for a history without edges', () => {
    const scores = graphScores(graph, 0, split, 1);
    const mean = scores.reduce((sum, x) => sum + x, 0) / 20;
    expect(Math.sqrt(scores.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 20)).toBeCloseTo(1, 5);
    const lonely = toInteractions([[0], [1]], 3);
    const apart = ItemGraph.build(lonely, { neighbours: 5, user: 1, source: 0.5, target: 0.5, power: 1 });
    const alone = { fit: lonely, held: lonely, users: Uint32Array.of(0), ordered: false };
    expect([...graphScores(apart, 0, alone, 1)]).toEqual([0, 0, 0]);
  });
});

describe('recencyFactors', () => {
  it('lets the last item of a history count 1 and earlier ones less, all alike at 0', () => {
    expect([...recencyFactors(4, 1)]).toEqual([0.25, 0.5, 0.75, 1]);
    expect([...recencyFactors(3, 0)]).toEqual([1, 1, 1]);
    expect(recencyFactors(0, 2)).toHaveLength(0);
  });
});

describe('splitPairs', () => {
  it('keeps the order of lines that have one, for what is fitted', () => {
    const lines = Array.from({ length: 30 }, (_, user) =>
      Array.from({ length: 10 }, (_, i) => (i * 7 + user) % 10),
    );
    const { fit, ordered } = splitPairs(toInteractions(lines, 10), 0.3, 7);
    expect(ordered).toBe(true);
    for (const [user, line] of lines.entries()) expect([...historyOf(fit, user)]).toEqual(line.slice(0, 7));
  });

  const all = toInteractions(
    Array.from({ length: 50 }, (_, user) => Array.from({ length: (user % 20) + 1 }, (_, i) => i * 2)),
    40,
  );

  it('partitions every user and leaves at least one item to fit on', () => {
    const { fit, held, users } = splitPairs(all, 0.3, 7);
    for (let user = 0; user < all.userCount; user++) {
      const parts = [...historyOf(fit, user), ...historyOf(held, user)].sort((a, b) => a - b);
      expect(parts).toEqual([...historyOf(all, user)]);
      expect(historyOf(fit, user).length).toBeGreaterThan(0);
      expect(users.includes(user)).toBe(historyOf(held, user).length > 0);
    }
  });

  it('holds out the last of each line where lines have an order of their own', () => {
    const ordered = toInteractions(
      Array.from({ length: 30 }, (_, user) => Array.from({ length: 10 }, (_, i) => (user * 7 + i * 3) % 31)),
      31,
    );
    const { held } = splitPairs(ordered, 0.3, 7);
    for (let user = 0; user < 30; user++) {
      expect([...historyOf(held, user)]).toEqual(
        [...historyOf(ordered, user).slice(7)].sort((a, b) => a - b),
      );
    }
    const drawn = splitPairs(ordered, 0.3, 7, false);
    expect(drawn.ordered).toBe(false);
    const ends = (user: number) => [...historyOf(held, user)].join();
    expect(
      Array.from({ length: 30 }, (_, user) => user).some(
        (user) => historyOf(drawn.held, user).join() !== ends(user),
      ),
    ).toBe(true);
  });

  it('holds out at random where lines are sorted by id', () => {
    const { held } = splitPairs(all, 0.3, 7);
    const lastOf = (user: number) => historyOf(all, user).slice(-historyOf(held, user).length);
    const users = Array.from({ length: 50 }, (_, user) => user).filter(
      (user) => historyOf(held, user).length > 1,
    );
    expect(users.some((user) => lastOf(user).join() !== historyOf(held, user).join())).toBe(true);
  });

  it('depends on the seed alone', () => {
    expect(splitPairs(all, 0.3, 7)).toEqual(splitPairs(all, 0.3, 7));
    expect(splitPairs(all, 0.3, 7).held).not.toEqual(splitPairs(all, 0.3, 8).held);
  });
});

describe('readPairs', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'retrieval-metrics-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const read = async (text: string) => {
    await writeFile(join(folder, 'train.txt'), text);
    return readPairs(join(folder, 'train.txt'));
  };

  it('joins lines of one user in their order, drops repeats and makes ids dense', async () => {
    const set = toTrainingSet(await read('900 5 5 70\n3 70\n\n900 8\n4\n'));
    expect(set.all.userCount).toBe(2);
    expect([...historyOf(set.all, set.userOf.get(900)!)]).toEqual([0, 2, 1]);
    expect([...historyOf(set.all, set.userOf.get(3)!)]).toEqual([set.itemOf.get(70)]);
    expect(set.userOf.has(4)).toBe(false);
  });

  it.each([
    ['0 1\n1 x2\n', "line 2: 'x2'"],
    ['0 -1\n', "line 1: '-1'"],
    ['0 1.5\n', "line 1: '1.5'"],
  ])('names the line of a bad id in %j', async (text, reason) => {
    await expect(read(text)).rejects.toThrow(reason);
  });
});

describe('climb', () => {
  const axes = { x: range(0, 10, 1), y: range(0, 10, 1) };
  const evaluate = ({ x, y }: { x: number; y: number }) => -((x - 7) ** 2) - (y - 2) ** 2;

  it('finds the top of a smooth hill', async () => {
    const options = { deadlineMs: Number.POSITIVE_INFINITY, onTrial: () => {} };
    expect((await climb({ x: 0, y: 9 }, axes, evaluate, options)).settings).toEqual({ x: 7, y: 2 });
  });

  it('tries the start and nothing else when the deadline has passed', async () => {
    let trials = 0;
    const options = { deadlineMs: 0, onTrial: () => trials++ };
    expect((await climb({ x: 0, y: 9 }, axes, evaluate, options)).settings).toEqual({ x: 0, y: 9 });
    expect(trials).toBe(1);
  });
});
