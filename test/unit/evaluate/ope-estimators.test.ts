import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  estimateValue,
  type LoggedRows,
  truncateWeights,
  weightReport,
  weightWarnings,
} from '../../../scripts/evaluate/ope-estimators.ts';
import {
  DEFAULT_INTERVALS,
  estimateMean,
  estimateRatio,
  studentPoint,
} from '../../../scripts/evaluate/ope-intervals.ts';
import { crossFit, fitItems } from '../../../scripts/evaluate/ope-reward-model.ts';
import { seededRandom } from '../../../src/rerank/seeded-random.ts';

const SIGNED = { ...DEFAULT_INTERVALS, nonNegative: false };

describe('estimates worked by hand', () => {
  const rows: LoggedRows = {
    weights: Float64Array.of(2, 0.5, 0, 0.5),
    rewards: Float64Array.of(1, 0, 1, 1),
    predicted: { logged: Float64Array.of(0.5, 0.25, 0.5, 0.5), target: Float64Array.of(0.4, 0.4, 0.2, 0.2) },
  };
  const { ips, snips, dr, sndr, model, weights } = estimateValue(rows, DEFAULT_INTERVALS);

  test('IPS divides the weighted rewards by the rows, SNIPS by the weights', () => {
    expect(ips.value).toBeCloseTo(2.5 / 4, 12);
    expect(snips.value).toBeCloseTo(2.5 / 3, 12);
    // Residuals of IPS: 2, 0, 0, .5 less .625 each, squares summing to 2.6875.
    expect(ips.standardError).toBeCloseTo(Math.sqrt((2.6875 * 4) / 3) / 4, 12);
  });

  test('DR adds the weighted residuals to the prediction for the new policy', () => {
    // Residuals 2 · .5, .5 · −.25, 0, .5 · .5 sum to 1.125; predictions sum to 1.2.
    expect(dr?.value).toBeCloseTo((1.2 + 1.125) / 4, 12);
    expect(sndr?.value).toBeCloseTo(1.2 / 4 + 1.125 / 3, 12);
    expect(model).toBeCloseTo(0.3, 12);
  });

  test('the report of the weights', () => {
    expect(weights).toEqual({ rows: 4, mean: 0.75, max: 2, effectiveSize: 9 / 4.5, heaviestShare: 2 / 3 });
  });

  test('a policy that the log never follows can be worth anything', () => {
    const never = { ...rows, weights: new Float64Array(4) };
    const { ips, snips, dr, sndr } = estimateValue(never, DEFAULT_INTERVALS);
    expect(snips).toMatchObject({ value: 0, low: 0, high: 1 });
    expect(ips.high).toBe(1);
    // What is left is the model.
    expect([dr?.value, sndr?.value]).toEqual([expect.closeTo(0.3, 12), expect.closeTo(0.3, 12)]);
    expect(weightWarnings(never.weights)[0]).toContain('0.0 effective rows of 4');
  });

  test('without a model there is no doubly-robust estimate', () => {
    const { dr, sndr, model } = estimateValue({ ...rows, predicted: undefined }, DEFAULT_INTERVALS);
    expect([dr, sndr, model]).toEqual([null, null, null]);
  });
});

test('the logging policy itself: every estimator gives the mean reward, and weights of 1 lose no row', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 2, maxLength: 40 }), (numbers) => {
      const rewards = Float64Array.from(numbers);
      const weights = new Float64Array(rewards.length).fill(1);
      const mean = rewards.reduce((sum, r) => sum + r, 0) / rewards.length;
      const flat = new Float64Array(rewards.length).fill(0.7);
      const estimates = estimateValue(
        { weights, rewards, predicted: { logged: flat, target: flat } },
        DEFAULT_INTERVALS,
      );
      for (const name of ['ips', 'snips', 'dr', 'sndr'] as const) {
        expect(estimates[name]?.value).toBeCloseTo(mean, 9);
      }
      expect(estimates.weights.effectiveSize).toBeCloseTo(rewards.length, 9);
    }),
  );
});

/** A bandit with two contexts and three actions: click rates, a logging policy and a very different new one. */
const RATES = [
  [0.1, 0.3, 0.5],
  [0.6, 0.2, 0.1],
];
const LOGGING = [
  [0.6, 0.3, 0.1],
  [0.2, 0.5, 0.3],
];
const TARGET = [
  [0.1, 0.2, 0.7],
  [0.8, 0.1, 0.1],
];
const expectedValue = (policy: number[][]) =>
  RATES.reduce((sum, rates, x) => sum + rates.reduce((s, rate, a) => s + policy[x][a] * rate, 0), 0) / 2;
const TRUTH = expectedValue(TARGET);

function simulate(size: number, random: () => number, model: number[][]): LoggedRows {
  const rows = {
    weights: new Float64Array(size),
    rewards: new Float64Array(size),
    predicted: { logged: new Float64Array(size), target: new Float64Array(size) },
  };
  for (let i = 0; i < size; i++) {
    const x = random() < 0.5 ? 0 : 1;
    const draw = random();
    const a = draw < LOGGING[x][0] ? 0 : draw < LOGGING[x][0] + LOGGING[x][1] ? 1 : 2;
    rows.weights[i] = TARGET[x][a] / LOGGING[x][a];
    rows.rewards[i] = random() < RATES[x][a] ? 1 : 0;
    rows.predicted.logged[i] = model[x][a];
    rows.predicted.target[i] = TARGET[x].reduce((sum, p, action) => sum + p * model[x][action], 0);
  }
  return rows;
}

describe('on a simulated bandit of known truth', () => {
  const wrong = [
    [0.9, 0.1, 0.4],
    [0.2, 0.7, 0.3],
  ];

  test('IPS, and DR with a wrong model, are unbiased; a right model makes DR the tightest', () => {
    const random = seededRandom(11);
    const runs = 300;
    const collect = (model: number[][]) => {
      const found = { ips: [] as number[], dr: [] as number[] };
      for (let run = 0; run < runs; run++) {
        const { ips, dr } = estimateValue(simulate(100, random, model), SIGNED_FAST);
        found.ips.push(ips.value);
        found.dr.push(dr!.value);
      }
      return found;
    };
    const withWrong = collect(wrong);
    const withRight = collect(RATES);
    for (const values of [withWrong.ips, withWrong.dr, withRight.dr]) {
      const { value, standardError } = estimateMean(Float64Array.from(values), undefined, SIGNED_FAST);
      expect(Math.abs(value - TRUTH)).toBeLessThan(4 * standardError);
    }
    const spread = (values: number[]) =>
      estimateMean(Float64Array.from(values), undefined, SIGNED_FAST).standardError;
    expect(spread(withRight.dr)).toBeLessThan(0.8 * spread(withWrong.ips));
    // The logging policy's own mean is far off, so that this is not passed by averaging.
    expect(Math.abs(expectedValue(LOGGING) - TRUTH)).toBeGreaterThan(0.15);
  });

  test.each(['ips', 'snips', 'dr', 'sndr'] as const)(
    'intervals of %s hold the truth about as often as they say',
    (name) => {
      const random = seededRandom(5);
      const runs = 300;
      let held = 0;
      for (let run = 0; run < runs; run++) {
        const { low, high } = estimateValue(simulate(400, random, wrong), DEFAULT_INTERVALS)[name]!;
        if (low <= TRUTH && TRUTH <= high) held++;
      }
      expect(held / runs).toBeGreaterThan(0.91);
      expect(held / runs).toBeLessThan(0.99);
    },
  );
});

const SIGNED_FAST = { ...SIGNED, resamples: 100 };

describe('intervals', () => {
  test('the points of Student’s t agree with its table', () => {
    for (const [degrees, point] of [
      [3, 3.182],
      [10, 2.228],
      [30, 2.042],
      [1e9, 1.96],
    ]) {
      expect(studentPoint(degrees)).toBeCloseTo(point, degrees === 3 ? 1 : 3);
    }
  });

  test('rewards that cannot be negative get an interval above 0, others one around the value', () => {
    const rare = Float64Array.from({ length: 2000 }, (_, i) => (i % 400 === 0 ? 1 : 0));
    const counted = estimateMean(rare, undefined, DEFAULT_INTERVALS);
    expect(counted.interval).toBe('log');
    expect(counted.low).toBeGreaterThan(0);
    expect(counted.high - counted.value).toBeGreaterThan(counted.value - counted.low);
    const signed = estimateMean(
      rare.map((x, i) => x - (i % 3)),
      undefined,
      SIGNED,
    );
    expect(signed.interval).toBe('bootstrap');
    expect(signed.low).toBeLessThan(signed.value);
    expect(signed.high).toBeGreaterThan(signed.value);
    expect(signed.high - signed.low).toBeCloseTo(2 * 1.96 * signed.standardError, 1);
  });

  test('no reward at all: between 0 and the rule of three', () => {
    const none = estimateMean(new Float64Array(300), undefined, DEFAULT_INTERVALS);
    expect(none).toMatchObject({ value: 0, low: 0, high: 0.01, interval: 'rule-of-three' });
  });

  test('rows of one cluster count once: repeating every row changes nothing', () => {
    const random = seededRandom(3);
    const values = Float64Array.from({ length: 80 }, () => random());
    const repeated = Float64Array.from({ length: 240 }, (_, i) => values[Math.floor(i / 3)]);
    const cluster = Int32Array.from({ length: 240 }, (_, i) => Math.floor(i / 3));
    const alone = estimateMean(values, undefined, DEFAULT_INTERVALS);
    const together = estimateMean(repeated, cluster, DEFAULT_INTERVALS);
    for (const field of ['value', 'standardError', 'low', 'high'] as const) {
      expect(together[field]).toBeCloseTo(alone[field], 12);
    }
    expect(estimateMean(repeated, undefined, DEFAULT_INTERVALS).standardError).toBeLessThan(
      0.7 * alone.standardError,
    );
  });

  test('the same seed gives the same bootstrap', () => {
    const values = Float64Array.from({ length: 50 }, (_, i) => Math.sin(i));
    const ones = new Float64Array(50).fill(1);
    expect(estimateRatio(values, ones, SIGNED)).toEqual(estimateRatio(values, ones, SIGNED));
  });
});

describe('weights', () => {
  test('one row of a tiny logged probability is cut and warned of', () => {
    const weights = new Float64Array(10_000).fill(0.96);
    weights[17] = 21_739;
    expect(weightWarnings(weights).join()).toMatch(/2\.1 effective rows.*69 % of all weight/);
    const { weights: cut, at, rows } = truncateWeights(weights);
    expect([at, rows, cut[17]]).toEqual([100, 1, 100]);
    expect(weightReport(cut).effectiveSize).toBeGreaterThan(4000);
    expect(weightWarnings(cut)).toEqual([]);
  });

  test('a mean far from 1 says that the log lacks support', () => {
    const random = seededRandom(2);
    const weights = Float64Array.from({ length: 5000 }, () => 0.6 + 0.4 * random());
    expect(weightWarnings(weights).join()).toMatch(/mean weight is 0\.8\d+, not 1/);
  });
});

describe('the reward model', () => {
  /** 20 items that differ threefold, positions at 1, .5 and .25 of it. */
  function log(size: number, seed: number) {
    const random = seededRandom(seed);
    const items = new Int32Array(size);
    const positions = new Int32Array(size);
    const rewards = Float64Array.from({ length: size }, (_, row) => {
      items[row] = Math.floor(random() * 20);
      positions[row] = Math.floor(random() * 3);
      return random() < (0.2 + 0.4 * (items[row] / 19)) / 2 ** positions[row] ? 1 : 0;
    });
    return { items, positions, rewards, itemCount: 20, positionCount: 3 };
  }

  test('finds the items and positions that earn more', () => {
    const { base, factor } = fitItems(log(20_000, 1), () => true);
    expect(base[1] / base[0]).toBeCloseTo(0.5, 1);
    expect(base[2] / base[0]).toBeCloseTo(0.25, 1);
    expect(factor[19] / factor[0]).toBeGreaterThan(2.4);
    expect(factor[19] / factor[0]).toBeLessThan(3.6);
  });

  test('shrinks items to the mean where there is little to go by', () => {
    const { factor } = fitItems(log(60, 1), () => true);
    expect(Math.max(...factor) / Math.min(...factor)).toBeLessThan(2);
  });

  test('no row is predicted from its own reward', () => {
    const rows = log(500, 4);
    const uniform = new Float64Array(20).fill(1 / 20);
    const before = crossFit(rows, () => uniform, 9);
    const changed = { ...rows, rewards: rows.rewards.slice() };
    changed.rewards[7] = 50;
    const after = crossFit(changed, () => uniform, 9);
    expect(after.logged[7]).toBe(before.logged[7]);
    expect(after.target[7]).toBe(before.target[7]);
    const others = [...rows.items.keys()].filter((row) => after.target[row] !== before.target[row]);
    expect(others.length).toBeGreaterThan(300);
  });
});
