// Fault 14: an hour in small: steady load, index swaps and replayed events, and nothing may grow.
import { join } from 'node:path';
import { sleep } from '../clock.ts';
import { atLeast, atMost, equals } from '../criterion.ts';
import { publishCopy, removeOldCopies } from '../index-copies.ts';
import { between, clean, Load } from '../load.ts';
import type { Scenario } from '../scenario.ts';
import type { Service } from '../service.ts';
import { inSite } from '../site.ts';

const SHARE = 0.6;
const SWAP_EVERY_MS = 60_000;
const SAMPLE_EVERY_MS = 5000;
/** Memory over the second half may not grow by more than this share of it: noise of a garbage-collected heap. */
const GROWTH_SHARE = 0.05;
const LOOP_DELAY_MS = 20;

interface Sample {
  atMs: number;
  residentMiB: number;
  loopDelayMs: number;
}

export const soak: Scenario = {
  id: 14,
  title: 'Soak at 60 % with swaps and replayed events',
  run: (context) =>
    inSite(context, {}, async (site) => {
      const data = join(site.folder, 'served');
      const service = await site.startService({ data });
      const good = (await service.health()).index.generation;
      const load = await Load.open({ base: service.base, users: site.world.users, eventShare: 0.1 });
      site.defer(() => load.close());
      const rate = await load.rate(context, SHARE);
      const soakMs = context.soakMinutes * 60_000;
      const run = load.run(rate, soakMs / 1000);
      const samples: Sample[] = [];
      let swaps = 0;
      const beganAt = Date.now();
      let swapAt = beganAt + SWAP_EVERY_MS / 3;
      while (Date.now() - beganAt < soakMs - 2000) {
        await sleep(SAMPLE_EVERY_MS);
        const sample = await sampleOf(service);
        if (sample) samples.push(sample);
        if (Date.now() < swapAt) continue;
        await publishCopy(join(data, 'index'), good);
        await removeOldCopies(join(data, 'index'), good);
        swaps++;
        swapAt += SWAP_EVERY_MS;
        if (swaps % 5 === 0) context.note(`${swaps} swaps, ${samples.at(-1)?.residentMiB.toFixed(0)} MiB`);
      }
      const all = between(await run.outcome, 0, Number.POSITIVE_INFINITY);
      const later = samples.slice(Math.floor(samples.length / 2));
      const resident =
        later.reduce((sum, { residentMiB }) => sum + residentMiB, 0) / Math.max(1, later.length);
      const growth = slope(later) * ((later.at(-1)?.atMs ?? 0) - (later[0]?.atMs ?? 0));
      const delays = samples.map(({ loopDelayMs }) => loopDelayMs).sort((x, y) => x - y);
      const { generation } = (await service.health()).index;
      return [
        ...clean(`${context.soakMinutes} minutes at ${rate.toFixed(0)}/s`, all),
        equals('refused', all.sum('refused'), 0),
        atMost(
          `memory’s growth over the second half, of ${resident.toFixed(0)} MiB (${(growth / (context.soakMinutes / 2)).toFixed(1)} MiB a minute)`,
          growth,
          GROWTH_SHARE * resident,
          { unit: 'MiB', timed: true },
        ),
        atMost(
          'event loop’s delay, p99, median of the samples',
          delays[Math.floor(delays.length / 2)] ?? null,
          LOOP_DELAY_MS,
          {
            unit: 'ms',
            timed: true,
          },
        ),
        atLeast('swaps', swaps, Math.floor(context.soakMinutes)),
        equals('the last swap serves', Number(generation !== good), 1),
      ];
    }),
};

async function sampleOf(service: Service): Promise<Sample | null> {
  const metrics = await service.metrics().catch(() => null);
  if (!metrics) return null;
  return {
    atMs: Date.now(),
    residentMiB: (metrics.sum('process_resident_memory_bytes') ?? 0) / 2 ** 20,
    loopDelayMs: (metrics.sum('nodejs_eventloop_lag_p99_seconds') ?? 0) * 1000,
  };
}

/** MiB a millisecond, by least squares. */
function slope(samples: readonly Sample[]): number {
  const n = samples.length;
  if (n < 2) return 0;
  const meanAt = samples.reduce((sum, { atMs }) => sum + atMs, 0) / n;
  const mean = samples.reduce((sum, { residentMiB }) => sum + residentMiB, 0) / n;
  let products = 0;
  let squares = 0;
  for (const { atMs, residentMiB } of samples) {
    products += (atMs - meanAt) * (residentMiB - mean);
    squares += (atMs - meanAt) ** 2;
  }
  return products / squares;
}
