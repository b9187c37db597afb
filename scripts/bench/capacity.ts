// `npm run bench -- capacity`: how much the service carries, and what a feed costs, beside the raw kernels of the same
// run: one and eight in flight, the knee, open loops at fixed rates, the event loop's delay at 70 % of the knee.
import { availableParallelism } from 'node:os';
import { type Config, readConfig } from '../../src/config.ts';
import { Campaign, type CampaignOptions, type CampaignResult } from '../load-test/campaign.ts';
import { GeneratorPool } from '../load-test/generator-pool.ts';
import { loopbackTarget } from '../load-test/loopback.ts';
import { DEFAULT_LIMITS } from '../load-test/phase-report.ts';
import { type ClosedLoopResult, closedLoop } from './closed-loop.ts';
import { loopDelayMs } from './feed.ts';
import { openKernelWorld } from './kernel-world.ts';
import { foreignShare, readCpu, residentMiB } from './machine.ts';
import { chooseRanker, type RankerChoice } from './ranker-choice.ts';
import { type RawKernels, rawKernels } from './raw-kernels.ts';
import { type ServiceProcess, startService } from './service-process.ts';
import { lessThreadTimes, type ThreadTimes, threadTimes } from './thread-cpu.ts';
import { type BenchWorld, benchWorld, copyWorld } from './world.ts';

export interface CapacityOptions extends BenchWorld {
  /** Name, or name@version, of the models folder. */
  ranker: string;
  /** Of each phase. */
  seconds: number;
  /** Open-loop rates beside those of the knee. */
  rates: number[];
}

/** A closed loop with what the service's threads took for it, CPU-ms a feed. */
export interface LoadFigures extends ClosedLoopResult {
  inFlight: number;
  cpuMsPerFeed: number;
  threads: ThreadTimes;
  foreignCpu: number;
}

export interface OpenLoopFigures {
  rate: number;
  p50Ms: number | null;
  p99Ms: number | null;
  goodputShare: number;
  degraded: number;
  /** Why it says nothing: the generator was late. */
  void: string[];
}

export interface CapacityResult {
  posts: number;
  ranker: string;
  model: string;
  search: string;
  cores: number;
  /** Before and after the load, their mean. */
  kernels: RawKernels;
  single: LoadFigures;
  eight: LoadFigures;
  /** feeds/s that an open loop sustained with p99 ≤ KNEE_P99_MS; null where not even the first rate was. */
  knee: number | null;
  openLoop: OpenLoopFigures[];
  /** Main thread's, at 70 % of the knee. */
  loopDelayAt70: { rate: number; p50: number; p99: number };
  /** CPU of a feed ÷ (search + run). */
  cpuRatio: number;
  /** CPU of a feed that is neither. */
  otherCpuMs: number;
  /** feeds/s × (search + run) ÷ cores. */
  saturation: number;
  clientCpuMsPerFeed: number;
  rssMiB: number;
}

const KNEE_P99_MS = 100;
/** The knee is looked for at these shares of what eight in flight reached. */
const KNEE_SHARES = [0.6, 0.75, 0.85, 0.95, 1.05];
/** Long enough for the texts of what most users are shown to be in memory. */
const WARM_UP_SECONDS = 15;
const LOOP_SHARE = 0.7;

export async function benchCapacity(options: CapacityOptions): Promise<CapacityResult> {
  const { posts, ranker: choice } = options;
  const config = readConfig();
  const dataDir = await benchWorld(options);
  const models = chooseRanker(config.MODELS_DIR, choice);
  const world = copyWorld(dataDir);
  try {
    const kernels = [await measureKernels(options, models, config)];
    const service = await startService({
      DATA_DIR: world.dataDir,
      MODELS_DIR: models.modelsDir,
      RATE_LIMIT_PER_MINUTE: '0',
      USER_RATE_LIMIT_PER_MINUTE: '0',
    });
    let loaded: Awaited<ReturnType<typeof load>>;
    try {
      loaded = await load(service, options);
    } finally {
      await service.stop();
    }
    kernels.push(await measureKernels(options, models, config));
    const mean = (of: (one: RawKernels) => number) =>
      rounded(kernels.reduce((sum, one) => sum + of(one), 0) / 2);
    const raw = {
      searchMs: mean((one) => one.searchMs),
      runMs: mean((one) => one.runMs),
      rows: kernels[0].rows,
    };
    const rawMs = raw.searchMs + raw.runMs;
    const { eight } = loaded;
    const cores = availableParallelism();
    return {
      posts,
      ranker: choice,
      cores,
      kernels: raw,
      ...loaded,
      cpuRatio: rounded(eight.cpuMsPerFeed / rawMs),
      otherCpuMs: rounded(eight.cpuMsPerFeed - rawMs),
      saturation: rounded((eight.perSecond * rawMs) / 1000 / cores),
      clientCpuMsPerFeed: rounded(eight.clientCpuMs / Math.max(1, eight.feeds)),
    };
  } finally {
    world.remove();
    models.remove();
  }
}

async function measureKernels(options: CapacityOptions, { modelsDir }: RankerChoice, config: Config) {
  return rawKernels(await openKernelWorld(options), modelsDir, config);
}

async function load(service: ServiceProcess, options: CapacityOptions) {
  const { base, pid } = service;
  const { users, seed, seconds } = options;
  const facts = (await (await fetch(`${base}/feed/u1?limit=50`)).json()) as { model: string; search: string };
  say(`${facts.search}, ${facts.model}: warming up`);
  await closedLoop({ base, users, inFlight: 8, seconds: WARM_UP_SECONDS, seed: seed + 1 });
  const single = await closed(service, options, 1, seed + 2);
  const eight = await closed(service, options, 8, seed + 3);
  const { host, port } = loopbackTarget(base);
  const traffic = {
    authority: `${host}:${port}`,
    eventShare: 0,
    posts: 50,
    users: { prefix: 'u', count: users },
    zipfExponent: 0,
    seed,
    profiles: {},
    served: [],
  };
  const limits = { timeoutMs: 2000, maxInFlight: 500, posts: 50 };
  const pool = await GeneratorPool.start({ host, port, traffic, limits }, { size: 1, cores: null });
  try {
    const rates = KNEE_SHARES.map((share) => Math.round(share * eight.perSecond));
    const found = await open(pool, pid, seconds, seed, {
      steps: { start: rates[0], factor: 2, max: rates[rates.length - 1], list: rates, refine: 0 },
    });
    const knee = found.knee?.rate ?? null;
    say(`knee ${knee ?? 'below the first rate'}`);
    // Where a generator was late at the first rate the knee is not known: eight in flight stand in for it.
    const rate = Math.round(LOOP_SHARE * (knee ?? eight.perSecond));
    await fetch(`${base}/metrics`); // the figures are of the time since the last reading
    found.phases.push(...(await open(pool, pid, seconds, seed, { rate })).phases);
    const loopDelayAt70 = { rate, ...loopDelayMs(await (await fetch(`${base}/metrics`)).text()) };
    for (const rate of options.rates) {
      found.phases.push(...(await open(pool, pid, seconds, seed, { rate })).phases);
    }
    const openLoop = found.phases.map(
      ({ rate, latencyMs, goodputShare, counts, void: reasons }): OpenLoopFigures => ({
        rate,
        p50Ms: latencyMs.p50,
        p99Ms: latencyMs.p99,
        goodputShare,
        degraded: counts.feed.degraded,
        void: reasons,
      }),
    );
    const { model, search } = facts;
    return { model, search, single, eight, knee, openLoop, loopDelayAt70, rssMiB: residentMiB(pid) };
  } finally {
    pool.close();
  }
}

async function closed(
  { base, pid }: ServiceProcess,
  { users, seconds }: CapacityOptions,
  inFlight: number,
  seed: number,
): Promise<LoadFigures> {
  const cpu = readCpu([pid]);
  const before = threadTimes(pid);
  const result = await closedLoop({ base, users, inFlight, seconds, seed });
  const threads = lessThreadTimes(threadTimes(pid), before, Math.max(1, result.feeds));
  const cpuMsPerFeed = rounded(Object.values(threads).reduce((sum, ms) => sum + ms, 0));
  const after = readCpu([pid]);
  // The client has ended and is counted as others: its own share is taken out.
  const client = result.clientCpuMs / 1000 / (after.at - cpu.at) / availableParallelism();
  const foreignCpu = rounded(Math.max(0, foreignShare(cpu, after) - client));
  say(
    `${inFlight} in flight: ${result.perSecond}/s, p50 ${result.p50Ms} p99 ${result.p99Ms} ms, ${cpuMsPerFeed} CPU-ms a feed, others ${(foreignCpu * 100).toFixed(0)} %`,
  );
  return { inFlight, ...result, cpuMsPerFeed, threads, foreignCpu };
}

async function open(
  pool: GeneratorPool,
  servicePid: number,
  seconds: number,
  seed: number,
  load: CampaignOptions['load'],
): Promise<CampaignResult> {
  const options: CampaignOptions = {
    load,
    durationMs: seconds * 1000,
    warmUpMs: 0,
    holds: [],
    holdMs: 0,
    recoveryMs: 0,
    arrivals: 'poisson',
    burstSize: 1,
    seed,
    limits: { ...DEFAULT_LIMITS, p99Ms: KNEE_P99_MS, acceptDegraded: false },
    maxRate: 20_000,
  };
  const observer = {
    second: () => {},
    phaseEnds: ({ rate, latencyMs, goodputShare }: CampaignResult['phases'][number]) =>
      say(`open loop ${rate}/s: p50 ${latencyMs.p50} p99 ${latencyMs.p99} ms, good ${goodputShare}`),
  };
  return new Campaign(options, { pool, servicePid, observer }).run();
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

function rounded(value: number): number {
  return Number(value.toFixed(3));
}
