// The schema on a real PostgreSQL: migrated under traffic, partitioned by arrival, trimmed by retention, and with post
// contents and scans read from a replica.
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngagementEvent } from '../../../src/contracts.ts';
import { keepPartitions } from '../../../src/features/store/postgres-partitions.ts';
import { openSqlStore, type SqlStore } from '../../../src/features/store/postgres-store.ts';
import { EDGES_LIMIT } from '../../../src/features/store/postgres-users.ts';
import { MIGRATIONS } from '../../../src/features/store/sql-schema.ts';
import { setUpReplication, slotState } from '../../../src/features/stream/replication-slot.ts';
import { collect, DATABASE_URL, freshDatabase, soon, titleOf, unique } from '../../setup/test-servers.ts';

const skipped = !DATABASE_URL;
const title = (name: string) => titleOf(name, DATABASE_URL, 'TEST_DATABASE');
const DAY_MS = 86_400_000;

function event(userId: string, id: string, at = 1000): EngagementEvent {
  return { id, userId, postId: `post of ${id}`, type: 'click', at };
}

describe.skipIf(skipped)(title('migrations'), () => {
  it('run forward while events of the first schema are being written, and keep every one of them', async () => {
    const database = await freshDatabase();
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const [first] = MIGRATIONS;
    if (!('sql' in first.step)) throw new Error('the first step is SQL');
    await client.query(first.step.sql);
    await client.query(`create table schema_migrations (
      version integer primary key, name text not null, applied_at timestamptz not null default now())`);
    await client.query('insert into schema_migrations (version, name) values (1, $1)', [first.name]);
    const insert = `insert into events (user_id, id, post_id, type, at) values ('old', $1, 'p', 'click', 1000)`;
    for (let i = 0; i < 200; i++) await client.query(insert, [`e${i}`]);
    let written = 200;
    let migrating = true;
    const traffic = (async () => {
      while (migrating) await client.query(insert, [`e${written++}`]);
    })();
    // Two processes that start at once.
    const stores = await Promise.all(
      [1, 2].map(() => openSqlStore({ databaseUrl: database.url, dataDir: '' })),
    );
    migrating = false;
    await traffic;
    const applied = stores.flatMap((store) => store.migration.applied.map((step) => step.version));
    expect(applied.sort()).toEqual(MIGRATIONS.slice(1).map((step) => step.version));
    const [store] = stores;
    expect(await collect(store.scanEvents(1000))).toHaveLength(written);
    expect(await store.appendEvents([event('old', 'e7'), event('old', 'new')], soon())).toEqual([
      false,
      true,
    ]);
    await client.end();
    await Promise.all(stores.map((one) => one.close()));
    await database.drop();
  }, 60_000);
});

describe.skipIf(skipped)(title('events in partitions'), () => {
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let store: SqlStore;
  const sql = (text: string, values: unknown[] = []) =>
    store.client.query<Record<string, unknown>>('test', { name: '', text }, values, soon());

  beforeAll(async () => {
    database = await freshDatabase();
    store = await openSqlStore({ databaseUrl: database.url, dataDir: '' });
  });
  afterAll(async () => {
    await store?.close();
    await database?.drop();
  });

  it('have a place ahead of time, whatever time an event tells', async () => {
    const userId = unique('user');
    const times = [0, Date.UTC(1970, 1), Date.now() - 400 * DAY_MS, Date.now(), Date.UTC(2099, 1)];
    const events = times.map((at, i) => event(userId, `e${i}`, at));
    expect((await store.appendEvents(events, soon())).every(Boolean)).toBe(true);
    expect((await store.recentEvents(userId, 10, soon())).map((one) => one.at)).toEqual(times.toReversed());
    const [{ last }] = await sql(`select max(substring(pg_get_expr(relpartbound, oid) from 'TO \\(''([^'']+)')
      ::timestamptz) as last from pg_class where relispartition and relname like 'events%' and relkind = 'r'`);
    expect((last as Date).getTime()).toBeGreaterThan(Date.now() + 60 * DAY_MS);
  });

  it('know an id that arrived in another month', async () => {
    const userId = unique('user');
    await store.appendEvents([event(userId, 'e1')], soon());
    await sql(`update events set stored_at = now() + interval '3 months' where user_id = $1`, [userId]);
    expect(await store.appendEvents([event(userId, 'e1', 5000), event(userId, 'e2')], soon())).toEqual([
      false,
      true,
    ]);
    expect(await store.recentEvents(userId, 10, soon())).toHaveLength(2);
  });

  it('are dropped by the month when all of it is past the retention; readers from before start over', async () => {
    const userId = unique('user');
    const before = await store.position(soon());
    await store.appendEvents([event(userId, 'old')], soon());
    const inAYear = Date.now() + 400 * DAY_MS;
    expect((await keepPartitions(store.client, null, inAYear, soon())).dropped).toEqual([]);
    const report = await keepPartitions(store.client, 365 - 60, inAYear, soon());
    expect(report.dropped).toContain('events_earliest');
    expect(report.dropped.length).toBeLessThan(6);
    expect(await store.recentEvents(userId, 10, soon())).toEqual([]);
    await expect(store.read(before, 10, soon())).rejects.toMatchObject({ code: 'expired_cursor' });
    // What arrives in the months that are still there is taken.
    await sql("alter table events alter stored_at set default now() + interval '300 days'");
    expect(await store.appendEvents([event(userId, 'next')], soon())).toEqual([true]);
  });

  it('are scanned in segments at once, in the same order as one by one', async () => {
    const userId = unique('scan');
    const times = Array.from({ length: 30_000 }, (_, i) => (i * 7919) % 100_000);
    const events = times.map((at, i) => event(userId, `e${i}`, at));
    for (let at = 0; at < events.length; at += 5000)
      await store.appendEvents(events.slice(at, at + 5000), soon());
    const one = await collect(store.scanEvents(1000));
    const many = await collect(store.scanEvents(1000, { partitions: 4 }));
    expect(one.length).toBeGreaterThanOrEqual(30_000);
    expect(many).toEqual(one);
    const position = await store.position(soon());
    await store.appendEvents([event(userId, 'after the position', 5)], soon());
    expect(await collect(store.scanEvents(1000, { before: position, partitions: 3 }))).toEqual(one);
  }, 30_000);

  it('count the followers as of a position, whatever turned since', async () => {
    const [a, b] = [unique('author'), unique('author')];
    const follow = (user: string, target: string) => ({
      userId: user,
      kind: 'follow' as const,
      target,
      createdAt: 1,
    });
    const users = Array.from({ length: 5 }, () => unique('user'));
    await store.setEdges(
      users.map((user) => follow(user, a)),
      true,
      soon(),
    );
    await store.setEdges([follow(users[0], b)], true, soon());
    await store.setEdges([follow(users[4], a)], false, soon());
    const position = await store.position(soon());
    await store.setEdges([follow(users[0], a), follow(users[0], b)], false, soon());
    await store.setEdges([follow(users[0], a), follow(users[4], a), follow(unique('late'), b)], true, soon());
    await store.eraseUser(users[1], soon());
    const followers = await store.followersAsOf(position, soon());
    expect([followers.get(a), followers.get(b)]).toEqual([4, 1]);
    const now = await store.followersAsOf(await store.position(soon()), soon());
    expect([now.get(a), now.get(b)]).toEqual([4, 1]);
  });

  it('a user blocks up to a limit, and is told when it is reached', async () => {
    const userId = unique('blocker');
    const blocks = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({
        userId,
        kind: 'block' as const,
        target: `author-${from + i}`,
        createdAt: 1,
      }));
    await expect(store.setEdges(blocks(0, 100_000), true, soon())).rejects.toMatchObject({
      code: 'invalid_input',
      fields: [{ field: 'target' }],
    });
    await store.setEdges(blocks(0, EDGES_LIMIT), true, soon());
    await expect(store.setEdges(blocks(EDGES_LIMIT, 1), true, soon())).rejects.toMatchObject({
      code: 'invalid_input',
    });
    expect((await store.getUser(userId, soon()))?.edges).toHaveLength(EDGES_LIMIT);
    await store.setEdges(blocks(0, 1), false, soon());
    await store.setEdges(blocks(EDGES_LIMIT, 1), true, soon());
  }, 30_000);
});

describe.skipIf(skipped)(title('setting up replication'), () => {
  it('makes publication and slot once, caps the log, and says why where it is not permitted', async () => {
    const database = await freshDatabase();
    const store = await openSqlStore({ databaseUrl: database.url, dataDir: '' });
    const slot = unique('setup').replaceAll('-', '_');
    const first = await setUpReplication(store.client, slot, 512, soon());
    expect(first).toMatchObject({
      unavailable: null,
      warnings: [],
      made: ['publication feedrank', `slot ${slot}`],
    });
    expect(first.maxKeptWalMb).toBeGreaterThan(0);
    expect((await setUpReplication(store.client, slot, 512, soon())).made).toEqual([]);
    expect((await slotState(store.client, slot, soon())).status).toBe('reserved');

    const role = unique('guest').replaceAll('-', '_');
    const administer = (text: string) => store.client.query('test', { name: '', text }, [], soon());
    await administer(`create role ${role} login`);
    await administer(`grant all on all tables in schema public to ${role}`);
    await administer(`grant all on all sequences in schema public to ${role}`);
    const url = new URL(database.url);
    url.username = role;
    const guest = await openSqlStore({ databaseUrl: url.href, dataDir: '' });
    const refused = await setUpReplication(guest.client, `${slot}_2`, 512, soon());
    expect(refused.unavailable).toMatch(/owner|permission|must be/);
    expect(await guest.appendEvents([event(role, 'e1')], soon())).toEqual([true]);
    await guest.close();
    await administer(`select pg_drop_replication_slot('${slot}')`);
    await administer(`drop owned by ${role}; drop role ${role}`);
    await store.close();
    await database.drop();
  });
});

describe.skipIf(skipped)(title('a read replica'), () => {
  it('gives post contents and scans; what it does not have, and all when it is gone, comes from the primary', async () => {
    const [primary, replica] = await Promise.all([freshDatabase(), freshDatabase()]);
    const fill = await openSqlStore({ databaseUrl: replica.url, dataDir: '' });
    const post = (id: string, title: string) => ({ id, authorId: 'a', createdAt: 1, title });
    await fill.putPosts([post('both', 'on the replica')], soon());
    await fill.close();
    const store = await openSqlStore({ databaseUrl: primary.url, readUrl: replica.url, dataDir: '' });
    await store.putPosts([post('both', 'on the primary'), post('late', 'not replicated yet')], soon());
    const titles = async (one: SqlStore) =>
      (await one.getPosts(['late', 'none', 'both'], soon())).map((found) => found?.title ?? null);
    expect(await titles(store)).toEqual(['not replicated yet', null, 'on the replica']);
    expect(await collect(store.scanPosts(10))).toHaveLength(1);
    await store.close();
    const gone = await openSqlStore({
      databaseUrl: primary.url,
      readUrl: 'postgres://postgres@127.0.0.1:1/postgres',
      dataDir: '',
    });
    expect(await titles(gone)).toEqual(['not replicated yet', null, 'on the primary']);
    await gone.close();
    await Promise.all([primary.drop(), replica.drop()]);
  });
});
