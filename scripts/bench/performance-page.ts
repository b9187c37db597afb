// docs/PERFORMANCE.md from a benchmark's JSON: nothing on the page was typed by hand.
import type { FeedBenchResult } from './feed.ts';
import type { BenchReport } from './report.ts';
import type { Comparison } from './rounds.ts';
import type { Spread } from './statistics.ts';

export function performancePage({ machine, at, options, comparisons, feeds }: BenchReport): string {
  return `# Performance

Written by \`npm run bench -- all --markdown docs/PERFORMANCE.md\` on ${at.slice(0, 10)}. Medians of ${options.rounds}
rounds; generated worlds, seed ${options.seed}, ${options.users.toLocaleString('en')} users; ranking on the CPU.

Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.platform}, Node ${machine.node}.

## Stages beside what they stand on

Each beside its baseline, measured in turn within the same rounds, one thread.

${comparisons.map(comparisonTable).join('\n')}
## Whole requests

One client, one request at a time, ${options.requests} requests a round; embedded stores; the client on the same machine.

${feeds.map(section).join('\n')}
## How to read it

- *whole request* is what the client sees; the stages are the worker's own clock (\`Server-Timing\`).
- *GET /health/live* ran in the same rounds: it is what HTTP costs on this machine at that moment.
- *event-loop delay* is the main thread's, less the 10 ms sampling interval of perf_hooks.
- *others* is the largest share of the machine that other processes used in any round: above 20 % the figures are an
  upper bound, not a measurement. Rounds of the stages beyond that were repeated.
`;
}

function comparisonTable({ name, unit, cases, disturbed }: Comparison): string {
  const searches = cases.some((one) => one.recall !== undefined);
  const rows = cases.map(({ name: what, median, ratio, recall }, i) => {
    const found = searches ? ` ${recall?.toFixed(4) ?? ''} |` : '';
    return `| ${i === 0 ? `*${what}*` : what} | ${median} | ${ratio.toFixed(2)} |${found}`;
  });
  return `**${name}**${disturbed ? ' (disturbed in every round: upper bounds)' : ''}

| | ${unit} | × baseline |${searches ? ' recall |' : ''}
|---|---|---|${searches ? '---|' : ''}
${rows.join('\n')}
`;
}

function section(result: FeedBenchResult): string {
  const { posts, search, model, feed, nothing, stages, loopDelayMs, rssMiB, startSeconds, rounds, degraded } =
    result;
  const row = (name: string, { p50, p99 }: Pick<Spread, 'p50' | 'p99'>) =>
    `| ${name} | ${p50.toFixed(2)} | ${p99.toFixed(2)} |`;
  const others = Math.round(Math.max(...rounds.map((round) => round.foreignCpu)) * 100);
  return `## ${posts.toLocaleString('en')} posts

Search \`${search}\`, model \`${model}\`, ${rssMiB} MiB resident, ready ${startSeconds} s after the start, ${degraded} degraded
answers, others ${others} %.

| ms | p50 | p99 |
|---|---|---|
${Object.entries(stages)
  .map(([stage, times]) => row(stage, times))
  .join('\n')}
${row('**whole request**', feed)}
${row('GET /health/live', nothing)}
${row('event-loop delay', loopDelayMs)}
`;
}
