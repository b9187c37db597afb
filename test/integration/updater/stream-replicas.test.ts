// Two replicas that follow the change stream of an updater: nothing lost and nothing counted twice, whatever is taken
// away meanwhile: the updater, its replication slot, the stream.
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { composeService, type Service } from '../../../src/compose.ts';
import { readConfig } from '../../../src/config.ts';
import { AUTHOR_FIELD, AUTHOR_WORDS, FIELD, RECORD_WORDS } from '../../../src/post-record.ts';
import { DATABASE_URL, REDIS_URL, soon, titleOf, unique } from '../../setup/test-servers.ts';
import { modelTower } from './model-tower.ts';
import { Traffic } from './traffic.ts';
import { type UpdaterProcess, UpdaterWorld } from './updater-world.ts';

const available = DATABASE_URL !== undefined && REDIS_URL !== undefined;
const title = titleOf(
  titleOf('replicas on the change stream', DATABASE_URL, 'TEST_DATABASE'),
  REDIS_URL,
  'TEST_REDIS',
);

describe.skipIf(!available)(title, { timeout: 90_000 }, () => {
  let world: UpdaterWorld;
  let traffic: Traffic;
  let a: Service;
  let b: Service;
  let leader: UpdaterProcess;

  const start = (name: string) =>
    composeService(
      readConfig({
        DATA_DIR: join(world.dataDir, name),
        DATABASE_URL: world.databaseUrl,
        REDIS_URL,
        REPLICATION_SLOT: world.slot,
        FEED_WORKERS: '1',
        CHANGES_POLL_MS: '20',
        FEED_DEADLINE_MS: '10000',
        CURSOR_SECRET: 'the same on both replicas',
        LOG_LEVEL: 'silent',
      }),
      pino({ level: 'silent' }),
    );
  const source = (service: Service) => service.generations.current.follower.source;

  async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    for (let i = 0; i < 800; i++) {
      if (await condition()) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`not within 20 s: ${what}`);
  }

  const onStream = () =>
    until('both follow the stream', () => source(a) === 'stream' && source(b) === 'stream');

  /** Totals that do not depend on the order of events, and followers, of every post in a replica's memory. */
  function counters(service: Service): Record<string, number[]> {
    const { table } = service.generations.current;
    const { f32, u32 } = table.records;
    return Object.fromEntries(
      traffic.posts.map((id) => {
        const at = table.rowOfId(id) * RECORD_WORDS;
        const author = u32[at + FIELD.authorSlot] * AUTHOR_WORDS;
        const fields = [FIELD.impressions, FIELD.clicks, FIELD.replies, FIELD.shares, FIELD.negatives];
        return [
          id,
          [...fields.map((field) => f32[at + field]), table.authors[author + AUTHOR_FIELD.followers]],
        ];
      }),
    );
  }

  async function stored(): Promise<Record<string, number[]>> {
    const types = ['impression', 'click', 'reply', 'share', 'negative'];
    const rows = await world.sql.client.query<{ post_id: string; type: string; n: number }>(
      'test',
      {
        name: '',
        text: `select post_id, case when type in ('hide', 'not_interested', 'report') then 'negative' else type end
          as type, count(*) as n from events group by 1, 2`,
      },
      [],
      soon(),
    );
    const follows = await world.sql.client.query<{ id: string; n: number }>(
      'test',
      {
        name: '',
        text: `select p.id, (select count(*) from edges e where e.kind = 'follow' and e.target = p.author_id
          and removed_at is null) as n from posts p`,
      },
      [],
      soon(),
    );
    const count = (id: string, type: string) =>
      rows.find((row) => row.post_id === id && row.type === type)?.n ?? 0;
    return Object.fromEntries(
      traffic.posts.map((id) => [
        id,
        [...types.map((type) => count(id, type)), follows.find((row) => row.id === id)?.n ?? 0],
      ]),
    );
  }

  async function expectEverythingOnce(): Promise<void> {
    const expected = await stored();
    for (const service of [a, b]) {
      await until('the replica has read everything', () =>
        Object.keys(expected).every((id) => counters(service)[id].join() === expected[id].join()),
      ).catch(() => {});
      expect(counters(service)).toEqual(expected);
    }
  }

  /** Rounds of writes while `work` runs. */
  async function during(work: () => Promise<void>): Promise<void> {
    let flowing = true;
    const flow = (async () => {
      while (flowing) {
        await traffic.round();
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    })();
    await work().finally(() => {
      flowing = false;
    });
    await flow;
  }

  beforeAll(async () => {
    world = await UpdaterWorld.open();
    traffic = new Traffic(world.sql, unique('stream'));
    await traffic.begin();
    [a, b] = await Promise.all([start('a'), start('b')]);
  }, 60_000);
  afterAll(async () => {
    await a?.close();
    await b?.close();
    await world?.close();
  });

  it('read SQL while no updater leads, and say so', async () => {
    await until('the posts are there', () => b.generations.current.table.rows >= traffic.posts.length);
    const ready = (await a.app.inject({ method: 'GET', url: '/health/ready' })).json();
    expect(ready.stores.changes).toBe('polled, no updater leads');
  });

  it('go over to the stream under traffic, and count every change once', async () => {
    await during(async () => {
      leader = await world.start();
      await onStream();
      await new Promise((resolve) => setTimeout(resolve, 500));
    });
    await expectEverythingOnce();
    const ready = (await a.app.inject({ method: 'GET', url: '/health/ready' })).json();
    expect(ready.stores.changes).toBe('stream');
    expect(traffic.stored).toBeGreaterThan(100);
  });

  it('go back to SQL when the stream was emptied or trimmed, and come again', async () => {
    await during(async () => {
      await world.redis.unlink(world.keys.stream);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await onStream();
      await world.redis.xtrim(world.keys.stream, 'MAXLEN', 0);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await onStream();
    });
    await expectEverythingOnce();
  });

  it('equal the source after the slot was dropped in the middle; the updater reads again what it missed', async () => {
    await during(async () => {
      await world.dropSlot();
      await new Promise((resolve) => setTimeout(resolve, 500));
    });
    await world.settled();
    await onStream();
    await expectEverythingOnce();
    await world.expectStatesOfRebuild(traffic.users, await modelTower());
    const metrics = await (await fetch(`${leader.url}/metrics`)).text();
    expect(metrics).toMatch(/^feedrank_updater_reseeds_total 1$/m);
    expect(metrics).toMatch(/^feedrank_updater_leads 1$/m);
  });

  it('a standby leads when the leader is killed, and nothing is lost', async () => {
    const standby = await world.start();
    const health = async () =>
      (await fetch(`${standby.url}/health/ready`)).json() as Promise<{ leads: boolean }>;
    expect((await health()).leads).toBe(false);
    await during(async () => {
      await leader.kill('SIGKILL');
      await standby.leads;
      await new Promise((resolve) => setTimeout(resolve, 300));
    });
    await world.settled();
    await expectEverythingOnce();
    await world.expectStatesOfRebuild(traffic.users, await modelTower());
  });

  it('read SQL again when no updater is left, and lose nothing', async () => {
    await during(async () => {
      await world.stopUpdaters();
      await until('both read SQL', () => source(a) === 'sql' && source(b) === 'sql');
    });
    await expectEverythingOnce();
  });
});
