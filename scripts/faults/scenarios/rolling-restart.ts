// Fault 11: two replicas behind the balancer restarted one after the other, under load.
import { balance } from '../balanced.ts';
import { sleep } from '../clock.ts';
import { equals, holds } from '../criterion.ts';
import { between, clean, Load } from '../load.ts';
import type { Scenario } from '../scenario.ts';
import { inSite } from '../site.ts';

/** Of the knee of both: the one that is left must carry it. */
const SHARE = 0.35;
const SETTLE_MS = 4000;

export const rollingRestart: Scenario = {
  id: 11,
  title: 'Rolling restart of two replicas behind HAProxy',
  run: (context) =>
    inSite(context, {}, async (site) => {
      const env = { FEED_WORKERS: '1', DRAIN_DELAY_MS: '2000' };
      const a = await site.startService({ env });
      const b = await site.startService({ env });
      const balancer = await balance(context, [a, b]);
      site.defer(() => balancer.stop());
      const load = await Load.open({ base: balancer.url, users: site.world.users, eventShare: 0.05 });
      site.defer(() => load.close());
      const rate = await load.rate(context, SHARE);
      const rounds = context.quick ? 1 : 3;
      const run = load.run(rate, 600);
      await sleep(2000);
      let drainedCleanly = 0;
      for (let round = 0; round < rounds; round++) {
        for (const replica of [a, b]) {
          await replica.stop();
          if (!/the service ended|closing failed/.test(replica.log)) drainedCleanly++;
          await replica.start();
          await sleep(SETTLE_MS);
        }
      }
      load.pool.stop();
      const outcome = await run.outcome;
      const all = between(outcome, 0, Number.POSITIVE_INFINITY);
      return [
        ...clean(`${2 * rounds} restarts`, all),
        equals('refused', all.sum('refused'), 0),
        holds('every restart drained', drainedCleanly === 2 * rounds, `${drainedCleanly} of ${2 * rounds}`),
      ];
    }),
};
