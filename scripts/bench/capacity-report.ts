// Capacity's figures against the targets, as text for the terminal and as a section of the page; cost and sizing from
// the same figures. Pure. Called by bench.ts and performance-page.ts.
import type { CapacityResult, LoadFigures, OpenLoopFigures } from './capacity.ts';
import type { ScaleResult } from './scale.ts';

/** What two cores with the generator on them are held against. */
export interface Target {
  name: string;
  measured: number | null;
  target: number;
  /** Whether more or less is better. */
  better: 'more' | 'less';
  unit: string;
}

export interface Prices {
  /** Of a core, a GiB of memory and a GPU, in the same currency. */
  coreHour: number;
  gibHour: number;
  gpuHour: number;
}

/** Cores are planned to be busy for this share: beyond it the tail grows faster than the load. */
const PLANNED_LOAD = 0.7;
/** Of a user with a vector and 30 engagements in Redis, measured by `bench -- online-state`. */
const BYTES_A_USER = 592;
/** Node, code, models and caches of one replica. */
const REPLICA_GIB = 0.7;
/** Feeds a GPU ranks a second: the target, until `bench -- gpu` has measured it. */
const FEEDS_A_GPU = 3000;
const SIZES = [
  { posts: 100_000, users: 100_000, rate: 50 },
  { posts: 1_000_000, users: 1_000_000, rate: 200 },
  { posts: 5_000_000, users: 5_000_000, rate: 1000 },
  { posts: 10_000_000, users: 20_000_000, rate: 5000 },
];

/** The light model's targets are its own; every other model is held against the DCN's. */
export function targetsOf(result: CapacityResult): Target[] {
  const isLight = result.model.startsWith('ranker-light');
  const at = (rate: number) => result.openLoop.find((one) => one.rate === rate && one.void.length === 0);
  const rate = isLight ? 300 : 140;
  const goal = isLight
    ? { feeds: 700, ratio: 1.5, p50: 3.2, p99: 6, open: 20, saturation: 0.7 }
    : { feeds: 320, ratio: 1.2, p50: 6, p99: 11, open: 35, saturation: 0.82 };
  const { eight, single } = result;
  return [
    {
      name: 'feeds a second, 8 in flight',
      measured: eight.perSecond,
      target: goal.feeds,
      better: 'more',
      unit: '/s',
    },
    {
      name: 'CPU of a feed ÷ (search + run)',
      measured: result.cpuRatio,
      target: goal.ratio,
      better: 'less',
      unit: '×',
    },
    {
      name: 'CPU of a feed that is neither',
      measured: result.otherCpuMs,
      target: 1,
      better: 'less',
      unit: 'ms',
    },
    { name: 'one in flight, p50', measured: single.p50Ms, target: goal.p50, better: 'less', unit: 'ms' },
    { name: 'one in flight, p99', measured: single.p99Ms, target: goal.p99, better: 'less', unit: 'ms' },
    {
      name: `open loop at ${rate}/s, p99`,
      measured: at(rate)?.p99Ms ?? null,
      target: goal.open,
      better: 'less',
      unit: 'ms',
    },
    {
      name: 'event-loop delay p99 at 70 %',
      measured: result.loopDelayAt70.p99,
      target: 2,
      better: 'less',
      unit: 'ms',
    },
    {
      name: 'saturation, share of cores ÷ raw kernels',
      measured: result.saturation,
      target: goal.saturation,
      better: 'more',
      unit: '',
    },
  ] satisfies Target[];
}

export function isMet({ measured, target, better }: Target): boolean {
  return measured !== null && (better === 'more' ? measured >= target : measured <= target);
}

function verdict(one: Target): string {
  if (one.measured === null) return '**not measured**';
  return isMet(one) ? 'met' : '**missed**';
}

export function printCapacity(result: CapacityResult): string {
  const { posts, model, search, kernels, single, eight, knee, openLoop, loopDelayAt70, rssMiB } = result;
  const loop = ({ inFlight, perSecond, p50Ms, p99Ms, cpuMsPerFeed, foreignCpu }: LoadFigures) =>
    `  ${inFlight} in flight: ${perSecond}/s, p50 ${p50Ms} p99 ${p99Ms} ms, ${cpuMsPerFeed} CPU-ms a feed, others ${Math.round(foreignCpu * 100)} %`;
  return [
    `${posts.toLocaleString('en')} posts, ${search}, ${model}, ${rssMiB} MiB; raw search ${kernels.searchMs} ms, run ${kernels.runMs} ms`,
    loop(single),
    loop(eight),
    `  knee ${knee ?? 'not found'}/s; event-loop delay p99 at 70 % ${loopDelayAt70.p99} ms`,
    ...openLoop.map(openLine),
    ...targetsOf(result).map(
      (one) =>
        `  ${verdict(one)} ${one.name}: ${one.measured ?? 'not measured'} (${one.better === 'more' ? '≥' : '≤'} ${one.target}${one.unit})`,
    ),
  ].join('\n');
}

function openLine({ rate, p50Ms, p99Ms, goodputShare, void: reasons }: OpenLoopFigures): string {
  const note = reasons.length > 0 ? ` (void: ${reasons.join('; ')})` : '';
  return `  open loop ${rate}/s: p50 ${p50Ms} p99 ${p99Ms} ms, good ${(goodputShare * 100).toFixed(1)} %${note}`;
}

export function capacitySection(result: CapacityResult): string {
  const { posts, model, search, kernels, single, eight, openLoop, rssMiB, clientCpuMsPerFeed } = result;
  const targets = targetsOf(result);
  const misses = targets.filter((one) => !isMet(one)).length;
  const row = (one: Target) =>
    `| ${one.name} | ${one.measured ?? 'not measured'} | ${one.better === 'more' ? '≥' : '≤'} ${one.target} ${one.unit} | ${verdict(one)} |`;
  const threads = Object.entries(eight.threads).map(([part, ms]) => `| ${PARTS[part]} | ${ms.toFixed(2)} |`);
  const others = Math.max(single.foreignCpu, eight.foreignCpu);
  return `### ${posts.toLocaleString('en')} posts, \`${model}\`

Search \`${search}\` (raw ${kernels.searchMs} ms), raw session.run ${kernels.runMs} ms over ${kernels.rows} rows, ${rssMiB} MiB
resident, others at most ${Math.round(others * 100)} % of the machine. ${misses} of ${targets.length} targets missed.

| | measured | target | |
|---|---|---|---|
${[...targets.filter((one) => !isMet(one)), ...targets.filter(isMet)].map(row).join('\n')}

8 in flight: p50 ${eight.p50Ms}, p99 ${eight.p99Ms} ms, ${eight.degraded} of ${eight.feeds} degraded; the client itself took ${clientCpuMsPerFeed} ms a feed.

| CPU-ms a feed, 8 in flight | |
|---|---|
${threads.join('\n')}
| **all** | ${eight.cpuMsPerFeed.toFixed(2)} |

| open loop, feeds/s | p50 ms | p99 ms | answered well |
|---|---|---|---|
${openLoop.map(({ rate, p50Ms, p99Ms, goodputShare, void: reasons }) => `| ${rate}${reasons.length > 0 ? ' (void)' : ''} | ${p50Ms} | ${p99Ms} | ${(goodputShare * 100).toFixed(1)} % |`).join('\n')}
`;
}

const PARTS: Record<string, string> = {
  main: 'main thread: HTTP, stores, pages',
  feedWorkers: 'feed workers: retrieve, rank, re-rank',
  otherWorkers: 'embedded SQL store and embedding',
  engine: 'V8: garbage collection, compilation',
  pool: 'libuv, LMDB',
};

/** Cost and sizing; `scale` gives the memory of a post where it was measured. */
export function costSection(
  results: readonly CapacityResult[],
  scale: readonly ScaleResult[],
  prices: Prices,
): string {
  if (results.length === 0) return '';
  const largest = [...scale].sort((a, b) => b.posts - a.posts)[0];
  const postBytes = largest?.bytesPerPost ?? 700;
  const costs = results.map(({ model, posts, eight }) => {
    const coreHours = (eight.cpuMsPerFeed * 1e6) / 3_600_000 / PLANNED_LOAD;
    return `| \`${model}\` | ${posts.toLocaleString('en')} | ${eight.cpuMsPerFeed} | ${coreHours.toFixed(2)} | ${(coreHours * prices.coreHour).toFixed(3)} |`;
  });
  const { model, eight } = results[0];
  const rows = SIZES.map(({ posts, users, rate }) => {
    const cores = Math.max(2, Math.ceil((rate * eight.cpuMsPerFeed) / 1000 / PLANNED_LOAD));
    const replicas = Math.ceil(cores / 16);
    const catalogueGib = (posts * 1.25 * postBytes) / 2 ** 30;
    const memory = replicas * (catalogueGib + REPLICA_GIB) + (users * BYTES_A_USER) / 2 ** 30;
    const gpus = Math.ceil(rate / FEEDS_A_GPU);
    const cost = cores * prices.coreHour + memory * prices.gibHour;
    return `| ${posts.toLocaleString('en')} | ${users.toLocaleString('en')} | ${rate} | ${cores} | ${replicas} | ${memory.toFixed(1)} | ${gpus} | ${cost.toFixed(2)} |`;
  });
  return `## Cost and sizing

At ${prices.coreHour} a core and hour, ${prices.gibHour} a GiB and hour, cores busy for ${PLANNED_LOAD * 100} % of the time (flags
\`--price-per-core-hour\`, \`--price-per-gib-hour\`): assumptions, not offers.

| model | posts | CPU-ms a feed | core-hours a million feeds | **cost a million feeds** |
|---|---|---|---|---|
${costs.join('\n')}

Sizing, by \`${model}\`: cores = feeds/s × CPU-ms ÷ 1000 ÷ ${PLANNED_LOAD}; replicas of 16 cores, each with all posts (${postBytes} bytes a
post${largest ? ` at ${largest.posts.toLocaleString('en')}` : ', assumed'}, a quarter more for live ones) and ${REPLICA_GIB} GiB of its own; ${BYTES_A_USER} bytes a user, once. *GPUs*: how many would rank that
instead of the cores, at the target of ${FEEDS_A_GPU.toLocaleString('en')} feeds/s each (${prices.gpuHour} an hour); the small models are cheaper on cores.

| posts | users | feeds/s | cores | replicas | GiB | GPUs | cost an hour |
|---|---|---|---|---|---|---|---|
${rows.join('\n')}
`;
}
