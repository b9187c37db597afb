// The report as one HTML file: verdict, plots, a table of the phases; no script, nothing from outside. Called by run.ts.
import { formatRate } from './campaign.ts';
import type { PhaseReport } from './phase-report.ts';
import { REPORT_STYLE } from './report-style.ts';
import type { LoadTestReport } from './run.ts';
import { escapeHtml, type Plot, svgPlot } from './svg-plot.ts';

export function htmlReport(report: LoadTestReport): string {
  const measured = report.phases.filter(({ role, superseded }) => role !== 'warm-up' && !superseded);
  const plots = [
    ...ratePlots(report, measured),
    timePlot(report),
    errorPlot(report),
    distributionPlot(measured),
  ];
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Load test ${escapeHtml(report.startedAt)}</title>
<style>${REPORT_STYLE}</style></head>
<body>
<h1>Load test</h1>
${verdict(report)}
${facts(report)}
${plots.map((plot) => `<figure>${svgPlot(plot)}</figure>`).join('\n')}
<h2>Phases</h2>
${phaseTable(report.phases)}
${holdTable(report)}
<h2>What is counted</h2>
<p>Latency runs from the moment a request was due, whatever kept it from being sent; a timeout counts as the time until
then. <b>good</b>: the right user, ${report.settings.posts} distinct eligible posts at full quality (fewer where the
answer says that nothing is left). <b>degraded</b>: right, and the answer names what was replaced
(${report.settings.limits.acceptDegraded ? 'counted as goodput' : 'not counted as goodput'}). <b>refused</b>: 429 or 503
with Retry-After. <b>errors</b>: other statuses, broken connections, timeouts, wrong answers, and requests that were
due while ${report.settings.maxInFlight} were in flight (unsent).</p>
</body></html>
`;
}

function verdict({ void: reasons, interrupted, knee }: LoadTestReport): string {
  if (reasons.length > 0) {
    return `<p class="bad"><b>Void.</b> ${reasons.map(escapeHtml).join('; ')}. These figures say nothing about the service.</p>`;
  }
  const found =
    knee === null
      ? ''
      : knee.rate === null
        ? 'No rate that was tried is sustained.'
        : `Knee: <b>${knee.bounded ? '' : 'at least '}${formatRate(knee.rate)} requests/s</b>.`;
  const kept = interrupted
    ? 'Interrupted: what follows is what was measured until then.'
    : 'The generator kept its schedule.';
  return `<p class="${interrupted ? 'bad' : 'good'}">${found} ${kept}</p>`;
}

function facts({ service, settings, machine, startedAt }: LoadTestReport): string {
  const { limits } = settings;
  const pinned = [
    service.cores && `service on cores ${service.cores}`,
    settings.generatorCores && `generators on ${settings.generatorCores}`,
  ];
  const rows: [string, string][] = [
    [
      'Service',
      `${service.url}, ${service.posts ?? '?'} posts, search ${service.search}, model ${service.model}, index ${service.index}`,
    ],
    ['Stores', service.startedHere ?? Object.values(service.stores).join(', ')],
    [
      'Machine',
      `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, node ${machine.node}; generator and service share it`,
    ],
    [
      'Pinning',
      `${pinned.filter(Boolean).join(', ') || 'none'}; generators’ nice ${settings.generatorPriority}`,
    ],
    ['Arrivals', settings.arrivals === 'burst' ? `bursts of ${settings.burstSize}` : settings.arrivals],
    [
      'Mix',
      `${(100 * (1 - settings.eventShare)).toFixed(0)} % feeds of ${settings.posts}, ${(100 * settings.eventShare).toFixed(0)} % events`,
    ],
    [
      'Users',
      `${settings.users.toLocaleString('en')}, Zipf ${settings.zipfExponent}; blocks and mutes of ${settings.profilesChecked} checked`,
    ],
    [
      'Sustained',
      `p99 ≤ ${limits.p99Ms} ms, errors ≤ ${100 * limits.errorShare} %, goodput ≥ ${100 * limits.goodputShare} % of what was due`,
    ],
    ['Started', startedAt],
  ];
  return `<table class="facts">${rows.map(([name, text]) => `<tr><th>${name}</th><td>${escapeHtml(text)}</td></tr>`).join('')}</table>`;
}

function ratePlots({ knee }: LoadTestReport, measured: PhaseReport[]): Plot[] {
  const byRate = measured
    .filter(({ role }) => role === 'step' || role === 'hold' || role === 'rate')
    .sort((a, b) => a.offeredPerSecond - b.offeredPerSecond);
  if (byRate.length < 2) return [];
  const of = (pick: (phase: PhaseReport) => number | null): [number, number | null][] =>
    byRate.map((phase) => [phase.offeredPerSecond, pick(phase)]);
  const x = { label: 'requests due a second', log: true };
  const marks = knee?.rate ? [{ at: knee.rate, text: `knee ${formatRate(knee.rate)}/s` }] : [];
  return [
    {
      title: 'Latency of feeds by rate, from the intended time',
      x,
      y: { label: 'ms', log: true },
      marks,
      series: [
        { name: 'p50', style: 0, points: of(({ latencyMs }) => latencyMs.p50) },
        { name: 'p99', style: 1, points: of(({ latencyMs }) => latencyMs.p99) },
        { name: 'p99.9', style: 2, points: of(({ latencyMs }) => latencyMs.p999) },
        { name: 'p99 since send', style: 3, dashed: true, points: of(({ sinceSendMs }) => sinceSendMs.p99) },
      ],
    },
    {
      title: 'Goodput by rate',
      x,
      y: { label: 'answers a second', from: 0 },
      marks,
      series: [
        { name: 'due', style: 4, dashed: true, points: of(({ offeredPerSecond }) => offeredPerSecond) },
        { name: 'good', style: 0, points: of(({ goodputPerSecond }) => goodputPerSecond) },
        { name: 'degraded', style: 3, points: of((phase) => perSecond(phase, 'degraded')) },
        { name: 'refused', style: 2, points: of((phase) => perSecond(phase, 'refused')) },
        {
          name: 'errors',
          style: 1,
          points: of(({ errorShare, offeredPerSecond }) => errorShare * offeredPerSecond),
        },
      ],
    },
  ];
}

function perSecond({ counts, seconds }: PhaseReport, fate: 'degraded' | 'refused'): number {
  return (counts.feed[fate] + counts.event[fate]) / seconds;
}

/** Seconds since the first phase began, of every second of every phase. */
function wholeTimeline({ phases }: LoadTestReport) {
  const zero = phases[0]?.startedAtMs ?? 0;
  const seconds = phases.flatMap(({ startedAtMs, timeline }) =>
    timeline.map((second) => ({ ...second, at: (startedAtMs - zero) / 1000 + second.second })),
  );
  const named = phases.filter(({ role }) => phases.length <= 12 || role === 'hold' || role === 'recovery');
  const marks = named.map(({ startedAtMs, role, name }) => ({
    at: (startedAtMs - zero) / 1000,
    text: role === 'hold' || role === 'recovery' ? name.replace(' knee', '') : name,
  }));
  return { seconds, marks };
}

function timePlot(report: LoadTestReport): Plot {
  const { seconds, marks } = wholeTimeline(report);
  return {
    title: 'Latency of feeds by time',
    x: { label: 'seconds' },
    y: { label: 'ms', log: true },
    marks,
    series: [
      { name: 'p50', style: 0, points: seconds.map(({ at, p50 }) => [at, p50]) },
      { name: 'p99', style: 1, points: seconds.map(({ at, p99 }) => [at, p99]) },
    ],
  };
}

function errorPlot(report: LoadTestReport): Plot {
  const { seconds, marks } = wholeTimeline(report);
  return {
    title: 'Requests by time',
    x: { label: 'seconds' },
    y: { label: 'a second', from: 0 },
    marks,
    series: [
      { name: 'due', style: 4, dashed: true, points: seconds.map(({ at, offered }) => [at, offered]) },
      { name: 'good', style: 0, points: seconds.map(({ at, good }) => [at, good]) },
      { name: 'degraded', style: 3, points: seconds.map(({ at, degraded }) => [at, degraded]) },
      { name: 'refused', style: 2, points: seconds.map(({ at, refused }) => [at, refused]) },
      { name: 'errors', style: 1, points: seconds.map(({ at, errors }) => [at, errors]) },
    ],
  };
}

/** Percentiles on HdrHistogram's axis: equal steps for every further nine. */
function distributionPlot(measured: PhaseReport[]): Plot {
  const sustained = measured.filter(({ role, problems }) => role !== 'recovery' && problems.length === 0);
  const shown = sustained.at(-1) ?? measured.at(-1);
  const nines = (points: [number, number][]): [number, number][] =>
    points.map(([percentile, ms]) => [1 / (1 - percentile / 100), ms]);
  const last = Math.max(1, ...nines(shown?.distribution ?? []).map(([at]) => at));
  const ticks = [0, 50, 90, 99, 99.9, 99.99, 99.999]
    .map((percentile) => ({ at: 1 / (1 - percentile / 100), text: `${percentile} %` }))
    .filter(({ at }) => at <= last * 1.001);
  return {
    title: `Distribution of feeds’ latency${shown ? `, ${shown.name}` : ''}`,
    x: { label: 'percentile', log: true, from: 1, to: Math.max(10, last), ticks },
    y: { label: 'ms', from: 0 },
    series: [
      { name: 'from the intended time', style: 0, points: nines(shown?.distribution ?? []) },
      { name: 'since the send', style: 3, dashed: true, points: nines(shown?.distributionSinceSend ?? []) },
    ],
  };
}

function phaseTable(phases: PhaseReport[]): string {
  const heads = [
    'phase',
    'due/s',
    'good/s',
    'good',
    'degraded',
    'refused',
    'errors',
    'p50',
    'p90',
    'p99',
    'p99.9',
    'max',
    'since send p99',
    'events p99',
    'refused p99',
    'late p99',
    'generator cores',
    'service cores',
    'service ms/answer',
    'RSS MiB',
    'others’ CPU',
    'verdict',
  ];
  const rows = phases.map((phase) => {
    const { latencyMs, cpu, counts } = phase;
    const sum = (...fates: ('degraded' | 'refused' | 'failed' | 'timedOut' | 'wrong' | 'unsent')[]) =>
      fates.reduce((total, fate) => total + counts.feed[fate] + counts.event[fate], 0);
    const verdict = phase.superseded
      ? 'void, run again'
      : [...phase.void.map((reason) => `VOID: ${reason}`), ...phase.problems].join('; ') || 'sustained';
    const cells = [
      phase.role === 'step' || phase.role === 'rate' ? phase.name : `${phase.role} ${phase.name}`,
      phase.offeredPerSecond.toFixed(1),
      phase.goodputPerSecond.toFixed(1),
      `${(100 * phase.goodputShare).toFixed(1)} %`,
      sum('degraded'),
      sum('refused'),
      sum('failed', 'timedOut', 'wrong', 'unsent'),
      latencyMs.p50,
      latencyMs.p90,
      latencyMs.p99,
      latencyMs.p999,
      latencyMs.max,
      phase.sinceSendMs.p99,
      phase.eventMs.p99,
      phase.refusedMs.p99,
      phase.latenessMs.p99,
      cpu.generatorCores,
      cpu.serviceCores,
      cpu.serviceMsPerAnswer,
      cpu.serviceRssMiB,
      cpu.foreignShare === null ? null : `${(100 * cpu.foreignShare).toFixed(0)} %`,
      phase.role === 'warm-up' ? '' : verdict,
    ];
    return `<tr>${cells.map((cell) => `<td>${cell === null ? '–' : escapeHtml(String(cell))}</td>`).join('')}</tr>`;
  });
  const causes = phases.flatMap(({ name, causes }) =>
    Object.entries(causes).map(
      ([cause, count]) => `<li>${escapeHtml(name)}: ${escapeHtml(cause)}, ${count} times</li>`,
    ),
  );
  const list = causes.length > 0 ? `<h3>Causes</h3><ul>${causes.join('')}</ul>` : '';
  const head = heads.map((name) => `<th>${name}</th>`).join('');
  return `<div class="wide"><table><tr>${head}</tr>${rows.join('')}</table></div>${list}<p>Times in ms.</p>`;
}

function holdTable({ holds }: LoadTestReport): string {
  if (holds.length === 0) return '';
  const rows = holds.map(
    (hold) =>
      `<tr><td>${hold.factor}×</td><td>${hold.goodputPerSecond.toFixed(1)}/s (${(100 * hold.goodputOfKnee).toFixed(0)} % of the knee’s)</td>` +
      `<td>${hold.latencyP99Ms ?? '–'}</td><td>${hold.degraded}</td><td>${hold.refused}</td><td>${hold.refusedP99Ms ?? '–'}</td>` +
      `<td>${hold.recoverySeconds === null ? 'not seen' : `${hold.recoverySeconds} s`}</td></tr>`,
  );
  return `<h2>Beyond the knee</h2><table><tr><th>held</th><th>goodput</th><th>p99 ms</th><th>degraded</th><th>refused</th><th>refused p99 ms</th><th>recovered after</th></tr>${rows.join('')}</table>`;
}
