// `npm run bench -- NAME`: figures beside their baselines from the same run, as a table and as JSON.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readConfig } from '../src/config.ts';
import { benchFeed } from './bench/feed.ts';
import { benchFreshness } from './bench/freshness.ts';
import { benchIngest } from './bench/ingest.ts';
import { openKernelWorld } from './bench/kernel-world.ts';
import { machine } from './bench/machine.ts';
import { benchOnlineState } from './bench/online-state.ts';
import { performancePage } from './bench/performance-page.ts';
import { type BenchReport, printReport } from './bench/report.ts';
import type { Comparison } from './bench/rounds.ts';
import { benchAnn, benchBuild, benchExact } from './bench/search-kernels.ts';
import { benchEncode, benchRank, benchRerank, retrieveAll } from './bench/stage-kernels.ts';

const KERNELS = ['ann', 'exact', 'encode', 'rank', 'rerank', 'build'] as const;
const NAMES = [...KERNELS, 'feed', 'all'] as const;
type Name = (typeof NAMES)[number];

/** Of their own: they need PostgreSQL and Redis, which they start, and are not part of `all`. */
const LIVE = { ingest: benchIngest, freshness: benchFreshness, 'online-state': benchOnlineState };

const HELP = `usage: npm run bench -- ${[...NAMES, ...Object.keys(LIVE)].join('|')} [flags]

  ann     each search at its calibrated setting, beside hnswlib's own call; recall against the exact scan
  exact   the scan, beside reading the same bytes
  encode  features of 1000 candidates, beside copying their records
  rank    each committed ranker, beside its raw session.run
  rerank  all rules, beside sorting the scores
  build   the graph's insertion, beside hnswlib's own
  feed    whole requests against the service in its own process, beside GET /health/live
  all     all of these
  ingest     events that one replica commits to PostgreSQL, in batches of 100 and one by one
  freshness  from a write's answer to its effect on two replicas, under load
  online-state  memory of --users users in Redis, by part, and how fast they are written

  --posts N,N         sizes of the worlds (default 100000,1000000); built once, then reused
  --users N           users of each world (default 5000)
  --seconds N         length of a phase of ingest or freshness (default 15)
  --no-updater        ingest: without an updater beside it
  --requests N        requests of a round of feed, one client, one at a time (default 1000)
  --rounds N          rounds; the figures are medians over them (default 7)
  --seed S            seed of the worlds (default 1)
  --cache DIR         where the worlds are kept (default .cache/bench)
  --ef-construction E breadth of the graph's insertion (default 100)
  --json FILE         write every figure
  --markdown FILE     write the page of figures, such as docs/PERFORMANCE.md
  --help

Every round measures all cases in turn. A round in which other processes used more than a fifth of the machine is
void and repeated.`;

function whole(flag: string, text: string, min: number, max: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new Error(`${flag}: expected a whole number from ${min} to ${max}, got '${text}'`);
}

interface Plan {
  sizes: number[];
  users: number;
  seed: number;
  rounds: number;
  requests: number;
  cacheDir: string;
  efConstruction: number;
}

async function kernels(names: readonly Name[], plan: Plan): Promise<Comparison[]> {
  const wanted = KERNELS.filter((name) => names.includes(name));
  const comparisons: Comparison[] = [];
  for (const posts of wanted.length > 0 ? plan.sizes : []) {
    const world = await openKernelWorld({ ...plan, posts });
    const modelsDir = readConfig().MODELS_DIR;
    const retrievals = wanted.some((name) => ['encode', 'rank', 'rerank'].includes(name))
      ? await retrieveAll(world)
      : [];
    for (const name of wanted) {
      console.error(`bench: ${name}, ${posts} posts`);
      if (name === 'ann') comparisons.push(...(await benchAnn(world, plan.rounds)));
      if (name === 'exact') comparisons.push(...(await benchExact(world, plan.rounds)));
      if (name === 'build') comparisons.push(...(await benchBuild(world, plan.rounds)));
      const stage = { encode: benchEncode, rank: benchRank, rerank: benchRerank }[name as string];
      if (stage) comparisons.push(...(await stage(world, retrievals, modelsDir, plan.rounds)));
    }
  }
  return comparisons;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: process.argv.slice(2),
    allowPositionals: true,
    options: {
      posts: { type: 'string', default: '100000,1000000' },
      users: { type: 'string', default: '5000' },
      requests: { type: 'string', default: '1000' },
      rounds: { type: 'string', default: '7' },
      seed: { type: 'string', default: '1' },
      cache: { type: 'string', default: '.cache/bench' },
      'ef-construction': { type: 'string', default: '100' },
      seconds: { type: 'string', default: '15' },
      'no-updater': { type: 'boolean', default: false },
      json: { type: 'string' },
      markdown: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  if (positionals.length === 1 && Object.hasOwn(LIVE, positionals[0])) {
    const options = {
      seconds: whole('--seconds', values.seconds, 1, 3600),
      users: whole('--users', values.users, 10, 1_000_000),
      posts: 2000,
      updater: !values['no-updater'],
    };
    const live = await LIVE[positionals[0] as keyof typeof LIVE](options);
    console.log(JSON.stringify(live, null, 2));
    if (values.json) writeFileSync(values.json, `${JSON.stringify(live, null, 2)}\n`);
    return;
  }
  const [name] = positionals as Name[];
  if (positionals.length !== 1 || !NAMES.includes(name)) {
    throw new Error(
      `expected one of ${[...NAMES, ...Object.keys(LIVE)].join(', ')}, got '${positionals.join(' ')}'`,
    );
  }
  const plan: Plan = {
    sizes: values.posts.split(',').map((text) => whole('--posts', text, 1000, 9_000_000)),
    users: whole('--users', values.users, 10, 1_000_000),
    requests: whole('--requests', values.requests, 10, 1_000_000),
    rounds: whole('--rounds', values.rounds, 1, 100),
    seed: whole('--seed', values.seed, 0, 2 ** 31),
    cacheDir: values.cache,
    efConstruction: whole('--ef-construction', values['ef-construction'], 10, 1000),
  };
  const names: readonly Name[] = name === 'all' ? NAMES : [name];
  const { sizes, users, seed, rounds, requests } = plan;
  const report: BenchReport = {
    machine: machine(),
    at: new Date().toISOString(),
    options: { sizes, users, seed, rounds, requests },
    comparisons: await kernels(names, plan),
    feeds: names.includes('feed') ? await benchFeed(plan) : [],
  };
  console.log(printReport(report));
  if (values.markdown) writeFileSync(values.markdown, performancePage(report));
  if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
}

try {
  await main();
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
