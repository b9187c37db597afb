// A closed loop of readers: so many requests in flight, the next one sent when an answer came, every answer checked.
// Runs as its own process, so that the client's event loop is not the one that measures. Called by capacity and profile.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { judgeFeed } from '../load-test/answer-checker.ts';
import { HttpClient } from '../load-test/http-client.ts';
import { LatencyHistogram } from '../load-test/latency-histogram.ts';
import { loopbackTarget } from '../load-test/loopback.ts';
import { Traffic } from '../load-test/traffic.ts';

export interface ClosedLoopPlan {
  /** `http://127.0.0.1:port` */
  base: string;
  inFlight: number;
  seconds: number;
  /** u0 … u<users − 1>, all alike. */
  users: number;
  seed: number;
}

export interface ClosedLoopResult {
  feeds: number;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  degraded: number;
  /** Refused, failed or wrong, by cause. */
  causes: Record<string, number>;
  /** Of the client. */
  clientCpuMs: number;
}

/** A page, as the comparison asks for it. */
const POSTS = 50;

/** Resolves when the time is over and every answer has come. */
export function closedLoop(plan: ClosedLoopPlan): Promise<ClosedLoopResult> {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(plan)], { execArgv: ['--no-warnings'] });
  return new Promise((resolve, reject) => {
    child.once('message', (result) => resolve(result as ClosedLoopResult));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the client ended with ${code}`)));
  });
}

async function run({ base, inFlight, seconds, users, seed }: ClosedLoopPlan): Promise<ClosedLoopResult> {
  const { host, port } = loopbackTarget(base);
  const traffic = new Traffic({
    authority: `${host}:${port}`,
    eventShare: 0,
    posts: POSTS,
    users: { prefix: 'u', count: users },
    zipfExponent: 0,
    seed,
    profiles: {},
    served: [],
  });
  const client = new HttpClient(host, port);
  const latency = new LatencyHistogram();
  const causes: Record<string, number> = {};
  let degraded = 0;
  let feeds = 0;
  const before = process.cpuUsage();
  const startedAt = performance.now();
  const endsAt = startedAt + seconds * 1000;
  const note = (cause: string) => {
    causes[cause] = (causes[cause] ?? 0) + 1;
  };
  const reader = (done: () => void): void => {
    const request = traffic.next();
    if (performance.now() >= endsAt || request.kind !== 'feed') {
      done();
      return;
    }
    const sentAt = performance.now();
    client.send(request.text, {
      answered: (answer) => {
        const judgement = judgeFeed(answer, { ...request, posts: POSTS });
        if (judgement.verdict === 'degraded') degraded++;
        for (const cause of judgement.causes) note(cause);
        if (['good', 'degraded', 'short'].includes(judgement.verdict)) {
          feeds++;
          latency.record(performance.now() - sentAt);
        }
        reader(done);
      },
      failed: (reason) => {
        note(reason);
        setTimeout(() => reader(done), 10);
      },
    });
  };
  await Promise.all(Array.from({ length: inFlight }, () => new Promise<void>((done) => reader(done))));
  const took = (performance.now() - startedAt) / 1000;
  client.close();
  const { user, system } = process.cpuUsage(before);
  return {
    feeds,
    perSecond: Number((feeds / took).toFixed(1)),
    p50Ms: latency.at(50) ?? Number.NaN,
    p99Ms: latency.at(99) ?? Number.NaN,
    degraded,
    causes,
    clientCpuMs: (user + system) / 1000,
  };
}

if (import.meta.main && process.send) {
  process.send(await run(JSON.parse(process.argv[2]) as ClosedLoopPlan));
  process.disconnect();
}
