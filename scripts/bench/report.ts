// What a run of the benchmarks wrote down, and its table on the terminal.
import type { FeedBenchResult } from './feed.ts';
import type { Machine } from './machine.ts';
import type { Comparison } from './rounds.ts';

export interface BenchReport {
  machine: Machine;
  at: string;
  options: { sizes: number[]; users: number; seed: number; rounds: number; requests: number };
  comparisons: Comparison[];
  feeds: FeedBenchResult[];
}

export function printReport({ comparisons, feeds }: BenchReport): string {
  return [...comparisons.map(comparison), ...feeds.map(feed)].join('\n');
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
