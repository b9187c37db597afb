// Fault 1: Redis killed, stopped, slow, and back without its data.
import { sleep } from '../clock.ts';
import { atMost, type Criterion, holds } from '../criterion.ts';
import { between, causesOf, clean, fullQualityAfter, Load, lastCauses } from '../load.ts';
import type { Scenario, ScenarioContext } from '../scenario.ts';
import type { Service } from '../service.ts';
import { inSite, type Site } from '../site.ts';

interface Fault {
  name: string;
  seconds: number;
  /** Whether an answer made meanwhile must be flagged. */
  flagged: boolean;
  begin(site: Site): Promise<void> | void;
  end(site: Site): Promise<void> | void;
}

const BEFORE_SECONDS = 10;
const AFTER_SECONDS = 14;

function faults(quick: boolean): Fault[] {
  return [
    {
      name: 'killed',
      seconds: quick ? 4 : 60,
      flagged: true,
      begin: (site) => site.redis.kill(),
      end: (site) => site.redis.start(),
    },
    {
      name: 'stopped',
      seconds: quick ? 3 : 20,
      flagged: true,
      begin: (site) => site.redis.signal('SIGSTOP'),
      end: (site) => site.redis.signal('SIGCONT'),
    },
    {
      name: '+200 ms',
      seconds: quick ? 3 : 20,
      flagged: false,
      begin: (site) => site.redis.proxy.delay(100),
      end: (site) => site.redis.proxy.delay(0),
    },
    {
      name: 'empty',
      seconds: 1,
      flagged: false,
      begin: (site) => site.redis.kill(),
      end: (site) => site.redis.start({ empty: true }),
    },
  ];
}

export const redisFaults: Scenario = {
  id: 1,
  title: 'Redis killed, stopped, 200 ms slower, back empty',
  run: (context) =>
    inSite(context, {}, async (site) => {
      const service = await site.startService();
      const load = await Load.open({ base: service.base, users: site.world.users });
      site.defer(() => load.close());
      const rate = await load.rate(context);
      const criteria: Criterion[] = [];
      for (const fault of faults(context.quick)) {
        criteria.push(...(await measure(context, { site, service, load, rate, fault })));
      }
      return criteria;
    }),
};

async function measure(
  { quick, note }: ScenarioContext,
  {
    site,
    service,
    load,
    rate,
    fault,
  }: { site: Site; service: Service; load: Load; rate: number; fault: Fault },
): Promise<Criterion[]> {
  const before = quick ? 3 : BEFORE_SECONDS;
  const after = quick ? 8 : AFTER_SECONDS;
  const run = load.run(rate, before + fault.seconds + after);
  await sleep(before * 1000);
  const beganAt = Date.now();
  await fault.begin(site);
  const opened = fault.name === 'empty' ? null : breakerOpens(service, beganAt);
  await sleep(beganAt + fault.seconds * 1000 - Date.now());
  const endedAt = Date.now();
  await fault.end(site);
  const backAt = Date.now();
  const outcome = await run.outcome;
  const base = between(outcome, 0, beganAt);
  // The second in which it fell is mixed; flags are asked for from then on.
  const during = between(outcome, beganAt + 1000, endedAt);
  const all = between(outcome, beganAt - 1000, Number.POSITIVE_INFINITY);
  // Two seconds after its return: what then is still degraded has another reason or has not come back.
  const later = between(outcome, backAt + 2000, Number.POSITIVE_INFINITY);
  note(
    `${fault.name}: ${causesOf(between(outcome, 0, beganAt))} before, ${causesOf(later)} 2 s after its return`,
  );
  const criteria = [
    ...clean(fault.name, all),
    atMost(
      `${fault.name}: full quality after its return (the last without: ${lastCauses(outcome, backAt)})`,
      fullQualityAfter(outcome, backAt),
      10,
      { unit: 's', timed: true },
    ),
  ];
  if (fault.flagged) {
    const { good, degraded } = during.counts.feed;
    criteria.push(
      holds(
        `${fault.name}: every answer is flagged`,
        good === 0 && degraded > 0,
        `${degraded} flagged, ${good} not (${causesOf(during)})`,
      ),
    );
  }
  if (opened) {
    criteria.push(atMost(`${fault.name}: breaker open after`, await opened, 1, { unit: 's', timed: true }));
    const limit = 2 * (base.histograms.feed.at(99) ?? 0);
    criteria.push(
      atMost(
        `${fault.name}: p99, at most twice the ${(limit / 2).toFixed(1)} ms before`,
        during.histograms.feed.at(99),
        limit,
        {
          unit: 'ms',
          timed: true,
        },
      ),
    );
  }
  return criteria;
}

/** Seconds until the breaker of the state store is open, seen every 50 ms; null when it is not within three. */
async function breakerOpens(service: Service, sinceMs: number): Promise<number | null> {
  while (Date.now() - sinceMs < 3000) {
    const samples = await service.metrics().catch(() => null);
    if ((samples?.sum('feedrank_breaker_state', 'dependency="user store"') ?? 0) > 0)
      return (Date.now() - sinceMs) / 1000;
    await sleep(50);
  }
  return null;
}
