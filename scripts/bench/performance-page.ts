// docs/PERFORMANCE.md from a benchmark's JSON: nothing on the page was typed by hand.
import { capacitySection, costSection, type Prices } from './capacity-report.ts';
import type { FeedBenchResult } from './feed.ts';
import { gpuSection } from './gpu-print.ts';
import type { ProfileResult } from './profile.ts';
import type { BenchReport } from './report.ts';
import type { Comparison } from './rounds.ts';
import type { ScaleResult } from './scale.ts';
import type { Spread } from './statistics.ts';

export function performancePage(report: BenchReport, prices: Prices): string {
  const { machine, at, options, comparisons, feeds, capacity = [], scale = [], profiles = [] } = report;
  return `# Performance

Written by \`npm run bench\` on ${at.slice(0, 10)} (\`bench -- page\` joins the JSON of several runs). Medians of ${options.rounds}
rounds; generated worlds, seed ${options.seed}, ${options.users.toLocaleString('en')} users; ranking on the CPU.

Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.platform}, Node ${machine.node}.

${
  capacity.length > 0
    ? `## Capacity

\`npm run bench -- capacity\`: the client on the same machine, embedded stores, every answer checked.

${capacity.map(capacitySection).join('\n')}\n`
    : ''
}${costSection(capacity, scale, prices)}
## Stages beside what they stand on

Each beside its baseline, measured in turn within the same rounds, one thread.

${comparisons.map(comparisonTable).join('\n')}
${limits(comparisons)}${scaleSection(scale)}${
  profiles.length > 0
    ? `## Where a feed's time goes

\`npm run bench -- profile\`: self time of every thread under load; on busy cores a thread that waits for one counts
as busy, so shares say more than milliseconds.

${profiles.map(profileSection).join('\n')}\n`
    : ''
}## Whole requests

One client, one request at a time, ${options.requests} requests a round; embedded stores; the client on the same machine.

${feeds.map(section).join('\n')}
${gpuSection(report.gpu)}## How to read it

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

/** What each stage cannot do without, and how far above that it is. */
const LIMITS: readonly { of: RegExp; stage: string; limit: string }[] = [
  { of: /^scan with/, stage: 'exact scan', limit: 'memory bandwidth: every code is read once' },
  {
    of: /^inverted lists/,
    stage: 'inverted lists',
    limit: 'memory latency: rows of a list lie apart; against hnswlib',
  },
  { of: /^graph,/, stage: 'graph', limit: 'memory latency: one miss a visited row; against hnswlib' },
  { of: /^encoder$/, stage: 'encode', limit: 'memory latency: two cache lines and a vector a row' },
  { of: /^encode, run/, stage: 'rank', limit: 'FLOPs: session.run runs at the machine’s peak' },
  {
    of: /^all rules, slate of 150/,
    stage: 're-rank',
    limit: 'its own arithmetic: 200 picks against 1000 candidates',
  },
];

function limits(comparisons: readonly Comparison[]): string {
  const rows = LIMITS.flatMap(({ of, stage, limit }) =>
    comparisons.flatMap(({ name, cases, baseline }) =>
      cases
        .filter((one) => of.test(one.name))
        .map(
          (one) =>
            `| ${stage} (${name.split(',').slice(0, 2).join(',')}) | ${limit} | ${one.ratio.toFixed(2)} × *${baseline}* |`,
        ),
    ),
  );
  if (rows.length === 0) return '';
  return `### What limits each stage

| stage | limit | distance |
|---|---|---|
${rows.join('\n')}

The hand-off between the main thread and a feed worker is a message each way: .1 ms for a slate of 300 (the default is 150).

`;
}

function scaleSection(scale: readonly ScaleResult[]): string {
  if (scale.length === 0) return '';
  const rows = scale.flatMap(
    ({ posts, buildSeconds, fileMiB, loadSeconds, rssMiB, bytesPerPost, searches }) =>
      searches.map(({ search, ms, recall }, i) => {
        const name = `${posts.toLocaleString('en')}${buildSeconds === null ? ' real' : ''}`;
        const size = [name, buildSeconds ?? '–', fileMiB, loadSeconds, rssMiB, bytesPerPost];
        const left = i === 0 ? size : size.map(() => '');
        return `| ${left.join(' | ')} | ${search} | ${ms.p50} | ${ms.p99} | ${recall.toFixed(4)} |`;
      }),
  );
  return `## Scale

\`npm run bench -- scale\`: generated vectors (400 overlapping centres), 200 queries of k = 1000, each size in processes of
its own; recall against the exact scan. One generation holds up to 13 million posts, up to 10.1 million of them with the
codes in the order of the lists as well.

| posts | build s | files MiB | load s | resident MiB | bytes a post | search | p50 ms | p99 ms | recall |
|---|---|---|---|---|---|---|---|---|---|
${rows.join('\n')}

`;
}

function profileSection({ posts, perSecond, threads, label }: ProfileResult): string {
  const tables = threads.map(({ thread, busyMsPerFeed, functions, parts }) => {
    const rows = functions.slice(0, 12).map((one, i) => {
      const part = parts[i];
      return `| ${part ? `${part.name} | ${part.msPerFeed.toFixed(3)}` : ' | '} | \`${one.name}\` | ${one.msPerFeed.toFixed(3)} |`;
    });
    return `**${thread}**, ${busyMsPerFeed} ms a feed

| part | ms | function | ms |
|---|---|---|---|
${rows.join('\n')}
`;
  });
  return `### ${label ? `${label}: ` : ''}${posts.toLocaleString('en')} posts, ${perSecond} feeds/s

${tables.join('\n')}`;
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
