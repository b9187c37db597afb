// `npm run bench -- feed`: one request at a time against the service in its own process, over generated worlds of
// several sizes; latency, the stages' times, event-loop delay, beside a route that does nothing.
import { type CpuClock, foreignShare, readCpu, residentMiB } from './machine.ts';
import { startService } from './service-process.ts';
import { median, type Spread, spread } from './statistics.ts';
import { type BenchWorld, benchWorld, copyWorld } from './world.ts';

export interface FeedBenchOptions extends Omit<BenchWorld, 'posts'> {
  /** Posts of each world. */
  sizes: number[];
  /** Requests of one round. */
  requests: number;
  rounds: number;
}

interface Round {
  feed: Spread;
  nothing: Spread;
  stages: Record<string, Spread>;
  loopDelayMs: { p50: number; p99: number };
  foreignCpu: number;
  degraded: number;
}

export interface FeedBenchResult {
  posts: number;
  search: string;
  model: string;
  /** Medians over the rounds. */
  feed: Spread;
  /** GET /health/live in the same rounds: HTTP and nothing else. */
  nothing: Spread;
  stages: Record<string, Spread>;
  loopDelayMs: { p50: number; p99: number };
  degraded: number;
  rssMiB: number;
  startSeconds: number;
  rounds: Round[];
}

const WARM_UP = 100;
/** perf_hooks samples the event loop's delay every 10 ms and reports the whole interval. */
const SAMPLING_MS = 10;

export async function benchFeed(options: FeedBenchOptions): Promise<FeedBenchResult[]> {
  const results: FeedBenchResult[] = [];
  for (const posts of options.sizes) results.push(await benchSize(posts, options));
  return results;
}

async function benchSize(posts: number, options: FeedBenchOptions): Promise<FeedBenchResult> {
  const world = copyWorld(await benchWorld({ ...options, posts }));
  const startedAt = performance.now();
  const service = await startService({
    DATA_DIR: world.dataDir,
    RATE_LIMIT_PER_MINUTE: '0',
    USER_RATE_LIMIT_PER_MINUTE: '0',
  });
  const startSeconds = Number(((performance.now() - startedAt) / 1000).toFixed(2));
  try {
    const facts = await get(`${service.base}/feed/u1?limit=50`);
    await runRound(service, options, WARM_UP, 0);
    const rounds: Round[] = [];
    for (let round = 1; round <= options.rounds; round++) {
      rounds.push(await runRound(service, options, options.requests, round));
      const { feed, foreignCpu } = rounds[rounds.length - 1];
      console.error(
        `  round ${round}: p50 ${feed.p50} p99 ${feed.p99} ms, others used ${(foreignCpu * 100).toFixed(0)} %`,
      );
    }
    const { search, model } = facts.body as { search: string; model: string };
    return {
      posts,
      search,
      model,
      feed: middle(rounds.map((round) => round.feed)),
      nothing: middle(rounds.map((round) => round.nothing)),
      stages: Object.fromEntries(
        Object.keys(rounds[0].stages).map((stage) => [
          stage,
          middle(rounds.map((round) => round.stages[stage])),
        ]),
      ),
      loopDelayMs: {
        p50: median(rounds.map((round) => round.loopDelayMs.p50)),
        p99: median(rounds.map((round) => round.loopDelayMs.p99)),
      },
      degraded: rounds.reduce((sum, round) => sum + round.degraded, 0),
      rssMiB: residentMiB(service.pid),
      startSeconds,
      rounds,
    };
  } finally {
    await service.stop();
    world.remove();
  }
}

async function runRound(
  service: { base: string; pid: number },
  options: FeedBenchOptions,
  requests: number,
  round: number,
): Promise<Round> {
  const feed: number[] = [];
  const nothing: number[] = [];
  const stages: Record<string, number[]> = {};
  let degraded = 0;
  await get(`${service.base}/metrics`); // the event-loop figures are of the time since the last reading
  const before: CpuClock = readCpu([service.pid]);
  for (let i = 0; i < requests; i++) {
    // A step that is coprime to any round number of users visits each before it comes back.
    const user = (i * 7919 + round * 104_729) % options.users;
    const { ms, body, timing } = await get(`${service.base}/feed/u${user}?limit=50`);
    const answer = body as { posts: unknown[]; degraded: string[] };
    if (answer.posts.length !== 50)
      throw new Error(`/feed/u${user} gave ${answer.posts.length} posts, not 50`);
    if (answer.degraded.length > 0) degraded++;
    feed.push(ms);
    for (const [stage, time] of timing) (stages[stage] ??= []).push(time);
    if (i % 10 === 0) nothing.push((await get(`${service.base}/health/live`)).ms);
  }
  const after = readCpu([service.pid]);
  const metrics = await (await fetch(`${service.base}/metrics`)).text();
  return {
    feed: spread(feed),
    nothing: spread(nothing),
    stages: Object.fromEntries(Object.entries(stages).map(([stage, times]) => [stage, spread(times)])),
    loopDelayMs: loopDelayMs(metrics),
    foreignCpu: foreignShare(before, after),
    degraded,
  };
}

async function get(url: string): Promise<{ ms: number; body: unknown; timing: [string, number][] }> {
  const startedAt = performance.now();
  const response = await fetch(url);
  const text = await response.text();
  const ms = performance.now() - startedAt;
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text.slice(0, 200)}`);
  const body = response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text;
  const timing = (response.headers.get('server-timing') ?? '').split(',').flatMap((part) => {
    const found = /^\s*(\w+);dur=([\d.]+)/.exec(part);
    return found ? [[found[1], Number(found[2])] as [string, number]] : [];
  });
  return { ms, body, timing };
}

/** The main thread's, since /metrics was read before. */
export function loopDelayMs(metrics: string): { p50: number; p99: number } {
  return { p50: metricMs(metrics, 'p50'), p99: metricMs(metrics, 'p99') };
}

function metricMs(metrics: string, quantile: 'p50' | 'p99'): number {
  const found = new RegExp(`^nodejs_eventloop_lag_${quantile}_seconds ([\\d.e+-]+)`, 'm').exec(metrics);
  return Number(Math.max(0, Number(found?.[1]) * 1000 - SAMPLING_MS).toFixed(2));
}

function middle(spreads: Spread[]): Spread {
  return {
    p50: median(spreads.map(({ p50 }) => p50)),
    p99: median(spreads.map(({ p99 }) => p99)),
    mean: median(spreads.map(({ mean }) => mean)),
  };
}
