// Fault 10: a dependency that fails every time must not be asked more than 1.2 times a request, counted at the proxy.
import { sleep } from '../clock.ts';
import { atMost, type Criterion, holds } from '../criterion.ts';
import { clean, Load } from '../load.ts';
import type { Scenario } from '../scenario.ts';
import { inSite, type Site } from '../site.ts';

const RETRY_BUDGET = 1.2;

export const failingDependency: Scenario = {
  id: 10,
  title: 'A dependency that always fails',
  run: (context) =>
    inSite(context, { measureRedis: redisCommands }, async (site) => {
      const service = await site.startService();
      const load = await Load.open({ base: service.base, users: site.world.users });
      site.defer(() => load.close());
      const rate = await load.rate(context, 0.5);
      const seconds = context.quick ? 3 : 20;
      const criteria: Criterion[] = [];
      for (const name of ['redis', 'postgres'] as const) {
        const { proxy } = site[name];
        const healthy = await attempts(site, name, () => load.run(rate, seconds).outcome);
        for (const mode of ['refuse', 'drop'] as const) {
          proxy.mode(mode);
          const failing = await attempts(site, name, () => load.run(rate, seconds).outcome);
          proxy.mode('pass');
          await sleep(3000);
          const limit = RETRY_BUDGET * Math.max(1, healthy.perRequest);
          criteria.push(
            atMost(
              `${name}, ${mode}: asked a request (${healthy.perRequest.toFixed(2)} while it works)`,
              failing.perRequest,
              limit,
            ),
            ...clean(`${name}, ${mode}`, failing.outcome.total),
          );
        }
      }
      criteria.push(holds('the process lives', service.alive, service.alive ? 'yes' : service.lastLine()));
      return criteria;
    }),
};

/** Commands to Redis, or chunks to PostgreSQL, and connections tried: whatever asks the server something. */
async function attempts(
  site: Site,
  name: 'redis' | 'postgres',
  work: () => ReturnType<Load['run']>['outcome'],
): Promise<{ perRequest: number; outcome: Awaited<ReturnType<Load['run']>['outcome']> }> {
  const before = site[name].proxy.counts();
  const outcome = await work();
  const after = site[name].proxy.counts();
  const asked = after.fromClients - before.fromClients + after.connections - before.connections;
  return { perRequest: asked / Math.max(1, outcome.total.sum('offered')), outcome };
}

/** RESP arrays that begin in a chunk: `*3\r\n$4\r\n…`. */
function redisCommands(chunk: Buffer): number {
  return chunk.toString('latin1').match(/(^|\r\n)\*\d+\r\n\$/g)?.length ?? 0;
}
