// Off-policy estimators of a policy's value from rows that another policy logged with known probabilities.
// Pure: arrays in, figures out. Called by the evaluations of Open Bandit and of the serving log.
import {
  clusterSums,
  type Estimate,
  estimateMean,
  estimateRatio,
  type IntervalOptions,
} from './ope-intervals.ts';

export interface LoggedRows {
  /** [N] new policy's probability of the logged action ÷ the logging policy's; finite, not negative. */
  weights: Float64Array;
  /** [N] */
  rewards: Float64Array;
  /** A reward model that did not see the row it predicts (cross-fitted); absent = no doubly-robust estimate. */
  predicted?: {
    /** [N] predicted reward of the logged action. */
    logged: Float64Array;
    /** [N] expectation of the predicted reward over the new policy's actions. */
    target: Float64Array;
  };
  /** [N] rows of one cluster (user) depend on each other; absent = all independent. */
  cluster?: Int32Array;
}

export interface PolicyEstimates {
  ips: Estimate;
  snips: Estimate;
  /** null without a reward model. */
  dr: Estimate | null;
  sndr: Estimate | null;
  /** What the reward model alone says; no interval, since its bias is unknown. */
  model: number | null;
  weights: WeightReport;
}

export interface WeightReport {
  rows: number;
  /** 1 in expectation, where every action of the new policy could be logged and its probability is right. */
  mean: number;
  max: number;
  /** (Σ w)² ÷ Σ w² (Kish 1965). */
  effectiveSize: number;
  /** Share of all weight on the one heaviest row. */
  heaviestShare: number;
}

/** Fewer effective rows, or more weight on one of them, and the interval itself cannot be trusted. */
const LEAST_EFFECTIVE = 100;
const MOST_ON_ONE = 0.05;
/** Mean weight further from 1 than this, in standard errors and absolutely: probabilities wrong or actions missing. */
const MEAN_TOLERANCE = { standardErrors: 4, absolute: 0.02 };

/**
 * With w the weight, r the reward, q the model's prediction for the logged action and v the one for the new policy:
 * - IPS: Σ w r ÷ N (Horvitz & Thompson 1952). Unbiased; variance grows with the weights.
 * - SNIPS: Σ w r ÷ Σ w (Swaminathan & Joachims, NeurIPS 2015). Consistent, unharmed by a wrong scale of the weights.
 * - DR: Σ (v + w (r − q)) ÷ N (Dudík, Langford & Li, ICML 2011). Unbiased whatever the model, tighter where it is good.
 * - SNDR: Σ v ÷ N + Σ w (r − q) ÷ Σ w (Thomas & Brunskill, ICML 2016; Saito et al., NeurIPS 2021).
 */
export function estimateValue(rows: LoggedRows, options: IntervalOptions): PolicyEstimates {
  const { weights, rewards, predicted, cluster } = rows;
  const size = weights.length;
  const report = weightReport(weights);
  const ones = new Float64Array(size).fill(1);
  const weighted = Float64Array.from(weights, (w, i) => w * rewards[i]);
  const perCluster = (values: Float64Array) => clusterSums(values, cluster);
  const estimates = {
    ips: estimateRatio(perCluster(weighted), perCluster(ones), options, report.effectiveSize),
    snips: estimateRatio(perCluster(weighted), perCluster(weights), options, report.effectiveSize),
    weights: report,
  };
  if (predicted === undefined) return { ...estimates, dr: null, sndr: null, model: null };

  const residuals = Float64Array.from(weights, (w, i) => w * (rewards[i] - predicted.logged[i]));
  const robust = Float64Array.from(residuals, (residual, i) => predicted.target[i] + residual);
  const total = sum(weights);
  const correction = total > 0 ? sum(residuals) / total : 0;
  // Linearised: the mean is the estimate, the spread its standard error.
  const normalised = Float64Array.from(
    weights,
    (w, i) => predicted.target[i] + correction + (residuals[i] - w * correction) / (report.mean || 1),
  );
  return {
    ...estimates,
    dr: estimateMean(robust, cluster, options),
    sndr: estimateMean(normalised, cluster, options),
    model: sum(predicted.target) / size,
  };
}

/**
 * Truncated importance sampling (Ionides, J. Comp. Graph. Stat. 2008): weights above √N become √N. Consistent, and
 * never worse than untruncated on simulated logs; one row whose logged probability is a rounding no longer decides.
 */
export function truncateWeights(weights: Float64Array): { weights: Float64Array; at: number; rows: number } {
  const at = Math.sqrt(weights.length);
  let rows = 0;
  const truncated = weights.map((w) => {
    if (w > at) rows++;
    return Math.min(w, at);
  });
  return { weights: truncated, at, rows };
}

export function weightReport(weights: Float64Array): WeightReport {
  let total = 0;
  let squares = 0;
  let max = 0;
  for (const w of weights) {
    total += w;
    squares += w * w;
    if (w > max) max = w;
  }
  return {
    rows: weights.length,
    mean: total / weights.length,
    max,
    effectiveSize: squares > 0 ? (total * total) / squares : 0,
    heaviestShare: total > 0 ? max / total : 0,
  };
}

/** What a reader must know before believing an estimate; empty = nothing. */
export function weightWarnings(weights: Float64Array): string[] {
  const { rows, mean, max, effectiveSize, heaviestShare } = weightReport(weights);
  const warnings: string[] = [];
  if (effectiveSize < LEAST_EFFECTIVE) {
    warnings.push(
      `the weights leave ${effectiveSize.toFixed(1)} effective rows of ${rows}: collect more or ask for less change`,
    );
  }
  if (heaviestShare > MOST_ON_ONE) {
    warnings.push(
      `one row carries ${(heaviestShare * 100).toFixed(0)} % of all weight (${max.toPrecision(4)}): its logged probability is tiny, IPS and DR hang on it`,
    );
  }
  const spread = Math.sqrt(weights.reduce((s, w) => s + (w - mean) ** 2, 0) / Math.max(1, rows - 1) / rows);
  const off = Math.abs(mean - 1);
  if (off > MEAN_TOLERANCE.absolute && off > MEAN_TOLERANCE.standardErrors * spread) {
    warnings.push(
      `the mean weight is ${mean.toFixed(3)}, not 1: actions of the new policy were never possible in the log, or its probabilities are wrong`,
    );
  }
  return warnings;
}

function sum(values: Float64Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
