import { describe, expect, test } from 'vitest';
import { stepProbabilities } from '../../../scripts/evaluate/ope-exploration-record.ts';
import { DEFAULT_INTERVALS, estimateMean } from '../../../scripts/evaluate/ope-intervals.ts';
import { cumulative, estimateSlates, type LoggedSlate } from '../../../scripts/evaluate/ope-slate.ts';
import { seededRandom } from '../../../src/rerank/seeded-random.ts';

const OPTIONS = { ...DEFAULT_INTERVALS, resamples: 200 };

function slate(user: number, ratios: number[], rewards: number[]): LoggedSlate {
  const none = new Float64Array(ratios.length);
  return {
    user,
    ratios: Float64Array.from(ratios),
    rewards: Float64Array.from(rewards),
    predicted: none,
    predictedTarget: none,
    predictedCurrent: none,
  };
}

describe('slates worked by hand', () => {
  const slates = [
    slate(0, [2, 0.5], [1, 0]),
    slate(1, [0.5, 1], [0, 1]),
    slate(2, [0.5, 2], [1, 1]),
    slate(3, [1], [0]),
  ];

  test('the weight of a position is the product of the ratios down to it', () => {
    expect([...cumulative(slate(0, [2, 0.5, 3], [0, 0, 0]))]).toEqual([2, 1, 3]);
    expect([...cumulative(slate(0, [8, 0.5, 3], [0, 0, 0]), 5)]).toEqual([5, 4, 5]);
  });

  test('SNIPS normalises each position by its own weights', () => {
    const { snips, current, positions, oneStep } = estimateSlates(slates, 2, OPTIONS);
    // Position 1: (2 + .5) ÷ 4 over all four; position 2: (.5 + 1) ÷ (1 + .5 + 1) over three of four.
    expect(snips.value).toBeCloseTo(2.5 / 4 + (1.5 / 2.5) * 0.75, 12);
    expect(current.value).toBeCloseTo(4 / 4, 12);
    expect(positions[1]).toMatchObject({ requests: 3, current: 2 / 3, effectiveSize: 2.5 ** 2 / 2.25 });
    // Each position alone: (1 + 2) ÷ (.5 + 1 + 2) at the second, weights above 2 = √4 being cut.
    expect(oneStep.value).toBeCloseTo(2.5 / 4 + (3 / 3.5) * 0.75, 12);
  });

  test('depth counts the first positions only', () => {
    expect(estimateSlates(slates, 1, OPTIONS).current.value).toBeCloseTo(2 / 4, 12);
  });
});

/** Five posts, three positions: small enough to know every order's probability. */
const POOL = 5;
const DEPTH = 3;
const LOGGING = Float64Array.of(1.2, 0.8, 0.3, -0.2, -0.6);
const TARGET = Float64Array.of(-0.4, 0.1, 0.3, 0.7, 0.9);
const EARNS = Float64Array.of(0.1, 0.15, 0.3, 0.5, 0.7);
const SEEN = [1, 0.6, 0.4];

function open(taken: readonly number[]): Uint8Array {
  return Uint8Array.from({ length: POOL }, (_, item) => (taken.includes(item) ? 0 : 1));
}

/** Expected reward of one request, over every order. */
function exactValue(logits: Float64Array, taken: number[] = []): number {
  if (taken.length === DEPTH) return 0;
  return stepProbabilities(logits, open(taken)).reduce((sum, p, item) => {
    return p === 0
      ? sum
      : sum + p * (SEEN[taken.length] * EARNS[item] + exactValue(logits, [...taken, item]));
  }, 0);
}

/** `model` predicts the rewards; right up to the factor of the position or not. */
function logged(user: number, random: () => number, model: Float64Array): LoggedSlate {
  const taken: number[] = [];
  const made = slate(user, new Array(DEPTH).fill(0), new Array(DEPTH).fill(0));
  made.predicted = new Float64Array(DEPTH);
  made.predictedTarget = new Float64Array(DEPTH);
  made.predictedCurrent = new Float64Array(DEPTH);
  for (let k = 0; k < DEPTH; k++) {
    const from = stepProbabilities(LOGGING, open(taken));
    const to = stepProbabilities(TARGET, open(taken));
    let left = random();
    let pick = -1;
    for (let item = 0; item < POOL && left >= 0; item++) {
      if (from[item] === 0) continue;
      pick = item;
      left -= from[item];
    }
    made.ratios[k] = to[pick] / from[pick];
    made.rewards[k] = random() < SEEN[k] * EARNS[pick] ? 1 : 0;
    made.predicted[k] = model[pick];
    for (let item = 0; item < POOL; item++) {
      made.predictedTarget[k] += to[item] * model[item];
      made.predictedCurrent[k] += from[item] * model[item];
    }
    taken.push(pick);
  }
  return made;
}

describe('on slates of known truth', () => {
  const truth = exactValue(TARGET);
  const lift = truth - exactValue(LOGGING);
  const wrong = Float64Array.of(0.8, 0.1, 0.5, 0.2, 0.4);
  const runs = 200;
  const random = seededRandom(21);
  const estimates = Array.from({ length: runs }, () => ({
    right: estimateSlates(
      Array.from({ length: 400 }, (_, i) => logged(i, random, EARNS)),
      DEPTH,
      OPTIONS,
    ),
    wrong: estimateSlates(
      Array.from({ length: 400 }, (_, i) => logged(i, random, wrong)),
      DEPTH,
      OPTIONS,
    ),
  }));
  const meanOf = (values: number[]) =>
    estimateMean(Float64Array.from(values), undefined, { ...OPTIONS, nonNegative: false });

  test('the two policies differ, so that copying the log would fail', () => {
    expect(lift).toBeGreaterThan(0.2);
  });

  test('DR is right on average whatever the model, and SNIPS too', () => {
    for (const values of [
      estimates.map(({ right }) => right.dr.value),
      estimates.map(({ wrong }) => wrong.dr.value),
      estimates.map(({ right }) => right.snips.value),
    ]) {
      const { value, standardError } = meanOf(values);
      // Cutting weights at √400 and normalising leave a bias that shrinks with the log; a tenth of the lift bounds it.
      expect(Math.abs(value - truth)).toBeLessThan(3 * standardError + 0.1 * lift);
    }
  });

  test('a right model makes DR tighter than SNIPS, and tighter still for the difference', () => {
    const spread = (values: number[]) => meanOf(values).standardError;
    const dr = spread(estimates.map(({ right }) => right.dr.value));
    expect(dr).toBeLessThan(spread(estimates.map(({ right }) => right.snips.value)));
    expect(spread(estimates.map(({ right }) => right.lift.dr.value))).toBeLessThan(
      spread(estimates.map(({ right }) => right.lift.snips.value)),
    );
  });

  test('95 % intervals hold the truth about 95 % of the time', () => {
    const share = (holds: (result: (typeof estimates)[0]) => boolean) =>
      estimates.filter(holds).length / runs;
    const within = ({ low, high }: { low: number; high: number }, value: number) =>
      low <= value && value <= high;
    for (const covered of [
      share(({ right }) => within(right.snips, truth)),
      share(({ right }) => within(right.dr, truth)),
      share(({ wrong }) => within(wrong.dr, truth)),
      share(({ right }) => within(right.lift.dr, lift)),
      share(({ right }) => within(right.lift.snips, lift)),
    ]) {
      expect(covered).toBeGreaterThan(0.9);
    }
  });
});
