// Open Bandit: the value of the random policy estimated from another policy's log, against what the random policy's
// own log shows; and the reverse. Called by `npm run evaluate -- ope --logs DIR`.
import { FeedrankError } from '../../src/errors.ts';
import { type BanditLog, findCampaigns, readBanditLog } from './ope-bandit-log.ts';
import {
  estimateValue,
  type PolicyEstimates,
  truncateWeights,
  type WeightReport,
  weightReport,
  weightWarnings,
} from './ope-estimators.ts';
import { type Estimate, estimateMean, type IntervalOptions } from './ope-intervals.ts';
import { crossFit } from './ope-reward-model.ts';

export const RANDOM = 'random';
export const ESTIMATORS = ['ips', 'snips', 'dr', 'sndr'] as const;
export type EstimatorName = (typeof ESTIMATORS)[number];

export interface BanditComparison {
  campaign: string;
  /** Policy whose log the estimate is made from, and the policy it is made for. */
  from: string;
  of: string;
  rows: number;
  items: number;
  /** Click rate on the target policy's own log, with its own interval; null without such a log. */
  truth: Estimate | null;
  /** The weights as they are, and how many were cut to what; the estimates are made from the cut ones. */
  logged: WeightReport;
  truncated: { at: number; rows: number };
  estimates: PolicyEstimates;
  /** Does each 95 % interval hold the truth? null without a truth. */
  covered: Record<EstimatorName, boolean> | null;
  /** (estimate − truth) ÷ the standard error of that difference: the truth is itself a mean of few clicks. */
  errors: Record<EstimatorName, number> | null;
  warnings: string[];
}

export async function evaluateOpenBandit(
  dir: string,
  options: Omit<IntervalOptions, 'nonNegative' | 'largest'>,
  onProgress: (fraction: number, rows: number) => void = () => {},
): Promise<BanditComparison[]> {
  const campaigns = await findCampaigns(dir);
  const others = [...campaigns.keys()].filter((policy) => policy !== RANDOM);
  if (others.length === 0) {
    throw new FeedrankError(
      'invalid_input',
      `${dir}: holds the log of ${RANDOM} only, there is nothing to estimate from`,
    );
  }
  const intervals = { ...options, nonNegative: true, largest: 1 };
  const results: BanditComparison[] = [];
  for (const policy of others) {
    for (const campaign of campaigns.get(policy)!) {
      const log = await readBanditLog(dir, policy, campaign, onProgress);
      const hasRandom = campaigns.get(RANDOM)?.includes(campaign) === true;
      const random = hasRandom ? await readBanditLog(dir, RANDOM, campaign, onProgress) : null;
      const uniform = uniformPolicy(log);
      results.push(compare(log, uniform, random, { campaign, from: policy, of: RANDOM }, intervals));
      if (random === null) continue;
      const marginal = marginalPolicy(log);
      results.push(compare(random, marginal, log, { campaign, from: RANDOM, of: policy }, intervals));
    }
  }
  return results;
}

/** Probability of each item at a position, [itemCount]. */
export type PositionPolicy = (position: number) => Float64Array;

export function uniformPolicy({ itemCount }: BanditLog): PositionPolicy {
  const probabilities = new Float64Array(itemCount).fill(1 / itemCount);
  return () => probabilities;
}

/**
 * How often the log's policy put each item at each position. A policy that learns is more than this average: its value
 * equals the estimate only where click rates do not move together with its changes.
 */
export function marginalPolicy({ items, positions, itemCount, positionCount }: BanditLog): PositionPolicy {
  const shares = Array.from({ length: positionCount }, () => new Float64Array(itemCount));
  const shown = new Float64Array(positionCount);
  for (let row = 0; row < items.length; row++) {
    shares[positions[row]][items[row]]++;
    shown[positions[row]]++;
  }
  shares.forEach((share, position) => {
    for (let item = 0; item < itemCount; item++) share[item] /= Math.max(1, shown[position]);
  });
  const never = new Float64Array(itemCount);
  return (position) => shares[position] ?? never;
}

function compare(
  log: BanditLog,
  target: PositionPolicy,
  own: BanditLog | null,
  names: { campaign: string; from: string; of: string },
  options: IntervalOptions,
): BanditComparison {
  const raw = Float64Array.from(
    log.propensities,
    (propensity, row) => target(log.positions[row])[log.items[row]] / propensity,
  );
  const { weights, ...truncation } = truncateWeights(raw);
  const predicted = crossFit({ ...log, rewards: log.clicks }, target, options.seed);
  const estimates = estimateValue({ weights, rewards: log.clicks, predicted }, options);
  const truth = own === null ? null : estimateMean(own.clicks, undefined, options);
  const each = <T>(judge: (estimate: Estimate, truth: Estimate) => T) =>
    truth === null
      ? null
      : (Object.fromEntries(ESTIMATORS.map((name) => [name, judge(estimates[name]!, truth)])) as Record<
          EstimatorName,
          T
        >);
  return {
    ...names,
    rows: log.items.length,
    items: log.itemCount,
    truth,
    logged: weightReport(raw),
    truncated: truncation,
    estimates,
    covered: each(({ low, high }, { value }) => value >= low && value <= high),
    errors: each((estimate, { value, standardError }) => {
      return (estimate.value - value) / Math.hypot(estimate.standardError, standardError);
    }),
    warnings: [...supportWarnings(log, target), ...weightWarnings(weights)],
  };
}

/** Items that the new policy shows and the log never has: what they are worth is guessed by the reward model, or left out. */
function supportWarnings(log: BanditLog, target: PositionPolicy): string[] {
  const seen = new Uint8Array(log.itemCount);
  for (const item of log.items) seen[item] = 1;
  let missing = 0;
  for (let position = 0; position < log.positionCount; position++) {
    const probabilities = target(position);
    for (let item = 0; item < log.itemCount; item++) {
      if (seen[item] === 0) missing += probabilities[item] / log.positionCount;
    }
  }
  const never = seen.reduce((count, flag) => count + (flag === 0 ? 1 : 0), 0);
  return missing > 0
    ? [`${never} items, ${(missing * 100).toFixed(1)} % of what the policy shows, are not in the log at all`]
    : [];
}
