// `npm run bench -- NAME`: figures beside their baselines from the same run, as a table and as JSON.
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readConfig } from '../src/config.ts';
import { benchCapacity } from './bench/capacity.ts';
import type { Prices } from './bench/capacity-report.ts';
import { benchFeed } from './bench/feed.ts';
import { benchFreshness } from './bench/freshness.ts';
import { benchGpu } from './bench/gpu.ts';
import { benchIngest } from './bench/ingest.ts';
import { openKernelWorld } from './bench/kernel-world.ts';
import { machine } from './bench/machine.ts';
import { benchOnlineState } from './bench/online-state.ts';
import { performancePage } from './bench/performance-page.ts';
import { benchProfile } from './bench/profile.ts';
import { type BenchReport, mergeReports, printReport } from './bench/report.ts';
import type { Comparison } from './bench/rounds.ts';
import { benchScale } from './bench/scale.ts';
import { benchAnn, benchBuild, benchExact } from './bench/search-kernels.ts';
import { benchEncode, benchRank, benchRerank, retrieveAll } from './bench/stage-kernels.ts';

const KERNELS = ['ann', 'exact', 'encode', 'rank', 'rerank', 'build'] as const;
/** `all` is the kernels and feed; the others take a quiet machine for minutes each. */
const NAMES = [...KERNELS, 'feed', 'all', 'capacity', 'profile', 'scale', 'page'] as const;
type Name = (typeof NAMES)[number];

/** Of their own: they need PostgreSQL and Redis, which they start, and are not part of `all`. */
const LIVE = { ingest: benchIngest, freshness: benchFreshness, 'online-state': benchOnlineState };

const HELP = `usage: npm run bench -- ${[...NAMES, 'gpu', ...Object.keys(LIVE)].join('|')} [flags]

  ann     each search at its calibrated setting, beside hnswlib's own call; recall against the exact scan
  exact   the scan, beside reading the same bytes
  encode  features of 1000 candidates, beside copying their records
  rank    each committed ranker, beside its raw session.run
  rerank  all rules, beside sorting the scores
  build   the graph's insertion, beside hnswlib's own
  feed    whole requests against the service in its own process, beside GET /health/live
  all     all of these
  capacity   what the service carries and what a feed costs, beside the raw kernels of the same run: one and eight in
             flight, the knee, open loops, event-loop delay at 70 %; under two minutes a world and model
  profile    V8's sampling profiler on every thread under load: self time, folded stacks, .cpuprofile files
  scale      build, files, memory, load and search against --posts, generated vectors
  page       --markdown from the JSON of earlier runs, --from
  gpu        ranking and retrieval on a device; flags of its own, see gpu --help
  ingest     events that one replica commits to PostgreSQL, in batches of 100 and one by one
  freshness  from a write's answer to its effect on two replicas, under load
  online-state  memory of --users users in Redis, by part, and how fast they are written

  --posts N,N         sizes of the worlds (default 100000,1000000); built once, then reused
  --users N           users of each world (default 5000)
  --seconds N         length of a phase of ingest, freshness, capacity or profile (default 15, capacity 10)
  --search KIND       auto builds and measures every search of a world, ivf leaves the graph out (default auto)
  --ranker NAME,NAME  capacity: models of MODELS_DIR to serve by, name or name@version (default ranker)
  --rates R,R         capacity: open-loop rates, feeds a second (default 140,300)
  --in-flight N       profile: requests in flight (default 2)
  --out DIR           profile: where the files go (default .cache/bench/profile)
  --label TEXT        profile: heading on the page, such as before
  --graph             scale: with the graph, which takes minutes a million
  --index DIR         scale: one more row, of an index that was built of real posts (DATA_DIR/index)
  --from FILE,FILE    page: JSON of earlier runs
  --price-per-core-hour P  of the page's costs (default 0.04)
  --price-per-gib-hour P   (default 0.005)
  --price-per-gpu-hour P   (default 2.5)
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

function price(flag: string, text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= 0 && value <= 10_000) return value;
  throw new Error(`${flag}: expected a price, got '${text}'`);
}

function whole(flag: string, text: string, min: number, max: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new Error(`${flag}: expected a whole number from ${min} to ${max}, got '${text}'`);
}

function oneOf<T extends string>(flag: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === text);
  if (found !== undefined) return found;
  throw new Error(`${flag}: expected ${allowed.join(' or ')}, got '${text}'`);
}

interface Plan {
  sizes: number[];
  users: number;
  seed: number;
  rounds: number;
  requests: number;
  cacheDir: string;
  efConstruction: number;
  search: 'auto' | 'ivf';
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
  // It has flags of its own, and runs where nothing but itself is installed.
  if (process.argv[2] === 'gpu') return benchGpu(process.argv.slice(3));
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
      seconds: { type: 'string' },
      search: { type: 'string', default: 'auto' },
      ranker: { type: 'string', default: 'ranker' },
      rates: { type: 'string', default: '140,300' },
      'in-flight': { type: 'string', default: '2' },
      out: { type: 'string', default: '.cache/bench/profile' },
      label: { type: 'string' },
      graph: { type: 'boolean', default: false },
      index: { type: 'string' },
      from: { type: 'string' },
      'price-per-core-hour': { type: 'string', default: '0.04' },
      'price-per-gib-hour': { type: 'string', default: '0.005' },
      'price-per-gpu-hour': { type: 'string', default: '2.5' },
      'no-updater': { type: 'boolean', default: false },
      json: { type: 'string' },
      markdown: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  if (positionals.length === 1 && Object.hasOwn(LIVE, positionals[0])) {
    const options = {
      seconds: whole('--seconds', values.seconds ?? '15', 1, 3600),
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
      `expected one of ${[...NAMES, 'gpu', ...Object.keys(LIVE)].join(', ')}, got '${positionals.join(' ')}'`,
    );
  }
  const plan: Plan = {
    sizes: values.posts.split(',').map((text) => whole('--posts', text, 1000, 13_000_000)),
    users: whole('--users', values.users, 10, 1_000_000),
    requests: whole('--requests', values.requests, 10, 1_000_000),
    rounds: whole('--rounds', values.rounds, 1, 100),
    seed: whole('--seed', values.seed, 0, 2 ** 31),
    cacheDir: values.cache,
    efConstruction: whole('--ef-construction', values['ef-construction'], 10, 1000),
    search: oneOf('--search', values.search, ['auto', 'ivf'] as const),
  };
  const prices: Prices = {
    coreHour: price('--price-per-core-hour', values['price-per-core-hour']),
    gibHour: price('--price-per-gib-hour', values['price-per-gib-hour']),
    gpuHour: price('--price-per-gpu-hour', values['price-per-gpu-hour']),
  };
  const names: readonly Name[] = name === 'all' ? [...KERNELS, 'feed'] : [name];
  const { sizes, users, seed, rounds, requests } = plan;
  const earlier = (values.from?.split(',') ?? []).map(
    (file) => JSON.parse(readFileSync(file, 'utf8')) as BenchReport,
  );
  if ((name === 'page') !== earlier.length > 0)
    throw new Error('page goes with --from FILE, and --from with page');
  let report: BenchReport = {
    machine: machine(),
    at: new Date().toISOString(),
    options: { sizes, users, seed, rounds, requests },
    comparisons: await kernels(names, plan),
    feeds: names.includes('feed') ? await benchFeed(plan) : [],
  };
  if (name === 'page') report = mergeReports(earlier);
  if (name === 'scale')
    report.scale = await benchScale({ sizes, seed, graph: values.graph, index: values.index });
  if (name === 'capacity') {
    report.capacity = [];
    const seconds = whole('--seconds', values.seconds ?? '10', 1, 60);
    const rates = values.rates.split(',').map((text) => whole('--rates', text, 1, 20_000));
    for (const ranker of values.ranker.split(','))
      for (const posts of sizes)
        report.capacity.push(await benchCapacity({ ...plan, posts, ranker, seconds, rates }));
  }
  if (name === 'profile') {
    report.profiles = [];
    const seconds = whole('--seconds', values.seconds ?? '15', 1, 600);
    const inFlight = whole('--in-flight', values['in-flight'], 1, 1000);
    const { out: outDir, label } = values;
    for (const posts of sizes)
      report.profiles.push(await benchProfile({ ...plan, posts, seconds, inFlight, outDir, label }));
  }
  console.log(printReport(report));
  if (values.markdown) writeFileSync(values.markdown, performancePage(report, prices));
  if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
}

try {
  await main();
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
