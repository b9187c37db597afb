// `npm run bench -- feed`: figures beside their baselines from the same run, as a table and as JSON.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { benchFeed, type FeedBenchResult } from './bench/feed.ts';
import { performancePage } from './bench/performance-page.ts';

const HELP = `usage: npm run bench -- feed [flags]

  --posts N,N         sizes of the worlds (default 100000,1000000); built once, then reused
  --users N           users of each world (default 5000)
  --requests N        requests of a round, one client, one at a time (default 1000)
  --rounds N          rounds; the figures are medians over them (default 5)
  --seed S            seed of the worlds (default 1)
  --cache DIR         where the worlds are kept (default .cache/bench)
  --ef-construction E breadth of the graph's insertion (default 100)
  --json FILE         write every figure
  --markdown FILE     write the page of figures, such as docs/PERFORMANCE.md
  --help

Prints each stage's time (from the answers' Server-Timing), the whole request as its client sees it, and GET
/health/live from the same rounds as the baseline. Event-loop delay is perf_hooks', less its sampling interval.`;

function whole(flag: string, text: string, min: number, max: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new Error(`${flag}: expected a whole number from ${min} to ${max}, got '${text}'`);
}

function table(results: FeedBenchResult[]): string {
  const lines = results.flatMap((result) => {
    const { posts, search, model, feed, nothing, stages, loopDelayMs, rssMiB } = result;
    const row = (name: string, { p50, p99 }: { p50: number; p99: number }) =>
      `  ${name.padEnd(26)} ${p50.toFixed(2).padStart(8)} ${p99.toFixed(2).padStart(8)}`;
    return [
      `${posts.toLocaleString('en')} posts, ${search}, ${model}, ${rssMiB} MiB`,
      `  ${'ms'.padEnd(26)} ${'p50'.padStart(8)} ${'p99'.padStart(8)}`,
      ...Object.entries(stages).map(([stage, times]) => row(stage, times)),
      row('whole request', feed),
      row('GET /health/live', nothing),
      row('event-loop delay', loopDelayMs),
      `  whole request ÷ /health/live: ${(feed.p50 / nothing.p50).toFixed(1)} at p50`,
      '',
    ];
  });
  return lines.join('\n');
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: process.argv.slice(2),
    allowPositionals: true,
    options: {
      posts: { type: 'string', default: '100000,1000000' },
      users: { type: 'string', default: '5000' },
      requests: { type: 'string', default: '1000' },
      rounds: { type: 'string', default: '5' },
      seed: { type: 'string', default: '1' },
      cache: { type: 'string', default: '.cache/bench' },
      'ef-construction': { type: 'string', default: '100' },
      json: { type: 'string' },
      markdown: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  if (positionals.length !== 1 || positionals[0] !== 'feed') {
    throw new Error(`expected one benchmark, feed, got '${positionals.join(' ')}'`);
  }
  const report = await benchFeed({
    sizes: values.posts.split(',').map((text) => whole('--posts', text, 1000, 9_000_000)),
    users: whole('--users', values.users, 10, 1_000_000),
    requests: whole('--requests', values.requests, 10, 1_000_000),
    rounds: whole('--rounds', values.rounds, 1, 100),
    seed: whole('--seed', values.seed, 0, 2 ** 31),
    cacheDir: values.cache,
    efConstruction: whole('--ef-construction', values['ef-construction'], 10, 1000),
  });
  console.log(table(report.results));
  if (values.markdown) writeFileSync(values.markdown, performancePage(report));
  if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
}

try {
  await main();
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
