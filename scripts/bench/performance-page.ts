// docs/PERFORMANCE.md from a benchmark's JSON: nothing on the page was typed by hand.
import type { FeedBenchReport, FeedBenchResult } from './feed.ts';
import type { Spread } from './statistics.ts';

export function performancePage({ machine, at, options, results }: FeedBenchReport): string {
  return `# Performance

Written by \`npm run bench -- feed --markdown docs/PERFORMANCE.md\` on ${at.slice(0, 10)}. One client, one request at a
time; medians of ${options.rounds} rounds of ${options.requests} requests; generated worlds, seed ${options.seed},
${options.users.toLocaleString('en')} users; embedded stores; ranking on the CPU; the client on the same machine.

Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.platform}, Node ${machine.node}.

${results.map(section).join('\n')}
## How to read it

- *whole request* is what the client sees; the stages are the worker's own clock (\`Server-Timing\`).
- *GET /health/live* ran in the same rounds: it is what HTTP costs on this machine at that moment.
- *event-loop delay* is the main thread's, less the 10 ms sampling interval of perf_hooks.
- *others* is the largest share of the machine that other processes used in any round: above 20 % the figures are an
  upper bound, not a measurement.
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
