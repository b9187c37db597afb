// What a run of the benchmarks wrote down, and its table on the terminal.
import type { CapacityResult } from './capacity.ts';
import { printCapacity } from './capacity-report.ts';
import type { FeedBenchResult } from './feed.ts';
import type { GpuReport } from './gpu.ts';
import type { Machine } from './machine.ts';
import { type ProfileResult, printProfile } from './profile.ts';
import type { Comparison } from './rounds.ts';
import { printScale, type ScaleResult } from './scale.ts';

export interface BenchReport {
  machine: Machine;
  at: string;
  options: { sizes: number[]; users: number; seed: number; rounds: number; requests: number };
  comparisons: Comparison[];
  feeds: FeedBenchResult[];
  capacity?: CapacityResult[];
  scale?: ScaleResult[];
  /** Several: before and after a change, in the order in which they were given. */
  profiles?: ProfileResult[];
  gpu?: GpuReport;
}

export function printReport({ comparisons, feeds, capacity, scale, profiles }: BenchReport): string {
  return [
    ...comparisons.map(comparison),
    ...feeds.map(feed),
    ...(capacity ?? []).map(printCapacity),
    ...(scale ? [printScale(scale)] : []),
    ...(profiles ?? []).map(printProfile),
  ].join('\n');
}

/** Reports of several runs as one: the page is made of runs that each take their own quiet time. */
export function mergeReports(reports: readonly BenchReport[]): BenchReport {
  const [first] = reports;
  const main = reports.find(({ comparisons, feeds }) => comparisons.length + feeds.length > 0) ?? first;
  return {
    ...main,
    at:
      reports
        .map(({ at }) => at)
        .sort()
        .at(-1) ?? main.at,
    comparisons: reports.flatMap(({ comparisons }) => comparisons),
    feeds: reports.flatMap(({ feeds }) => feeds),
    capacity: reports.flatMap(({ capacity }) => capacity ?? []),
    scale: reports.flatMap(({ scale }) => scale ?? []).sort((a, b) => a.posts - b.posts),
    profiles: reports.flatMap(({ profiles }) => profiles ?? []),
    gpu: reports.find(({ gpu }) => gpu)?.gpu,
  };
}

function comparison({ name, unit, cases, voidRounds, disturbed }: Comparison): string {
  const lines = cases.map(({ name: what, median, ratio, recall }) => {
    const found = recall === undefined ? '' : `  recall ${recall.toFixed(4)}`;
    return `  ${what.padEnd(40)} ${String(median).padStart(9)} ${ratio.toFixed(2).padStart(7)}×${found}`;
  });
  const note = disturbed ? ' (others used the machine in every round: upper bounds)' : '';
  return [`${name}, ${unit}, ${voidRounds} rounds void${note}`, ...lines, ''].join('\n');
}

function feed({
  posts,
  search,
  model,
  feed: whole,
  nothing,
  stages,
  loopDelayMs,
  rssMiB,
}: FeedBenchResult): string {
  const row = (name: string, { p50, p99 }: { p50: number; p99: number }) =>
    `  ${name.padEnd(26)} ${p50.toFixed(2).padStart(8)} ${p99.toFixed(2).padStart(8)}`;
  return [
    `${posts.toLocaleString('en')} posts, ${search}, ${model}, ${rssMiB} MiB`,
    `  ${'ms'.padEnd(26)} ${'p50'.padStart(8)} ${'p99'.padStart(8)}`,
    ...Object.entries(stages).map(([stage, times]) => row(stage, times)),
    row('whole request', whole),
    row('GET /health/live', nothing),
    row('event-loop delay', loopDelayMs),
    `  whole request ÷ /health/live: ${(whole.p50 / nothing.p50).toFixed(1)} at p50`,
    '',
  ].join('\n');
}
