import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import type { PhaseOutcome, PhasePlan } from '../../../scripts/load-test/generator-pool.ts';
import { HttpClient } from '../../../scripts/load-test/http-client.ts';
import { Tally } from '../../../scripts/load-test/interval.ts';
import {
  DEFAULT_LIMITS,
  type Limits,
  type PhaseReport,
  phaseReport,
  recoverySeconds,
} from '../../../scripts/load-test/phase-report.ts';
import { PhaseRun, type PhaseSpec } from '../../../scripts/load-test/phase-run.ts';
import { Traffic } from '../../../scripts/load-test/traffic.ts';
import {
  type FakeService,
  type FeedHandler,
  fakeFeed,
  json,
  startFakeService,
} from './load-test-fake-service.ts';

let service: FakeService;
let client: HttpClient;

afterEach(async () => {
  client.close();
  await service.close();
});

interface Setting {
  rate?: number;
  durationMs?: number;
  eventShare?: number;
  timeoutMs?: number;
  maxInFlight?: number;
  /** Called once the phase runs. */
  during?: (run: PhaseRun) => void;
}

const NO_CPU = {
  generatorCores: 0,
  serviceCores: null,
  serviceMsPerAnswer: null,
  serviceRssMiB: null,
  foreignShare: null,
};
/** A busy test machine must not decide: only what a test is about is limited. */
const lenient: Limits = { ...DEFAULT_LIMITS, latenessMs: 60_000, p99Ms: 60_000, acceptDegraded: false };

async function load(onFeed: FeedHandler, setting: Setting = {}): Promise<PhaseOutcome & { plan: PhasePlan }> {
  const { rate = 100, durationMs = 400, eventShare = 0, timeoutMs = 20_000, maxInFlight = 1000 } = setting;
  service = await startFakeService(onFeed);
  client = new HttpClient(service.host, service.port);
  const traffic = new Traffic({
    authority: `${service.host}:${service.port}`,
    eventShare,
    posts: 3,
    users: { prefix: 'u', count: 20 },
    zipfExponent: 1,
    seed: 1,
    profiles: {},
    served: [{ userId: 'u0', postId: 'p0', token: 't0', position: 0 }],
  });
  const plan: PhasePlan = { rate, durationMs, arrivals: 'constant', burstSize: 1, seed: 1 };
  const startAtMs = performance.timeOrigin + performance.now();
  const spec: PhaseSpec = { ...plan, kind: plan.arrivals, phase: 0, startAtMs };
  const total = new Tally();
  const seconds: Tally[] = [];
  const run = new PhaseRun(spec, {
    traffic,
    client,
    limits: { timeoutMs, maxInFlight, posts: 3 },
    report: (second, interval) => {
      total.add(interval);
      (seconds[second] ??= new Tally()).add(interval);
    },
  });
  const ended = run.run();
  setting.during?.(run);
  await ended;
  const elapsedMs = performance.timeOrigin + performance.now() - startAtMs;
  return { plan, startedAtMs: startAtMs, elapsedMs, total, seconds, generatorCpuMs: 0, resent: 0 };
}

function report(outcome: PhaseOutcome & { plan: PhasePlan }, limits: Partial<Limits> = {}): PhaseReport {
  const label = { role: 'rate', name: 'test' } as const;
  return phaseReport(label, outcome.plan, outcome, NO_CPU, { ...lenient, ...limits });
}

/** One answer at a time, each after `ms`: a service that cannot keep up. */
function oneAtATime(ms: number): FeedHandler {
  let last = Promise.resolve();
  return (userId, limit, response) => {
    last = last.then(async () => {
      await new Promise((resolve) => setTimeout(resolve, ms));
      json(response, 200, fakeFeed(userId, limit));
    });
    return true;
  };
}

describe('a phase', () => {
  test('sends all that is due, checks every answer and gives each request one fate', async () => {
    const outcome = await load(() => false, { eventShare: 0.5 });
    const { counts } = outcome.total;
    expect(counts.feed.offered + counts.event.offered).toBe(40);
    expect(counts.feed.good).toBe(counts.feed.offered);
    expect(counts.event.good).toBe(counts.event.offered);
    expect(counts.event.offered).toBe(service.events.length);
    expect(service.events.every(({ userId, postId }) => userId && postId)).toBe(true);
    expect(report(outcome)).toMatchObject({ goodputShare: 1, errorShare: 0, void: [], problems: [] });
  });

  test('goes on sending while the service stalls, and counts the wait of every request that was due', async () => {
    // 40 requests fall due within 400 ms, the service takes 20 ms for each: a client that waited for its answer
    // before it sends again would see 20 ms every time.
    const outcome = await load(oneAtATime(20));
    const { sent, good } = outcome.total.counts.feed;
    expect([sent, good]).toEqual([40, 40]);
    const { latencyMs } = report(outcome);
    expect(latencyMs.p50!).toBeGreaterThan(100);
    expect(latencyMs.max!).toBeGreaterThan(350);
  });

  test('measures from the intended time when the generator itself is late, and voids the phase', async () => {
    const stalled = await load(() => false, {
      during: () => {
        const until = performance.now() + 250;
        while (performance.now() < until);
      },
    });
    const late = report(stalled, { latenessMs: DEFAULT_LIMITS.latenessMs });
    expect(late.latenessMs.p99!).toBeGreaterThan(200);
    expect(late.latencyMs.max!).toBeGreaterThan(200);
    const parts = late.latenessMs.mean! + late.sinceSendMs.mean!;
    expect(Math.abs(late.latencyMs.mean! / parts - 1)).toBeLessThan(0.01);
    expect(late.latenessMs.mean!).toBeGreaterThan(50);
    expect(late.void).toEqual([expect.stringMatching(/^the generator was late: p99 .* at most 10 ms$/)]);
    expect(report(stalled).void).toEqual([]);
  });

  test('gives up after the timeout, and counts the time until then', async () => {
    const outcome = await load(() => true, { timeoutMs: 150, durationMs: 200 });
    expect(outcome.total.counts.feed).toMatchObject({ offered: 20, timedOut: 20, good: 0 });
    const { latencyMs, problems } = report(outcome);
    expect(latencyMs.count).toBe(20);
    expect(latencyMs.p50!).toBeGreaterThanOrEqual(149);
    expect(problems).toEqual(['errors 100.0 %, at most 1.0 %', 'goodput 0.0 %, at least 95.0 %']);
  });

  test('counts what was due beyond the requests in flight as unsent', async () => {
    const outcome = await load(() => true, {
      maxInFlight: 5,
      timeoutMs: 5000,
      durationMs: 200,
      during: stopAfter(300),
    });
    expect(outcome.total.counts.feed).toMatchObject({ offered: 20, sent: 5, unsent: 15, abandoned: 5 });
    expect(report(outcome).errorShare).toBe(1);
  });

  test('tells degraded, refused, failed and wrong answers apart', async () => {
    let n = 0;
    const outcome = await load((userId, limit, response) => {
      const kind = n++ % 5;
      if (kind === 0) return false;
      if (kind === 1) json(response, 200, fakeFeed(userId, limit, { degraded: ['ranker_late'] }));
      if (kind === 2) json(response, 503, { code: 'overloaded' }, { 'retry-after': '1' });
      if (kind === 3) json(response, 500, { code: 'internal' });
      if (kind === 4) json(response, 200, fakeFeed('somebody', limit));
      return true;
    });
    expect(outcome.total.counts.feed).toMatchObject({
      good: 8,
      degraded: 8,
      refused: 8,
      failed: 8,
      wrong: 8,
    });
    expect(outcome.total.causes).toEqual({
      'degraded:ranker_late': 8,
      '503 overloaded': 8,
      '500 internal': 8,
      'wrong:another user': 8,
    });
    const strict = report(outcome);
    expect([strict.goodputShare, strict.errorShare]).toEqual([0.2, 0.4]);
    expect(strict.refusedMs.count).toBe(8);
    expect(report(outcome, { acceptDegraded: true }).goodputShare).toBe(0.4);
  });

  test('a connection that breaks is a failure by name', async () => {
    const outcome = await load((_user, _limit, response) => breakOff(response));
    expect(outcome.total.counts.feed).toMatchObject({ failed: 40, good: 0 });
    expect(Object.keys(outcome.total.causes).length).toBeGreaterThan(0);
  });

  test('stopped early it reports what it has, and leaves out what was under way', async () => {
    const outcome = await load(oneAtATime(10), { durationMs: 60_000, during: stopAfter(300) });
    const { offered, good, abandoned, unsent } = outcome.total.counts.feed;
    expect(good).toBeGreaterThan(0);
    expect(good + abandoned + unsent).toBe(offered);
    expect(report(outcome)).toMatchObject({ goodputShare: 1, errorShare: 0 });
  });
});

function stopAfter(ms: number): (run: PhaseRun) => void {
  return (run) => void setTimeout(() => run.stop(), ms);
}

function breakOff(response: ServerResponse): boolean {
  response.socket?.destroy();
  return true;
}

describe('recoverySeconds', () => {
  const second = (p99: number | null, refused = 0, errors = 0) => ({ p99, refused, errors });
  const recovery = (...timeline: object[]) =>
    recoverySeconds({ timeline } as unknown as PhaseReport, { ...lenient, p99Ms: 50 });

  test('is the time after which every second was fine', async () => {
    expect(recovery(second(10), second(20))).toBe(0);
    expect(recovery(second(90), second(10), second(10, 3), second(null), second(20))).toBe(3);
    expect(recovery(second(10), second(10, 0, 1))).toBeNull();
  });
});
