// Judges a trial by its figures: each gate passes, fails or still waits for samples. Pure; the coordinator acts on it.
import type { ArmFigures } from './arm-evidence.ts';
import type { Gates, Schedule } from './rollout-config.ts';
import type { ShadowFigures } from './shadow-evidence.ts';

export interface GateResult {
  gate: string;
  value: number;
  /** The bound that the value must keep. */
  limit: number;
  status: 'pass' | 'fail' | 'waiting';
  /** What failed, in words. */
  detail?: string;
}

export interface Verdict {
  outcome: 'wait' | 'advance' | 'roll_back';
  /** Of a rollback: the first gate that failed and its figures. */
  reason: string | null;
  gates: GateResult[];
}

/** Fewer failures than this say nothing. */
const LEAST_FAILURES = 3;
/** Feeds of each arm before shares and means are compared. */
const QUALITY_SHARE = 0.2;
const LEAST_QUALITY_SLATES = 50;
/** Standard errors that chance may explain: one look in a thousand, for the gates are looked at again and again. */
const CHANCE = 3.3;
/** Gates that need readers who send events; where there are none they do not hold a model back for ever. */
const EVENT_GATES = ['calibration', 'engagement'];
/** Added to both sides of a ratio of small shares, so that noise near zero is no ratio. */
const SMOOTHING = 0.005;
/** Milliseconds added to both sides of the ratio of ranking times: below that nobody notices. */
const LATENCY_SMOOTHING_MS = 1;

export function judgeShadow(figures: ShadowFigures, gates: Gates, schedule: Schedule): Verdict {
  return verdict(figures.samples >= schedule.shadowSamples, shadowGates(figures, gates, schedule));
}

/** A canary is still compared in shadow: one that skipped it must not be served for long. */
export function judgeCanary(
  canary: ArmFigures,
  control: ArmFigures,
  shadow: ShadowFigures,
  gates: Gates,
  schedule: Schedule,
): Verdict {
  const compared = compare(canary, control, gates, schedule);
  return verdict(compared.complete, [
    failureGate(canary, gates),
    ...shadowGates(shadow, gates, schedule).slice(1),
    ...compared.speed('rank_time'),
    ...compared.pages,
    ...eventGates(canary, control, gates, schedule),
  ]);
}

/** Rules on trial: nothing is scored in shadow, and what the ranker predicts is not theirs; the time is re-ranking's. */
export function judgeRules(
  canary: ArmFigures,
  control: ArmFigures,
  _shadow: ShadowFigures,
  gates: Gates,
  schedule: Schedule,
): Verdict {
  const compared = compare(canary, control, gates, schedule);
  return verdict(compared.complete, [
    failureGate(canary, gates),
    ...compared.speed('rerank_time'),
    ...compared.pages,
    ...eventGates(canary, control, gates, schedule).filter(({ gate }) => gate !== 'calibration'),
  ]);
}

/** What the answers and pages of both arms say, whatever is on trial. */
export function compare(canary: ArmFigures, control: ArmFigures, gates: Gates, schedule: Schedule) {
  const slates = Math.min(canary.slates, control.slates);
  const pages = Math.min(canary.pages, control.pages);
  const least = Math.min(
    Math.max(LEAST_QUALITY_SLATES, schedule.canarySlates * QUALITY_SHARE),
    schedule.canarySlates,
  );
  const enough = slates >= least;
  const quality = pages >= least;
  return {
    complete: slates >= schedule.canarySlates,
    speed: (time: string, late = 'late'): GateResult[] => [
      atMost(late, canary.lateShare - control.lateShare, gates.maxLateShare, enough),
      atMost(
        time,
        ratioOf(canary.rankMs, control.rankMs, LATENCY_SMOOTHING_MS),
        gates.maxLatencyRatio,
        enough,
      ),
    ],
    pages: [
      atMost(
        'author_concentration',
        ratioOf(canary.authorConcentration, control.authorConcentration, SMOOTHING),
        gates.maxAuthorConcentration,
        quality,
      ),
      // Feeds that begin with a few authors, also where readers page through all there is.
      atMost(
        'first_page_concentration',
        ratioOf(canary.firstPageConcentration, control.firstPageConcentration, SMOOTHING),
        gates.maxAuthorConcentration,
        quality,
      ),
      atMost(
        'out_of_network',
        Math.abs(canary.outOfNetworkShare - control.outOfNetworkShare),
        gates.maxOutOfNetworkChange,
        quality,
      ),
      atLeast(
        'coverage',
        ratioOf(control.postConcentration, canary.postConcentration, SMOOTHING / 10),
        gates.minCoverage,
        quality,
      ),
      atMost(
        'predicted_negatives',
        ratioOf(canary.negative, control.negative, SMOOTHING),
        gates.maxNegatives,
        quality,
      ),
    ],
  };
}

export function shadowGates(figures: ShadowFigures, gates: Gates, schedule: Schedule): GateResult[] {
  const { samples, failures } = figures;
  const enough = samples >= Math.max(1, schedule.shadowSamples * QUALITY_SHARE);
  return [
    {
      gate: 'errors',
      value: failures,
      limit: LEAST_FAILURES,
      status: failures >= LEAST_FAILURES ? 'fail' : 'pass',
      ...(failures > 0 ? { detail: figures.lastFailure } : {}),
    },
    atLeast('rank_correlation', figures.correlation, gates.minCorrelation, enough),
    atMost('score_drift', figures.drift, gates.maxDrift, enough),
    atMost('latency', figures.latencyRatio, gates.maxLatencyRatio, samples >= schedule.shadowSamples),
  ];
}

/**
 * What readers did, canary against control. Counts of events are small: a gate fails only where the ratio of the two
 * rates is beyond its limit by more than chance (the log ratio of two Poisson rates, standard error √(1/a + 1/b)).
 */
export function eventGates(
  canary: ArmFigures,
  control: ArmFigures,
  gates: Gates,
  schedule: Schedule,
): GateResult[] {
  const least = schedule.calibrationEngagements;
  const engaged = Math.min(canary.predicted, control.predicted) >= least;
  const error = CHANCE * Math.sqrt(1 / (canary.observed + 0.5) + 1 / (control.observed + 0.5));
  const logRatio = (a: number, b: number) => Math.log((a + 0.5) / (b + 0.5));
  const events = logRatio(canary.observed, control.observed);
  const calibration = Math.abs(events - logRatio(canary.predicted, control.predicted));
  const perPost = events - logRatio(canary.posts, control.posts);
  return [
    atMost('calibration', Math.exp(Math.max(0, calibration - error)), gates.maxMiscalibration, engaged),
    atLeast('engagement', Math.exp(Math.min(0, perPost + error)), gates.minEngagement, engaged),
  ];
}

/** A promoted version has no control any more: only its own failures speak. */
export function judgeProbation(promoted: ArmFigures, gates: Gates): Verdict {
  return verdict(false, [failureGate(promoted, gates)]);
}

export function failureGate({ slates, failures, lastFailure }: ArmFigures, gates: Gates): GateResult {
  const share = slates === 0 ? 0 : failures / slates;
  const fails = failures >= LEAST_FAILURES && share > gates.maxFailureShare;
  const gate = { gate: 'errors', value: share, limit: gates.maxFailureShare };
  return fails
    ? { ...gate, status: 'fail', detail: `${failures} of ${slates} answers: ${lastFailure}` }
    : { ...gate, status: 'pass' };
}

export function verdict(complete: boolean, gates: GateResult[]): Verdict {
  const failed = gates.find(({ status }) => status === 'fail');
  if (failed) {
    const { gate, value, limit, detail } = failed;
    const figures = `${gate}: ${round(value)}, the limit is ${round(limit)}`;
    return { outcome: 'roll_back', reason: detail ? `${figures} (${detail})` : figures, gates };
  }
  const waiting = gates.some(({ gate, status }) => status === 'waiting' && !EVENT_GATES.includes(gate));
  return { outcome: complete && !waiting ? 'advance' : 'wait', reason: null, gates };
}

function atMost(gate: string, value: number, limit: number, enough: boolean): GateResult {
  // A figure that is no number is never within a bound.
  return { gate, value, limit, status: enough ? (value <= limit ? 'pass' : 'fail') : 'waiting' };
}

export function atLeast(gate: string, value: number, limit: number, enough: boolean): GateResult {
  return { gate, value, limit, status: enough ? (value >= limit ? 'pass' : 'fail') : 'waiting' };
}

function ratioOf(a: number, b: number, smoothing: number): number {
  return (a + smoothing) / (b + smoothing);
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}
