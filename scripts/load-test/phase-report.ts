// A phase's figures, and what they say: whether the generator kept its schedule (else the phase is void) and whether
// the service kept up. Pure. Called by campaign.ts; read by html-report.ts.
import type { PhaseOutcome, PhasePlan } from './generator-pool.ts';
import type { Counts, Kind, Tally } from './interval.ts';
import type { LatencySummary } from './latency-histogram.ts';

export type PhaseRole = 'warm-up' | 'rate' | 'step' | 'hold' | 'recovery';

export interface PhaseLabel {
  role: PhaseRole;
  /** `120/s`, `hold 2× knee`. */
  name: string;
}

export interface SecondReport {
  second: number;
  offered: number;
  good: number;
  degraded: number;
  refused: number;
  /** failed + timedOut + wrong + unsent. */
  errors: number;
  p50: number | null;
  p99: number | null;
  inFlight: number;
}

export interface CpuReport {
  /** Cores' worth of CPU time. */
  generatorCores: number;
  /** null when the service's process is not known. */
  serviceCores: number | null;
  serviceMsPerAnswer: number | null;
  serviceRssMiB: number | null;
  /** Share of the machine that neither the generators nor the service used; null where it cannot be read. */
  foreignShare: number | null;
}

export interface PhaseReport extends PhaseLabel {
  rate: number;
  arrivals: PhasePlan['arrivals'];
  seconds: number;
  startedAtMs: number;
  /** All kinds, a second of the schedule. */
  offeredPerSecond: number;
  goodputPerSecond: number;
  /** Of what was offered. */
  goodputShare: number;
  errorShare: number;
  counts: Record<Kind, Counts>;
  causes: Record<string, number>;
  /** Feeds, from the intended time; timeouts included. */
  latencyMs: LatencySummary;
  sinceSendMs: LatencySummary;
  eventMs: LatencySummary;
  refusedMs: LatencySummary;
  latenessMs: LatencySummary;
  /** Why this phase says nothing; empty = valid. */
  void: string[];
  /** A void step that was run again. */
  superseded?: boolean;
  /** Why the service did not keep up; empty = it did. */
  problems: string[];
  cpu: CpuReport;
  resent: number;
  timeline: SecondReport[];
  /** [percentile, ms] of latencyMs. */
  distribution: [number, number][];
  /** [percentile, ms] of sinceSendMs. */
  distributionSinceSend: [number, number][];
  /** HdrHistogram, compressed V2, base64, in µs. */
  histogram: string;
}

export interface Limits {
  /** The service keeps up while feeds' p99 is at most this … */
  p99Ms: number;
  /** … at most this share of all requests fails, times out, is wrong or could not be sent … */
  errorShare: number;
  /** … and at least this share of what was offered is answered well. */
  goodputShare: number;
  /** Generators later than this at p99 void the phase. */
  latenessMs: number;
  /** Whether a degraded answer is goodput. */
  acceptDegraded: boolean;
}

export const DEFAULT_LIMITS: Omit<Limits, 'p99Ms' | 'acceptDegraded'> = {
  errorShare: 0.01,
  goodputShare: 0.95,
  latenessMs: 10,
};

export function phaseReport(
  label: PhaseLabel,
  plan: PhasePlan,
  outcome: PhaseOutcome,
  cpu: CpuReport,
  limits: Limits,
): PhaseReport {
  const { total, seconds } = outcome;
  const { histograms } = total;
  const offered = total.sum('offered') - total.sum('abandoned');
  const scheduledSeconds = Math.max(1, Math.min(plan.durationMs, outcome.elapsedMs)) / 1000;
  const good = total.sum(...goodFates(limits));
  const errors = errorsOf(total);
  const report: PhaseReport = {
    ...label,
    rate: rounded(plan.rate),
    arrivals: plan.arrivals,
    seconds: rounded(scheduledSeconds),
    startedAtMs: outcome.startedAtMs,
    offeredPerSecond: rounded(offered / scheduledSeconds),
    goodputPerSecond: rounded(good / scheduledSeconds),
    goodputShare: share(good, offered),
    errorShare: share(errors, offered),
    counts: total.counts,
    causes: total.causes,
    latencyMs: histograms.feed.summary(),
    sinceSendMs: histograms.sinceSend.summary(),
    eventMs: histograms.event.summary(),
    refusedMs: histograms.refused.summary(),
    latenessMs: histograms.lateness.summary(),
    void: [],
    problems: [],
    cpu,
    resent: outcome.resent,
    timeline: seconds.map((second, i) => secondReport(second, i, limits)),
    distribution: histograms.feed.distribution(),
    distributionSinceSend: histograms.sinceSend.distribution(),
    histogram: histograms.feed.encode(),
  };
  report.void = voidReasons(report, limits);
  report.problems = problems(report, limits);
  return report;
}

/** The fates that count as answered well. */
function goodFates({ acceptDegraded }: Limits): ('good' | 'short' | 'degraded')[] {
  return acceptDegraded ? ['good', 'short', 'degraded'] : ['good', 'short'];
}

function errorsOf(tally: Tally): number {
  return tally.sum('failed', 'timedOut', 'wrong', 'unsent');
}

function voidReasons({ latenessMs, counts }: PhaseReport, limits: Limits): string[] {
  if (counts.feed.offered + counts.event.offered === 0) return ['nothing was offered'];
  const { p99 } = latenessMs;
  return p99 !== null && p99 > limits.latenessMs
    ? [`the generator was late: p99 ${p99.toFixed(1)} ms, at most ${limits.latenessMs} ms`]
    : [];
}

function problems(report: PhaseReport, limits: Limits): string[] {
  const found: string[] = [];
  const { p99 } = report.latencyMs;
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
  if (p99 !== null && p99 > limits.p99Ms) found.push(`p99 ${p99.toFixed(1)} ms, at most ${limits.p99Ms} ms`);
  if (report.errorShare > limits.errorShare) {
    found.push(`errors ${percent(report.errorShare)}, at most ${percent(limits.errorShare)}`);
  }
  if (report.goodputShare < limits.goodputShare) {
    found.push(`goodput ${percent(report.goodputShare)}, at least ${percent(limits.goodputShare)}`);
  }
  return found;
}

function secondReport(tally: Tally, second: number, limits: Limits): SecondReport {
  return {
    second,
    offered: tally.sum('offered'),
    good: tally.sum(...goodFates(limits)),
    degraded: tally.sum('degraded'),
    refused: tally.sum('refused'),
    errors: errorsOf(tally),
    p50: tally.histograms.feed.at(50),
    p99: tally.histograms.feed.at(99),
    inFlight: tally.inFlight,
  };
}

/**
 * Whole seconds from the start of a phase after which every further second was fine (p99 within the limit, nothing
 * refused, no errors); null when the last one was not.
 */
export function recoverySeconds({ timeline }: PhaseReport, limits: Limits): number | null {
  const fine = ({ p99, refused, errors }: SecondReport) =>
    (p99 === null || p99 <= limits.p99Ms) && refused === 0 && errors === 0;
  const last = timeline.findLastIndex((second) => !fine(second));
  return last === timeline.length - 1 && timeline.length > 0 ? null : last + 1;
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : Number((part / whole).toFixed(5));
}

function rounded(value: number): number {
  return Number(value.toFixed(3));
}
