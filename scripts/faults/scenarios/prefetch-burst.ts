// Fault 9: clients prefetch twelve times as many feeds as readers ask for.
import { sleep } from '../clock.ts';
import { atLeast, atMost, type Criterion, equals, holds } from '../criterion.ts';
import { between, causesOf, failures, Load, serverErrors } from '../load.ts';
import type { Scenario } from '../scenario.ts';
import { inSite } from '../site.ts';

const BURST = 12;
/** Readers’ share of the knee. */
const SHARE = 0.5;
const SUCCESS_PERCENT = 99.4;

export const prefetchBurst: Scenario = {
  id: 9,
  title: 'A 12× burst of prefetches',
  run: (context) =>
    inSite(context, {}, async (site) => {
      const service = await site.startService({ env: { LOG_LEVEL: 'warn' } });
      const base = { base: service.base, users: site.world.users };
      const readers = await Load.open(base);
      site.defer(() => readers.close());
      const prefetchers = await Load.open({ ...base, seed: 2, feedQuery: '&priority=prefetch' });
      site.defer(() => prefetchers.close());
      const rate = await readers.rate(context, SHARE);
      const burstSeconds = context.quick ? 6 : 40;
      const run = readers.run(rate, burstSeconds + 10);
      await sleep(4000);
      const beganAt = Date.now();
      const burst = await prefetchers.run(BURST * rate, burstSeconds).outcome;
      const outcome = await run.outcome;
      const during = between(outcome, beganAt, beganAt + burstSeconds * 1000);
      const offered = during.sum('offered');
      const success = (100 * during.sum('good', 'degraded', 'short')) / Math.max(1, offered);
      const { total } = burst;
      const criteria: Criterion[] = [
        atLeast(`readers answered in time, of ${offered} (${causesOf(during)})`, success, SUCCESS_PERCENT, {
          unit: '%',
          timed: true,
        }),
        atMost('readers’ p99', during.histograms.feed.at(99), 310, { unit: 'ms', timed: true }),
        equals('readers: answers of 5xx', serverErrors(during), 0, { timed: true }),
        {
          ...equals('prefetches that failed and were not refused', failures(total), 0, { timed: true }),
          value: `${failures(total)} (${causesOf(total)})`,
        },
        holds(
          'prefetches are served or refused with Retry-After',
          total.sum('good', 'degraded', 'short', 'refused') > 0,
          `${total.sum('good', 'degraded', 'short')} served, ${total.sum('refused')} refused of ${total.sum('offered')}`,
        ),
      ];
      return criteria;
    }),
};
