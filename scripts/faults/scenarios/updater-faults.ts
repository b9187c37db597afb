// Fault 12: the updater killed, cut off from Redis, its slot dropped and its log thrown away, while writes come in.
import { join } from 'node:path';
import { runCommand } from '../../../test/setup/child-process.ts';
import { startTcpProxy } from '../../../test/setup/tcp-proxy.ts';
import { secondsUntil, sleep } from '../clock.ts';
import { atLeast, atMost, type Criterion, equals, holds } from '../criterion.ts';
import { REPOSITORY } from '../fault-world.ts';
import { IngestClient } from '../ingest-client.ts';
import { compareWithSource } from '../same-as-source.ts';
import type { Scenario } from '../scenario.ts';
import type { Service } from '../service.ts';
import { inSite, type Site } from '../site.ts';

/** Log that the slot may keep, and what the server has besides: its own least and a segment under way. */
const SLOT_MB = 64;
const LOG_MB = SLOT_MB + 64 + 32;
const ROWS_OF_LOG = 200_000;
const LATE_MS = 2000;

export const updaterFaults: Scenario = {
  id: 12,
  title: 'Updater killed, cut off, its slot dropped, its log over the cap',
  run: (context) =>
    inSite(context, { postgresSettings: ['max_wal_size=64MB', 'min_wal_size=32MB'] }, async (site) => {
      await runCommand(process.execPath, [
        join(REPOSITORY, 'scripts', 'setup-db.ts'),
        ...['--database-url', site.postgres.directUrl, '--max-wal-mb', String(SLOT_MB)],
      ]);
      const service = await site.startService();
      const proxy = await startTcpProxy({ host: '127.0.0.1', port: site.redis.port });
      site.defer(() => proxy.close());
      const updater = await site.startService({
        script: 'updater.ts',
        index: false,
        env: {
          REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
          DATABASE_URL: site.postgres.directUrl,
          CHANGES_LAG_ALERT_MS: String(LATE_MS),
        },
      });
      const client = new IngestClient({
        base: service.base,
        users: site.world.users,
        posts: site.world.posts,
        batchesPerSecond: 10,
      });
      client.start();
      const pauseMs = context.quick ? 1500 : 8000;
      const criteria: Criterion[] = [
        atMost('changes come by the stream after', await secondsUntil(() => streams(service), 20_000), 15, {
          unit: 's',
          timed: true,
        }),
      ];

      await sleep(pauseMs);
      await updater.kill();
      const noticed = await secondsUntil(async () => !(await streams(service)), 30_000);
      await sleep(pauseMs);
      await updater.start();
      criteria.push(
        atMost('killed: the replica reads SQL itself after', noticed, 15, { unit: 's', timed: true }),
        ...(await settled('killed', { site, service, updater, client })),
      );

      client.start();
      proxy.mode('silent');
      const alerted = await secondsUntil(
        async () => (await updater.metrics()).sum('feedrank_updater_late') === 1,
        20_000,
      );
      proxy.mode('refuse');
      proxy.mode('pass');
      criteria.push(
        atMost('cut off from Redis: lag alert after', alerted, LATE_MS / 1000 + 3, {
          unit: 's',
          timed: true,
        }),
        holds('cut off from Redis: the alert came', alerted !== null, alerted === null ? 'no' : 'yes'),
        ...(await settled('cut off from Redis', { site, service, updater, client })),
      );

      client.start();
      await sleep(pauseMs);
      await updater.kill();
      await dropSlot(site);
      await sleep(pauseMs);
      await updater.start();
      criteria.push(...(await settled('slot dropped', { site, service, updater, client })));
      criteria.push(atLeast('slot dropped: read again from SQL', await reseeds(updater), 1));

      client.start();
      await sleep(pauseMs);
      await updater.kill();
      const keptMb = await overflowLog(site);
      await updater.start();
      criteria.push(
        atMost('log over the cap: kept by the server', keptMb, LOG_MB, { unit: 'MB' }),
        ...(await settled('log over the cap', { site, service, updater, client })),
        atLeast('log over the cap: read again from SQL', await reseeds(updater), 1),
      );
      return criteria;
    }),
};

async function streams(service: Service): Promise<boolean> {
  return (await service.health()).stores.changes === 'stream';
}

async function reseeds(updater: Service): Promise<number> {
  return (await updater.metrics()).sum('feedrank_updater_reseeds_total') ?? 0;
}

/** Everything acknowledged, then applied: the replica and Redis must hold what PostgreSQL has. */
async function settled(
  name: string,
  {
    site,
    service,
    updater,
    client,
  }: { site: Site; service: Service; updater: Service; client: IngestClient },
): Promise<Criterion[]> {
  const left = await client.settle(20_000);
  const writtenAt = Date.now();
  const caughtUp = await secondsUntil(async () => {
    const lag = (await updater.metrics()).sum('feedrank_updater_lag_seconds') ?? Number.POSITIVE_INFINITY;
    const leads = (await updater.metrics()).sum('feedrank_updater_leads');
    return leads === 1 && Date.now() - lag * 1000 > writtenAt && (await streams(service));
  }, 40_000);
  const { posts, usersCompared, usersDifferent } = await compareWithSource(site, service);
  return [
    equals(`${name}: batches not acknowledged`, left, 0),
    atMost(`${name}: all applied after`, caughtUp, 30, { unit: 's', timed: true }),
    holds(
      `${name}: as many posts as the source`,
      posts.replica === posts.source,
      `${posts.replica} of ${posts.source}`,
    ),
    holds(
      `${name}: users’ histories as in the source`,
      usersDifferent.length === 0,
      `${usersDifferent.length} of ${usersCompared} differ${usersDifferent.length > 0 ? `: ${usersDifferent.slice(0, 5).join(', ')}` : ''}`,
    ),
  ];
}

async function dropSlot(site: Site): Promise<void> {
  await secondsUntil(async () => {
    const [{ active }] = await site.postgres.query<{ active: boolean }>(
      'select bool_or(active) as active from pg_replication_slots',
    );
    return !active;
  }, 20_000);
  await site.postgres.query('select pg_drop_replication_slot(slot_name) from pg_replication_slots');
}

/** Writes more log than a slot may keep; the MB that the server has afterwards. */
async function overflowLog(site: Site): Promise<number> {
  await site.postgres.query('create table log_filler (content text)');
  for (let i = 0; i < 5; i++) {
    const text = `insert into log_filler select repeat(md5(n::text), 20) from generate_series(1, ${ROWS_OF_LOG / 5}) n`;
    await site.postgres.query(text);
    await site.postgres.query('checkpoint');
  }
  await site.postgres.query('drop table log_filler');
  await site.postgres.query('checkpoint');
  const [{ bytes }] = await site.postgres.query<{ bytes: string }>(
    'select sum(size) as bytes from pg_ls_waldir()',
  );
  return Number(bytes) / 2 ** 20;
}
