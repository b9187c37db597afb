// What another choice of value weights would have earned on recorded traffic, from the explored share of the service's
// own log. Called by `npm run evaluate -- ope --serving-log`.
import type { EventStore, ServingLog, ServingRecord } from '../../src/contracts.ts';
import { FeedrankError } from '../../src/errors.ts';
import type { ValueWeights } from '../../src/ranking/value-model.ts';
import { HEADS, type Head } from '../../src/vocabulary.ts';
import { ServedLabels } from './ope-engagements.ts';
import {
  type Exploration,
  poolLogits,
  readExploration,
  stepProbabilities,
} from './ope-exploration-record.ts';
import type { Estimate, IntervalOptions } from './ope-intervals.ts';
import { estimateSlates, type LoggedSlate, type SlateEstimates } from './ope-slate.ts';

export interface ServingLogOptions {
  /** Weights to estimate; null = only what the log itself shows. */
  weights: ValueWeights | null;
  /** What an engagement is worth: the yardstick, the same for both policies. */
  reward: ValueWeights;
  /** Positions counted, from the top. */
  depth: number;
  seed: number;
  resamples: number;
}

/** Every record is in `records`; each of the others says why some were left out of the estimate. */
export interface LogCounts {
  records: number;
  notExplored: number;
  /** A page after the first: what stood above it is in another record. */
  laterPages: number;
  withoutPool: number;
  usable: number;
  events: { byToken: number; byPost: number };
}

export interface ServingLogEvaluation {
  counts: LogCounts;
  reward: ValueWeights;
  weights: ValueWeights | null;
  depth: number;
  /** On-policy: what the explored requests earned. */
  value: SlateEstimates;
  /** The same for each head alone: rate a request, as logged and under the new weights. */
  heads: Record<Head, { current: Estimate; snips: Estimate; lift: Estimate }>;
  warnings: string[];
}

interface Kept {
  user: number;
  exploration: Exploration | null;
  /** Row of each step's post among the served, −1 where it was not shown. */
  rows: Int32Array;
}

const SCAN_BATCH = 1000;
/** Relative difference of a recomputed probability, beyond float32's own. */
const PROPENSITY_TOLERANCE = 0.01;
const MOST_MISMATCHED = 0.01;
const LEAST_EFFECTIVE = 100;

export async function evaluateServingLog(
  store: Pick<ServingLog, 'scan'> & Pick<EventStore, 'scanEvents'>,
  options: ServingLogOptions,
  onProgress: (rows: number) => void = () => {},
): Promise<ServingLogEvaluation> {
  const { weights, reward, depth, seed, resamples } = options;
  const labels = new ServedLabels();
  const { kept, counts } = await readLog(store, labels, options, onProgress);
  for await (const events of store.scanEvents(SCAN_BATCH)) {
    for (const event of events) labels.event(event);
    onProgress(events.length);
  }
  counts.events = labels.joined;
  const target = weights === null ? null : HEADS.map((head) => weights[head]);
  checkPropensities(kept);

  const prepared = kept.map((request) => prepare(request, labels, target, depth));
  const estimate = (yardstick: readonly number[]) => {
    const slates = prepared.map((request) => loggedSlate(request, yardstick));
    const nonNegative = yardstick.every((weight) => weight >= 0);
    const intervals: IntervalOptions = { nonNegative, largest: depth, seed, resamples };
    return estimateSlates(slates, depth, intervals);
  };
  const value = estimate(HEADS.map((head) => reward[head]));
  const heads = Object.fromEntries(
    HEADS.map((head) => {
      const { current, snips, lift } = estimate(HEADS.map((other) => (other === head ? 1 : 0)));
      return [head, { current, snips, lift: lift.snips }];
    }),
  ) as ServingLogEvaluation['heads'];
  return {
    counts,
    reward,
    weights,
    depth,
    value,
    heads,
    warnings: warningsOf(value, counts, weights !== null),
  };
}

/** First pages of explored requests; with weights to estimate, only those that logged their pool. */
async function readLog(
  store: Pick<ServingLog, 'scan'>,
  labels: ServedLabels,
  { weights, depth }: ServingLogOptions,
  onProgress: (rows: number) => void,
): Promise<{ kept: Kept[]; counts: LogCounts }> {
  const kept: Kept[] = [];
  const users = new Map<string, number>();
  const counts: LogCounts = {
    records: 0,
    notExplored: 0,
    laterPages: 0,
    withoutPool: 0,
    usable: 0,
    events: { byToken: 0, byPost: 0 },
  };
  for await (const records of store.scan(SCAN_BATCH)) {
    onProgress(records.length);
    for (const record of records) {
      counts.records++;
      if (!record.explored) counts.notExplored++;
      else if (record.posts.length === 0 || record.posts[0].position !== 0) counts.laterPages++;
      else {
        const exploration = readExploration(record);
        if (exploration === null) counts.withoutPool++;
        if (exploration === null && weights !== null) continue;
        counts.usable++;
        kept.push({
          user: numberOf(users, record.userId),
          exploration,
          rows: serve(record, exploration, labels, depth),
        });
      }
    }
  }
  if (kept.length === 0) throw new FeedrankError('invalid_input', `serving log: ${nothingUsable(counts)}`);
  return { kept, counts };
}

function nothingUsable({ records, notExplored, laterPages, withoutPool }: LogCounts): string {
  if (records === 0) return 'holds no records';
  const explored = records - notExplored;
  if (explored === 0) return `none of ${records} records is explored (EXPLORE_SHARE)`;
  if (withoutPool > 0) {
    return `${withoutPool} explored requests lack the pool that they were sampled from, so that no other policy's probability of the same picks can be computed`;
  }
  return `all ${laterPages} explored records are pages after the first`;
}

/** Registers the shown posts for the join and finds each step's post among them. */
function serve(
  { userId, at, posts }: ServingRecord,
  exploration: Exploration | null,
  labels: ServedLabels,
  depth: number,
): Int32Array {
  const rowOf = new Map(posts.map(({ postId, token }) => [postId, labels.serve(userId, postId, token, at)]));
  const order: readonly { postId: string }[] = exploration === null ? posts : exploration.steps;
  return Int32Array.from(order.slice(0, depth), ({ postId }) => rowOf.get(postId) ?? -1);
}

function numberOf(users: Map<string, number>, userId: string): number {
  const known = users.get(userId);
  if (known !== undefined) return known;
  users.set(userId, users.size);
  return users.size - 1;
}

/** A request with everything by head, so that any yardstick is a weighted sum: all arrays [positions, HEADS.length]. */
interface PreparedRequest {
  user: number;
  /** [positions] */
  ratios: Float64Array;
  labels: Float64Array;
  ofPick: Float64Array;
  ofTarget: Float64Array;
  ofCurrent: Float64Array;
}

/** Without a target policy the ratios are 1. */
function prepare(
  { user, exploration, rows }: Kept,
  served: ServedLabels,
  target: readonly number[] | null,
  depth: number,
): PreparedRequest {
  const length = Math.min(depth, rows.length);
  const byHead = () => new Float64Array(length * HEADS.length);
  const request: PreparedRequest = {
    user,
    ratios: new Float64Array(length).fill(1),
    labels: byHead(),
    ofPick: byHead(),
    ofTarget: byHead(),
    ofCurrent: byHead(),
  };
  for (let k = 0; k < length; k++) {
    if (rows[k] >= 0) request.labels.set(served.labelsOf(rows[k]), k * HEADS.length);
  }
  if (exploration === null) return request;
  const before = poolLogits(exploration, exploration.weights);
  const after = target === null ? before : poolLogits(exploration, target);
  for (let k = 0; k < length; k++) {
    const { pick, propensity, eligible } = exploration.steps[k];
    // A pin stands there under either policy; its reward is not predicted.
    if (pick === null) continue;
    const current = stepProbabilities(before, eligible);
    const changed = target === null ? current : stepProbabilities(after, eligible);
    if (target !== null) request.ratios[k] = changed[pick] / propensity;
    for (let h = 0; h < HEADS.length; h++) {
      const at = k * HEADS.length + h;
      request.ofPick[at] = exploration.probabilities[pick * HEADS.length + h];
      for (let item = 0; item < exploration.size; item++) {
        const p = exploration.probabilities[item * HEADS.length + h];
        request.ofTarget[at] += changed[item] * p;
        request.ofCurrent[at] += current[item] * p;
      }
    }
  }
  return request;
}

/** `yardstick`: what each head's label is worth. */
function loggedSlate(
  { user, ratios, labels, ofPick, ofTarget, ofCurrent }: PreparedRequest,
  yardstick: readonly number[],
): LoggedSlate {
  const worth = (byHead: Float64Array) =>
    Float64Array.from(ratios, (_, k) =>
      yardstick.reduce((sum, weight, h) => sum + weight * byHead[k * HEADS.length + h], 0),
    );
  return {
    user,
    ratios,
    rewards: worth(labels),
    predicted: worth(ofPick),
    predictedTarget: worth(ofTarget),
    predictedCurrent: worth(ofCurrent),
  };
}

/** The logged probabilities must follow from the logged pool, weights and rule; else no ratio means anything. */
function checkPropensities(kept: readonly Kept[]): void {
  let checked = 0;
  let wrong = 0;
  for (const { exploration } of kept) {
    // With boosts the scale depends on scores outside the pool.
    if (exploration === null || exploration.boosts.some((boost) => boost !== 1)) continue;
    const logits = poolLogits(exploration, exploration.weights);
    for (const { pick, propensity, eligible } of exploration.steps) {
      if (pick === null) continue;
      checked++;
      const expected = stepProbabilities(logits, eligible)[pick];
      if (!(Math.abs(expected / propensity - 1) <= PROPENSITY_TOLERANCE)) wrong++;
    }
  }
  if (wrong > MOST_MISMATCHED * checked) {
    throw new FeedrankError(
      'invalid_input',
      `serving log: ${wrong} of ${checked} logged propensities do not follow from their pool, weights and temperature`,
    );
  }
}

function warningsOf(
  value: SlateEstimates,
  { withoutPool, laterPages }: LogCounts,
  estimated: boolean,
): string[] {
  const warnings: string[] = [];
  if (withoutPool > 0 && estimated)
    warnings.push(`${withoutPool} explored requests lack their pool and are left out`);
  if (laterPages > 0) warnings.push(`${laterPages} pages after the first are left out`);
  if (!estimated) return warnings;
  const thin = value.positions.find(({ effectiveSize }) => effectiveSize < LEAST_EFFECTIVE);
  if (thin) {
    warnings.push(
      `from position ${thin.position + 1} on the weights leave ${thin.effectiveSize.toFixed(1)} effective requests of ${thin.requests}: lower --depth, change the weights less or collect more`,
    );
  }
  warnings.push(
    'the estimate is for the logged pools: posts that only the new weights would bring into a pool are not in it',
  );
  return warnings;
}
