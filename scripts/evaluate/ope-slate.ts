// Off-policy value of a policy that orders slates position by position, from slates that another policy sampled.
// Pure: arrays in, figures out. Called by the serving log's evaluation.

import { weightReport } from './ope-estimators.ts';
import { type Estimate, estimateMean, type IntervalOptions } from './ope-intervals.ts';

/** One request: parallel arrays over its first positions, at most `depth`. */
export interface LoggedSlate {
  /** Dense number of the user: one user's requests depend on each other. */
  user: number;
  /** New policy's probability of the pick ÷ the logged one, given the picks above. */
  ratios: Float64Array;
  /** What the shown post earned. */
  rewards: Float64Array;
  /** A prediction of that reward, up to a factor of the position: for the pick, and expected under either policy. */
  predicted: Float64Array;
  predictedTarget: Float64Array;
  predictedCurrent: Float64Array;
}

export interface SlateEstimates {
  requests: number;
  users: number;
  /** Mean value of a request as it was logged. */
  current: Estimate;
  /** New policy, under the cascade assumption. */
  snips: Estimate;
  dr: Estimate;
  /** New policy − current on the same requests; DR − DR, so that what the model explains cancels in both. */
  lift: { snips: Estimate; dr: Estimate };
  /** New policy where each position changes alone, the ones above staying as logged: less variance, biased. */
  oneStep: Estimate;
  /** Weights above √requests were cut to it (Ionides 2008). */
  truncatedAt: number;
  positions: PositionReport[];
}

export interface PositionReport {
  position: number;
  requests: number;
  /** Mean reward as logged, and estimated under the new policy. */
  current: number;
  snips: number;
  effectiveSize: number;
  meanWeight: number;
  maxWeight: number;
}

const FOLDS = 5;
/** Requests at the overall rate that each position's factor is mixed with. */
const PRIOR_REQUESTS = 50;

/**
 * Cascade assumption: what a post earns depends on it and on the posts above, not on those below. Then the weight of a
 * position is the product of the ratios down to it.
 * - SNIPS: reward interaction IPS (McInerney et al., KDD 2020), self-normalised at each position.
 * - DR: the doubly-robust cascade estimator (Kiyohara et al., WSDM 2022) with Q at a position = predicted reward of
 *   the pick + the rest of the slate at the expected prediction; the positions' factors are cross-fitted over users.
 */
export function estimateSlates(
  slates: readonly LoggedSlate[],
  depth: number,
  options: IntervalOptions,
): SlateEstimates {
  const user = Int32Array.from(slates, (slate) => slate.user);
  const earned = Float64Array.from(slates, ({ rewards }) => sum(rewards, depth));
  const most = Math.sqrt(slates.length);
  const cascade = selfNormalised(slates, depth, (slate) => cumulative(slate, most));
  const single = selfNormalised(slates, depth, ({ ratios }) => ratios.map((ratio) => Math.min(ratio, most)));
  const { target, current } = doublyRobust(slates, depth, most);
  const estimate = (values: Float64Array) => estimateMean(values, user, options);
  const difference = (left: Float64Array, right: Float64Array) =>
    estimateMean(
      left.map((value, i) => value - right[i]),
      user,
      { ...options, nonNegative: false },
    );
  return {
    requests: slates.length,
    users: new Set(user).size,
    current: estimate(earned),
    snips: estimate(cascade.values),
    dr: estimate(target),
    lift: { snips: difference(cascade.values, earned), dr: difference(target, current) },
    oneStep: estimate(single.values),
    truncatedAt: most,
    positions: cascade.positions,
  };
}

/** Products of the ratios down to each position, cut to `most`. */
export function cumulative({ ratios }: LoggedSlate, most = Number.POSITIVE_INFINITY): Float64Array {
  let product = 1;
  return ratios.map((ratio) => {
    product *= ratio;
    return Math.min(product, most);
  });
}

/**
 * One value a request whose mean is Σ over positions of Σ w r ÷ Σ w × the share of requests with that position, and
 * whose spread is that estimate's (linearised).
 */
function selfNormalised(
  slates: readonly LoggedSlate[],
  depth: number,
  weigh: (slate: LoggedSlate) => Float64Array,
): { values: Float64Array; positions: PositionReport[] } {
  const weights = slates.map(weigh);
  const values = new Float64Array(slates.length);
  const positions: PositionReport[] = [];
  for (let k = 0; k < depth; k++) {
    const having = [...slates.keys()].filter((i) => slates[i].ratios.length > k);
    if (having.length === 0) break;
    const report = weightReport(Float64Array.from(having, (i) => weights[i][k]));
    const rewarded = having.reduce((total, i) => total + weights[i][k] * slates[i].rewards[k], 0);
    const mean = report.mean > 0 ? rewarded / (report.mean * having.length) : 0;
    const share = having.length / slates.length;
    for (let i = 0; i < values.length; i++) values[i] += mean * share;
    for (const i of having) {
      if (report.mean > 0) values[i] += (weights[i][k] * (slates[i].rewards[k] - mean)) / report.mean;
    }
    positions.push({
      position: k,
      requests: having.length,
      current: having.reduce((total, i) => total + slates[i].rewards[k], 0) / having.length,
      snips: mean,
      effectiveSize: report.effectiveSize,
      meanWeight: report.mean,
      maxWeight: report.max,
    });
  }
  return { values, positions };
}

function doublyRobust(
  slates: readonly LoggedSlate[],
  depth: number,
  most: number,
): { target: Float64Array; current: Float64Array } {
  const target = new Float64Array(slates.length);
  const current = new Float64Array(slates.length);
  for (let held = 0; held < FOLDS; held++) {
    const factors = positionFactors(
      slates.filter(({ user }) => user % FOLDS !== held),
      depth,
    );
    slates.forEach((slate, i) => {
      if (slate.user % FOLDS !== held) return;
      target[i] = robustValue(slate, cumulative(slate, most), slate.predictedTarget, factors);
      const ones = new Float64Array(slate.ratios.length).fill(1);
      current[i] = robustValue(slate, ones, slate.predictedCurrent, factors);
    });
  }
  return { target, current };
}

function robustValue(
  { rewards, predicted }: LoggedSlate,
  weights: Float64Array,
  expected: Float64Array,
  factors: Float64Array,
): number {
  const length = Math.min(factors.length, weights.length);
  let below = 0;
  for (let k = 0; k < length; k++) below += factors[k];
  let value = 0;
  let above = 1;
  for (let k = 0; k < length; k++) {
    below -= factors[k];
    // Expected of the positions below; of the picks above only, so that Q stays a function of what came before.
    const following = expected[k] * below;
    value += weights[k] * (rewards[k] - factors[k] * predicted[k] - following);
    value += above * (factors[k] * expected[k] + following);
    above = weights[k];
  }
  return value;
}

/** Reward ÷ prediction at each position. */
function positionFactors(slates: readonly LoggedSlate[], depth: number): Float64Array {
  const got = new Float64Array(depth);
  const expected = new Float64Array(depth);
  let rows = 0;
  for (const { rewards, predicted } of slates) {
    for (let k = 0; k < Math.min(depth, rewards.length); k++) {
      got[k] += rewards[k];
      expected[k] += predicted[k];
      rows++;
    }
  }
  const mean = sum(expected, depth) / Math.max(1, rows);
  const overall = mean > 0 ? sum(got, depth) / (mean * rows) : 0;
  return got.map((reward, k) => {
    const prior = PRIOR_REQUESTS * Math.max(0, mean);
    const bottom = expected[k] + prior;
    return bottom > 0 ? (reward + prior * overall) / bottom : 0;
  });
}

function sum(values: Float64Array, length: number): number {
  let total = 0;
  for (let i = 0; i < Math.min(length, values.length); i++) total += values[i];
  return total;
}
