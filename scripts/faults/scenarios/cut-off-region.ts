// Fault 15: two regions, each a network namespace with its replica and Redis, behind the balancer; one is cut off.
// Needs root and iproute2.
import { join } from 'node:path';
import { freePort, type RunningServer, runCommand } from '../../../test/setup/child-process.ts';
import { startRedis } from '../../../test/setup/redis-server.ts';
import { balance } from '../balanced.ts';
import { secondsUntil, sleep } from '../clock.ts';
import { atLeast, atMost, equals, holds } from '../criterion.ts';
import { between, causesOf, clean, failures, Load } from '../load.ts';
import { Impossible, type Scenario, type ScenarioContext } from '../scenario.ts';
import type { Service } from '../service.ts';
import { inSite, type Site } from '../site.ts';

interface Region {
  name: string;
  /** The host's side of the link. */
  gateway: string;
  address: string;
  link: string;
}

const REGIONS: readonly Region[] = ['a', 'b'].map((letter, i) => ({
  name: `feedrank-${letter}`,
  gateway: `10.213.${i + 1}.1`,
  address: `10.213.${i + 1}.2`,
  link: `frank-${letter}`,
}));
const SHARE = 0.35;

export const cutOffRegion: Scenario = {
  id: 15,
  title: 'Two regions in network namespaces, one cut off',
  async run(context) {
    if (process.getuid?.() !== 0) throw new Impossible('network namespaces need root');
    const removed: (() => Promise<unknown>)[] = [];
    try {
      for (const region of REGIONS) removed.push(await addRegion(region));
      return await inSite(context, { listen: '0.0.0.0' }, (site) => measure(context, site));
    } finally {
      for (const remove of removed.reverse()) await remove().catch(() => {});
    }
  },
};

async function addRegion({ name, gateway, address, link }: Region): Promise<() => Promise<unknown>> {
  const ip = (...args: string[]) => runCommand('ip', args);
  await ip('netns', 'del', name).catch(() => {});
  await ip('netns', 'add', name).catch((error: Error) => {
    throw new Impossible(`no network namespaces: ${error.message}`);
  });
  const remove = async () => {
    await ip('link', 'del', link).catch(() => {});
    await ip('netns', 'del', name);
  };
  try {
    await ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'uplink', 'netns', name);
    await ip('addr', 'add', `${gateway}/24`, 'dev', link);
    await ip('link', 'set', link, 'up');
    await ip('-n', name, 'addr', 'add', `${address}/24`, 'dev', 'uplink');
    await ip('-n', name, 'link', 'set', 'uplink', 'up');
    await ip('-n', name, 'link', 'set', 'lo', 'up');
  } catch (error) {
    await remove().catch(() => {});
    throw new Impossible(`no virtual links: ${(error as Error).message}`);
  }
  return remove;
}

async function startRegion(context: ScenarioContext, site: Site, region: Region): Promise<Service> {
  const redis: RunningServer = await startRedis(join(context.cacheDir, 'servers'), {
    dump: site.world.redisDump,
    namespace: { name: region.name, address: region.address },
  });
  site.defer(() => redis.stop());
  return site.startService({
    host: region.address,
    port: await freePort(),
    namespace: region.name,
    env: {
      FEED_WORKERS: '1',
      // The region's address is not loopback, and nobody outside this machine has a route to it.
      AUTH_OPEN: 'true',
      REDIS_URL: redis.url,
      DATABASE_URL: `postgres://postgres@${region.gateway}:${site.postgres.proxy.port}/postgres`,
    },
  });
}

async function measure(context: ScenarioContext, site: Site) {
  const a = await startRegion(context, site, REGIONS[0]);
  const b = await startRegion(context, site, REGIONS[1]);
  const balancer = await balance(context, [a, b]);
  site.defer(() => balancer.stop());
  const load = await Load.open({ base: balancer.url, users: site.world.users });
  site.defer(() => load.close());
  const rate = await load.rate(context, SHARE);
  const cutMs = context.quick ? 8000 : 20_000;
  const run = load.run(rate, 3 + cutMs / 1000 + 15);
  await sleep(3000);
  const servedBefore =
    (await a.metrics()).sum('feedrank_http_request_seconds_count', 'route="/feed/:userId"') ?? 0;
  const cutAt = Date.now();
  await runCommand('ip', ['link', 'set', REGIONS[0].link, 'down']);
  await sleep(cutMs);
  const stillUp = b.alive && (await b.health()).ready;
  await runCommand('ip', ['link', 'set', REGIONS[0].link, 'up']);
  const returnedAt = Date.now();
  const readySeconds = await secondsUntil(async () => (await a.health()).ready, 20_000);
  const caughtUp = await secondsUntil(
    async () => ((await a.metrics()).sum('feedrank_changes_age_seconds') ?? 99) < 2,
    20_000,
  );
  const outcome = await run.outcome;
  const lastBad = outcome.seconds.findLastIndex(
    (second, i) =>
      outcome.startedAtMs + i * 1000 < returnedAt && failures(second) + second.sum('refused') > 0,
  );
  const failover = lastBad < 0 ? 0 : Math.max(0, (outcome.startedAtMs + (lastBad + 1) * 1000 - cutAt) / 1000);
  const cut = between(outcome, cutAt - 1000, returnedAt);
  const after = between(outcome, returnedAt - 1000, Number.POSITIVE_INFINITY);
  return [
    atLeast('before: feeds that the region served', servedBefore, 1),
    atMost('cut off: seconds with a failed request', failover, 5, { unit: 's' }),
    atMost(
      `cut off: failed, of ${cut.sum('offered')} (${causesOf(cut)})`,
      failures(cut),
      0.01 * cut.sum('offered'),
    ),
    holds('cut off: the other region serves', stillUp, stillUp ? 'yes' : 'no'),
    ...clean('return', after),
    equals('return: refused', after.sum('refused'), 0),
    atMost('return: ready again after', readySeconds, 10, { unit: 's', timed: true }),
    atMost('return: changes read to their end after', caughtUp, 10, { unit: 's', timed: true }),
  ];
}
