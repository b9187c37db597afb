// Servers that cannot or will not replicate, and replicas that lag: nothing is lost, only later.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { composeService, type Service } from '../../../src/compose.ts';
import { readConfig } from '../../../src/config.ts';
import { openSqlStore, type SqlStore } from '../../../src/features/store/postgres-store.ts';
import { openStateStore } from '../../../src/features/store/state-store.ts';
import { setUpReplication, slotState } from '../../../src/features/stream/replication-slot.ts';
import type { RunningServer } from '../../setup/child-process.ts';
import { startPostgres } from '../../setup/postgres-server.ts';
import { startStandby } from '../../setup/postgres-standby.ts';
import {
  collect,
  DATABASE_URL,
  freshFolder,
  REDIS_URL,
  soon,
  titleOf,
  unique,
} from '../../setup/test-servers.ts';
import { modelTower } from '../updater/model-tower.ts';
import { Traffic } from '../updater/traffic.ts';
import { UpdaterWorld } from '../updater/updater-world.ts';

const CACHE_DIR = fileURLToPath(new URL('../../../.cache/servers', import.meta.url));
/** A server that the test run found can be started once more. */
const skipped = DATABASE_URL === undefined || REDIS_URL === undefined;
const title = (text: string) =>
  titleOf(titleOf(text, DATABASE_URL, 'TEST_DATABASE'), REDIS_URL, 'TEST_REDIS');

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`not within 15 s: ${what}`);
}

function sqlOf(store: SqlStore): (text: string) => Promise<Record<string, unknown>[]> {
  return (text) => store.client.query('test', { name: '', text }, [], soon());
}

describe.skipIf(skipped)(title('a server without logical replication'), { timeout: 60_000 }, () => {
  const folder = freshFolder();
  let server: RunningServer;
  let replicas: Service[] = [];

  beforeAll(async () => {
    server = await startPostgres(CACHE_DIR, { settings: ['wal_level=replica'] });
    replicas = await Promise.all(
      ['a', 'b'].map((name) =>
        composeService(
          readConfig({
            DATA_DIR: join(folder.path, name),
            DATABASE_URL: server.url,
            REDIS_URL,
            REPLICATION_SLOT: unique('none').replaceAll('-', '_'),
            FEED_WORKERS: '1',
            CHANGES_POLL_MS: '20',
            CURSOR_SECRET: 'the same on both replicas',
            LOG_LEVEL: 'silent',
          }),
          pino({ level: 'silent' }),
        ),
      ),
    );
  }, 60_000);
  afterAll(async () => {
    await Promise.all(replicas.map((service) => service.close()));
    await server?.stop();
    folder.remove();
  });

  it('is named in the report of setup-db, with the setting that is missing', async () => {
    const store = await openSqlStore({ databaseUrl: server.url, dataDir: '' });
    const report = await setUpReplication(store.client, 'feedrank_none', 512, soon());
    expect(report).toMatchObject({ made: [], unavailable: expect.stringContaining('wal_level is replica') });
    await store.close();
  });

  it('serves replicas from SQL: posts, counters and users cross over, a bulk of events a moment later', async () => {
    const [a, b] = replicas;
    const prefix = unique('sql');
    const userId = `${prefix}-reader`;
    const post = (url: string, payload: object) => a.app.inject({ method: 'POST', url, payload });
    const posts = Array.from({ length: 30 }, (_, i) => ({
      id: `${prefix}-p${i}`,
      authorId: `${prefix}-author`,
      createdAt: Date.now() - i * 1000,
      title: `a post about kites, number ${i}`,
    }));
    expect((await post('/posts', { posts })).statusCode).toBe(200);
    const events = posts.map(({ id: postId }, i) => ({
      userId,
      postId,
      type: 'like',
      at: Date.now() - i * 1000,
    }));
    const answer = (await post('/events', { events })).json();
    // More than are applied before an answer: the feed of changes brings them.
    expect(answer).toMatchObject({ stored: 30, degraded: ['apply_delayed'] });
    const [first] = posts;
    const likes = (service: Service) =>
      service.app
        .inject({ method: 'GET', url: `/posts/${first.id}` })
        .then((response) => (response.statusCode === 200 ? response.json() : null));
    await until('the post is on the other replica', async () => (await likes(b)) !== null);
    const { table } = b.generations.current;
    await until('the post can be found there', () => table.rowOfId(first.id) >= 0);
    const state = await openStateStore({ redis: { url: REDIS_URL as string }, dataDir: '' });
    const tower = await modelTower();
    await until('the events are in the user’s history, and made a vector', async () => {
      const user = await state.getState(userId, tower, soon());
      return user?.history.length === 30 && user.embedding !== null;
    });
    await state.close();
    const ready = (await b.app.inject({ method: 'GET', url: '/health/ready' })).json();
    expect(ready.stores.changes).toBe('polled, no updater leads');
  });
});

describe.skipIf(skipped)(title('a slot'), { timeout: 90_000 }, () => {
  let server: RunningServer;
  let world: UpdaterWorld;
  let traffic: Traffic;

  beforeAll(async () => {
    const settings = ['max_slot_wal_keep_size=1MB', 'max_wal_size=32MB', 'max_replication_slots=1'];
    server = await startPostgres(CACHE_DIR, { settings });
    world = await UpdaterWorld.open({ url: server.url, drop: async () => {} });
    traffic = new Traffic(world.sql, unique('slot'));
    await traffic.begin();
  }, 60_000);
  afterAll(async () => {
    await world?.close();
    await server?.stop();
  });

  it('that finds no place among the server’s is not made, and the reason is told', async () => {
    const report = await setUpReplication(world.sql.client, 'feedrank_second', 512, soon());
    expect(report.unavailable).toMatch(/replication slots are in use/);
  });

  it('whose log was cut off while no updater ran is made anew: users are as a rebuild has them', async () => {
    const first = await world.start();
    for (let i = 0; i < 30; i++) await traffic.round();
    await world.settled();
    await first.kill('SIGKILL');
    for (let i = 0; i < 30; i++) await traffic.round();
    const sql = sqlOf(world.sql);
    // The log grows by a segment at each switch; a checkpoint takes away what is over the cap.
    for (let i = 0; i < 5; i++) {
      await sql(`select pg_switch_wal()`);
      await traffic.round();
    }
    await sql('checkpoint');
    expect((await slotState(world.sql.client, world.slot, soon())).status).toBe('lost');
    const second = await world.start();
    for (let i = 0; i < 20; i++) await traffic.round();
    await world.settled();
    expect((await slotState(world.sql.client, world.slot, soon())).status).toBe('reserved');
    await world.expectStatesOfRebuild(traffic.users, await modelTower());
    const metrics = await (await fetch(`${second.url}/metrics`)).text();
    expect(metrics).toMatch(/^feedrank_updater_reseeds_total 1$/m);
  });
});

describe.skipIf(skipped)(title('a streaming read replica'), { timeout: 60_000 }, () => {
  let primary: RunningServer;
  let standby: RunningServer;
  let store: SqlStore;
  const post = (id: string, title: string) => ({ id, authorId: 'a', createdAt: 1, title });
  const titlesOf = async (ids: string[]) =>
    (await store.getPosts(ids, soon())).map((found) => found?.title ?? null);

  beforeAll(async () => {
    primary = await startPostgres(CACHE_DIR);
    const schema = await openSqlStore({ databaseUrl: primary.url, dataDir: '' });
    await schema.close();
    standby = await startStandby(CACHE_DIR, primary.url, ['recovery_min_apply_delay=1000ms']);
    store = await openSqlStore({ databaseUrl: primary.url, readUrl: standby.url, dataDir: '' });
  }, 60_000);
  afterAll(async () => {
    await store?.close();
    await standby?.stop();
    await primary?.stop();
  });

  it('that lags hides no post: what it does not have yet comes from the primary', async () => {
    await store.putPosts([post('one', 'first'), post('two', 'second')], soon());
    expect(await titlesOf(['one', 'none', 'two'])).toEqual(['first', null, 'second']);
    expect(await collect(store.scanPosts(10))).toEqual([]);
    await until('the scan has them', async () => (await collect(store.scanPosts(10))).length === 2);
  });

  it('that lags gives older contents until it has the change', async () => {
    await store.putPosts([post('one', 'changed')], soon());
    expect(await titlesOf(['one'])).toEqual(['first']);
    await until('the change is there', async () => (await titlesOf(['one']))[0] === 'changed');
  });

  it('is done without when it ends', async () => {
    await standby.stop();
    expect(await titlesOf(['one', 'two'])).toEqual(['changed', 'second']);
    await store.putPosts([post('three', 'third')], soon());
    expect(await titlesOf(['three'])).toEqual(['third']);
  });
});
