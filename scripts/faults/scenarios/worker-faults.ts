// Fault 5: feed workers that hang or run out of memory, and a whole process killed behind the balancer.
import { balance } from '../balanced.ts';
import { secondsUntil, sleep } from '../clock.ts';
import { atMost, type Criterion, equals, holds } from '../criterion.ts';
import { between, causesOf, clean, Load } from '../load.ts';
import type { Scenario, ScenarioContext } from '../scenario.ts';
import type { Service } from '../service.ts';
import { inSite, type Site } from '../site.ts';
import { supervise } from '../supervisor.ts';
import { DEBUGGED, WorkerDebugger } from '../worker-debugger.ts';

const WORKERS = 2;
const DEADLINE_MS = 300;
const OUT_OF_MEMORY = /[^"]*memory limit[^"]*/i;
/** Filling a heap and collecting it in vain takes seconds. */
const EXHAUSTED_MS = 60_000;

export const workerFaults: Scenario = {
  id: 5,
  title: 'Feed worker hung, out of memory; the whole process killed behind the balancer',
  run: (context) =>
    inSite(context, {}, async (site) => [
      ...(await hungWorkers(context, site)),
      ...(await killedProcess(context, site)),
    ]),
};

async function hungWorkers(context: ScenarioContext, site: Site): Promise<Criterion[]> {
  const env = {
    ...DEBUGGED,
    FEED_WORKERS: String(WORKERS),
    FEED_DEADLINE_MS: String(DEADLINE_MS),
  };
  const service = await site.startService({ env });
  const debug = await WorkerDebugger.attach(service, WORKERS);
  const load = await Load.open({ base: service.base, users: site.world.users });
  try {
    const rate = context.quick ? await load.rate(context) : 0.5 * (await load.rate(context));
    const hangMs = context.quick ? 4000 : 12_000;
    const criteria: Criterion[] = [];
    for (const hung of [1, WORKERS]) {
      const name = hung === 1 ? 'one hung' : 'all hung';
      const run = load.run(rate, 3 + hangMs / 1000 + 4);
      await sleep(3000);
      const beganAt = Date.now();
      for (let worker = 0; worker < hung; worker++) debug.hang(worker, hangMs);
      const quarantined = await secondsUntil(
        async () => (await service.metrics()).sum('feedrank_workers_hung') === hung,
        hangMs,
      );
      const outcome = await run.outcome;
      const during = between(outcome, beganAt, beganAt + hangMs);
      const { feed } = between(outcome, beganAt, beganAt + hangMs + 1000).histograms;
      criteria.push(
        ...clean(name, between(outcome, beganAt - 1000, Number.POSITIVE_INFINITY)),
        atMost(`${name}: slowest answer, at most the deadline and 10 ms`, feed.at(100), DEADLINE_MS + 10, {
          unit: 'ms',
          timed: true,
        }),
        atMost(`${name}: quarantined after`, quarantined, 4, { unit: 's', timed: true }),
      );
      if (hung === WORKERS) {
        // Spare workers take over when the hung ones are given up; until then lower rungs answer.
        criteria.push(
          holds(`${name}: the next rung answers, flagged`, during.counts.feed.degraded > 0, causesOf(during)),
        );
      }
      criteria.push(await allBack(service, name));
    }
    criteria.push(...(await exhausted(debug, { load, service, rate })));
    return criteria;
  } finally {
    load.close();
    debug.close();
    await service.stop();
  }
}

async function exhausted(
  debug: WorkerDebugger,
  { load, service, rate }: { load: Load; service: Service; rate: number },
): Promise<Criterion[]> {
  const run = load.run(rate, 120);
  await sleep(2000);
  const beganAt = Date.now();
  debug.exhaust();
  await secondsUntil(() => OUT_OF_MEMORY.test(service.log), EXHAUSTED_MS);
  await sleep(3000);
  load.pool.stop();
  const outcome = await run.outcome;
  const name = 'out of memory';
  return [
    holds(`${name}: the process lives`, service.alive, service.alive ? 'yes' : `no: ${service.lastLine()}`),
    ...clean(name, between(outcome, beganAt - 1000, Number.POSITIVE_INFINITY)),
    holds(
      `${name}: the worker ended for it`,
      OUT_OF_MEMORY.test(service.log),
      OUT_OF_MEMORY.exec(service.log)?.[0] ?? 'no sign of it',
    ),
    await allBack(service, name),
  ];
}

async function allBack(service: Service, name: string): Promise<Criterion> {
  const back = await secondsUntil(async () => {
    const metrics = await service.metrics();
    const serving = metrics.sum('feedrank_workers_available') ?? 0;
    return serving >= WORKERS && metrics.sum('feedrank_workers_hung') === 0;
  }, 15_000);
  return atMost(`${name}: all workers serve again after`, back, 10, { unit: 's', timed: true });
}

async function killedProcess(context: ScenarioContext, site: Site): Promise<Criterion[]> {
  const replicas = [
    await site.startService({ env: { FEED_WORKERS: '1' } }),
    await site.startService({ env: { FEED_WORKERS: '1' } }),
  ] as const;
  const undo = replicas.map(supervise);
  const balancer = await balance(context, [...replicas]);
  const load = await Load.open({ base: balancer.url, users: site.world.users });
  try {
    const rate = context.quick ? await load.rate(context) : 0.4 * (await load.rate(context));
    const seconds = context.quick ? 12 : 25;
    const run = load.run(rate, seconds);
    await sleep(3000);
    const killedAt = Date.now();
    const ended = replicas[0].ended();
    replicas[0].signal('SIGKILL');
    await ended;
    await secondsUntil(async () => (await replicas[0].health()).ready, 20_000);
    const restartSeconds = (Date.now() - killedAt) / 1000;
    const outcome = await run.outcome;
    const all = between(outcome, 0, Number.POSITIVE_INFINITY);
    return [
      ...clean('process killed', all),
      equals('process killed: refused through the balancer', all.sum('refused'), 0),
      atMost('process killed: restarted and ready after', restartSeconds, 5, { unit: 's', timed: true }),
    ];
  } finally {
    load.close();
    await balancer.stop();
    await Promise.all(undo.map((stop) => stop()));
  }
}
