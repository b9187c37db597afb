// Fault 2: PostgreSQL killed, and every table locked so that each connection hangs.
import pg from 'pg';
import { sleep } from '../clock.ts';
import { atMost, type Criterion, equals, holds } from '../criterion.ts';
import { IngestClient, storedIds } from '../ingest-client.ts';
import { between, clean, Load, type Stretch, within } from '../load.ts';
import type { Scenario, ScenarioContext } from '../scenario.ts';
import type { Service } from '../service.ts';
import { inSite, type Site } from '../site.ts';

interface Fault {
  name: string;
  begin(site: Site): Promise<() => Promise<void>>;
}

const FAULTS: readonly Fault[] = [
  {
    name: 'killed',
    async begin(site) {
      await site.postgres.kill();
      return () => site.postgres.start();
    },
  },
  {
    name: 'locked',
    async begin(site) {
      const client = new pg.Client({ connectionString: site.postgres.directUrl });
      client.on('error', () => {});
      await client.connect();
      const rows = await client.query<{ name: string }>(
        `select format('%I', tablename) as name from pg_tables where schemaname = 'public'`,
      );
      await client.query('begin');
      const tables = rows.rows.map(({ name }) => name).join(', ');
      await client.query(`lock table ${tables} in access exclusive mode`);
      return async () => {
        await client.query('rollback');
        await client.end();
      };
    },
  },
];

const BATCHES_A_SECOND = 4;

export const postgresFaults: Scenario = {
  id: 2,
  title: 'PostgreSQL killed, all its tables locked',
  run: (context) =>
    inSite(context, {}, async (site) => {
      const service = await site.startService({ env: { INGEST_DEADLINE_MS: '2000' } });
      const load = await Load.open({ base: service.base, users: site.world.users });
      site.defer(() => load.close());
      const rate = await load.rate(context);
      const criteria: Criterion[] = [];
      for (const fault of FAULTS) {
        criteria.push(...(await measure(context, { site, service, load, rate, fault })));
      }
      return criteria;
    }),
};

/**
 * The fault comes several times, with quiet stretches before, between and after: what a p99 is compared with was
 * measured in the same minutes, and of as many answers.
 */
function timing(quick: boolean) {
  return quick
    ? { rounds: 1, quietMs: 2000, faultMs: 4000, settleMs: 4000 }
    : { rounds: 4, quietMs: 12_000, faultMs: 15_000, settleMs: 6000 };
}

async function measure(
  { quick }: ScenarioContext,
  {
    site,
    service,
    load,
    rate,
    fault,
  }: { site: Site; service: Service; load: Load; rate: number; fault: Fault },
): Promise<Criterion[]> {
  const { rounds, quietMs, faultMs, settleMs } = timing(quick);
  const client = new IngestClient({
    base: service.base,
    users: site.world.users,
    posts: site.world.posts,
    batchesPerSecond: BATCHES_A_SECOND,
  });
  client.start();
  const run = load.run(rate, (rounds * (quietMs + faultMs + settleMs) + quietMs) / 1000);
  const quiet: Stretch[] = [await lasting(quietMs)];
  const ackedBefore = client.acked.size;
  const faults: Stretch[] = [];
  for (let round = 0; round < rounds; round++) {
    const fromMs = Date.now();
    const end = await fault.begin(site);
    await sleep(fromMs + faultMs - Date.now());
    faults.push({ fromMs, toMs: Date.now() });
    await end();
    await sleep(settleMs);
    quiet.push(await lasting(quietMs));
  }
  const outcome = await run.outcome;
  const unsettled = await client.settle(20_000);
  const stored = await storedIds(client, (text, values) => site.postgres.query(text, values));
  const lost = [...client.acked].filter((id) => !stored.ids.has(id)).length;
  const around = within(outcome, quiet).histograms.feed;
  const during = within(outcome, faults).histograms.feed;
  const base = around.at(99) ?? 0;
  const refused = Object.entries(client.answers)
    .filter(([answer]) => answer !== '200')
    .map(([answer, count]) => `${answer}: ${count}`);
  return [
    ...clean(`${fault.name}: feeds`, between(outcome, faults[0].fromMs - 1000, Number.POSITIVE_INFINITY)),
    atMost(
      `${fault.name} ${rounds} times: feeds’ p99 of ${during.count}, at most a tenth above the ${base.toFixed(1)} ms of ${around.count} around it`,
      during.at(99),
      1.1 * base,
      { unit: 'ms', timed: true },
    ),
    holds(
      `${fault.name}: writes are refused with a status that says so and Retry-After`,
      client.improper === 0 && refused.length > 0,
      `${refused.join(', ') || 'none was refused'}; ${client.improper} improper`,
    ),
    equals(`${fault.name}: acknowledged and lost, of ${client.acked.size}`, lost, 0),
    equals(`${fault.name}: stored twice`, stored.rows - stored.ids.size, 0),
    holds(
      `${fault.name}: writes go on afterwards`,
      unsettled === 0 && client.acked.size > ackedBefore,
      `${client.acked.size} acknowledged in all, ${unsettled} batches not`,
    ),
  ];
}

async function lasting(ms: number): Promise<Stretch> {
  const fromMs = Date.now();
  await sleep(ms);
  return { fromMs, toMs: Date.now() };
}
