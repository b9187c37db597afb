// The parts of the replays' Python trainer whose right answer is known.
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';

const PYTHON = process.env.FEEDRANK_PYTHON;
const REASON = PYTHON ? '' : ' (skipped: FEEDRANK_PYTHON is not set)';
const TRAINERS = resolve(import.meta.dirname, '../../../scripts/train');

const SCRIPT = `
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import evaluate_calibration as c
from ctr_calibration import sigmoid
from evaluate_lists import fit_blend, blended, likelihood, ndcg

random = np.random.default_rng(1)
n = 20_000
# The networks know the order, the rate of the day is another than that of the days before.
x = random.normal(size=(n, 1)) * 1.5 - 1
y = (random.random((n, 1)) < sigmoid(0.8 * x + 0.5)).astype(np.uint8)
times = np.sort(random.random(n)) * 24 * c.HOUR_MS
maps = np.array([[1.0], [0.0]])
followed = c.follow(x, y, times, maps)
later = y.copy(); later[times > 12 * c.HOUR_MS] = 1
first = times < 12 * c.HOUR_MS
lists = 2000
retrieval = random.normal(size=(lists, 30)); odds = random.normal(size=(lists, 30, 2))
truth = retrieval + 0.5 * odds[..., 0]
chosen = (truth + random.gumbel(size=truth.shape)).argmax(1)
clicked = np.zeros(truth.shape, np.uint8); clicked[np.arange(lists), chosen] = 1
weights = fit_blend(retrieval, odds, clicked)
print(json.dumps({
    'before': c.figures(sigmoid(x[:, 0]), y[:, 0], 1),
    'followed': c.figures(followed[:, 0], y[:, 0], 1),
    'once': c.fit_once(x, y)[:, 0].tolist(),
    'sees_future': bool((c.follow(x, later, times, maps)[first] != followed[first]).any()),
    'weights': weights.tolist(),
    'alone': [likelihood(retrieval, clicked), ndcg(retrieval, clicked)],
    'both': [likelihood(blended(weights, retrieval, odds), clicked), ndcg(blended(weights, retrieval, odds), clicked)],
    'ndcg': [ndcg(np.array([[3.0, 2.0, 1.0]]), np.array([[0, 1, 0]])), ndcg(np.zeros((1, 3)), np.array([[1, 0, 0]])), ndcg(np.ones((1, 2)), np.zeros((1, 2)))],
}))
`;

describe.skipIf(!PYTHON)(`the replays' trainer${REASON}`, () => {
  let found: {
    before: { ece: number };
    followed: { ece: number; eceOfChance: number };
    once: number[];
    sees_future: boolean;
    weights: number[];
    alone: number[];
    both: number[];
    ndcg: number[];
  };
  beforeAll(() => {
    const run = spawnSync(PYTHON!, ['-c', SCRIPT, TRAINERS], { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    found = JSON.parse(run.stdout);
  });

  it('calibrates to the rate of the day by what was known of it, to about what chance leaves', () => {
    expect(found.before.ece).toBeGreaterThan(0.05);
    expect(found.followed.ece).toBeLessThan(found.followed.eceOfChance + 0.005);
    expect(found.sees_future).toBe(false);
    expect(found.once).toEqual([expect.closeTo(0.8, 1), expect.closeTo(0.5, 1)]);
  });

  it('weighs two stages as the choices were made, and orders better than one', () => {
    const [retrieval, first, second] = found.weights;
    expect(first / retrieval).toBeCloseTo(0.5, 1);
    expect(second / retrieval).toBeCloseTo(0, 1);
    expect(found.both[0]).toBeGreaterThan(found.alone[0]);
    expect(found.both[1]).toBeGreaterThan(found.alone[1]);
  });

  it('gives a list the gain of its clicked row, half of the ties before it, none where it was not retrieved', () => {
    expect(found.ndcg).toEqual([expect.closeTo(1 / Math.log2(3), 9), expect.closeTo(1 / Math.log2(3), 9), 0]);
  });
});
