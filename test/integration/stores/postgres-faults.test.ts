import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deadlineIn } from '../../../src/deadline.ts';
import { openSqlStore, type SqlStore } from '../../../src/features/store/postgres-store.ts';
import { startTcpProxy, type TcpProxy } from '../../setup/tcp-proxy.ts';
import { collect, DATABASE_URL, freshDatabase, soon, titleOf, unique } from '../../setup/test-servers.ts';

describe.skipIf(!DATABASE_URL)(titleOf('Postgres faults', DATABASE_URL, 'TEST_DATABASE'), () => {
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let proxy: TcpProxy;
  let store: SqlStore;
  let direct: pg.Client;

  beforeAll(async () => {
    database = await freshDatabase();
    const url = new URL(database.url);
    proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 5432) });
    url.port = String(proxy.port);
    url.hostname = '127.0.0.1';
    store = await openSqlStore({
      databaseUrl: url.href,
      dataDir: '',
      poolSize: 4,
      statementTimeoutMs: 5_000,
    });
    direct = new pg.Client({ connectionString: database.url });
    await direct.connect();
  });
  afterAll(async () => {
    await direct?.end();
    await store?.close();
    await proxy?.close();
    await database?.drop();
  });

  const post = (id: string) => ({ id, authorId: 'a', createdAt: 1 });
  const answers = () =>
    store.ping(soon()).then(
      () => true,
      () => false,
    );

  it('answers `timeout` at the deadline behind a lock, leaves nothing behind, and goes on', async () => {
    const id = unique('post');
    await store.putPosts([post(id)], soon());
    await direct.query('begin');
    await direct.query('select * from posts where id = $1 for update', [id]);
    await expect(store.deletePost(id, deadlineIn(150))).rejects.toMatchObject({ code: 'timeout' });
    // Over a connection of its own: within a transaction this view stands still.
    const observer = new pg.Client({ connectionString: database.url });
    await observer.connect();
    const running = async () => {
      const { rows } = await observer.query(
        "select 1 from pg_stat_activity where state = 'active' and query ~ '^\\s*update posts'",
      );
      return rows.length;
    };
    await expect.poll(running, { timeout: 4_000 }).toBe(0);
    await observer.end();
    await direct.query('rollback');
    expect(await store.getPosts([id], soon())).toEqual([post(id)]);
  });

  it('does not pass a running transaction by, in either order of commit', async () => {
    const start = await store.position(soon());
    const [slow, fast] = [unique('slow'), unique('fast')];
    await direct.query('begin');
    await direct.query('insert into posts (id, author_id, created_at) values ($1, $2, 1)', [slow, 'a']);
    await store.putPosts([post(fast)], soon());
    const early = await store.read(start, 100, soon());
    expect(early.changes).toEqual([]);
    await direct.query('commit');
    const late = async () => {
      const { changes } = await store.read(early.position, 100, soon());
      return changes.map((change) => (change.kind === 'post' ? change.post.id : change.kind));
    };
    await expect.poll(late, { timeout: 10_000 }).toEqual([slow, fast]);
  });

  it('erases what a writer under way commits, and nothing of what comes after', async () => {
    const userId = unique('user');
    const event = (id: string) => ({ id, userId, postId: 'p', type: 'like' as const, at: 1 });
    await Promise.all([
      ...Array.from({ length: 20 }, (_, i) => store.appendEvents([event(`e${i}`)], soon())),
      store.eraseUser(userId, soon()),
    ]);
    await store.eraseUser(userId, soon());
    expect(await store.recentEvents(userId, 100, soon())).toEqual([]);
    await store.appendEvents([event('later')], soon());
    expect(await store.recentEvents(userId, 100, soon())).toHaveLength(1);
  });

  it('survives concurrent upserts of the same posts in different orders', async () => {
    const ids = Array.from({ length: 300 }, () => unique('post'));
    await Promise.all(
      Array.from({ length: 8 }, (_, i) => {
        const posts = ids.map((id) => ({ ...post(id), title: `title ${i}` }));
        return store.putPosts(i % 2 ? posts : posts.toReversed(), soon());
      }),
    );
    expect((await store.getPosts(ids, soon())).every((found) => found?.title?.startsWith('title'))).toBe(
      true,
    );
  });

  it('fails fast while the server is away and works again when it is back', async () => {
    proxy.mode('refuse');
    await expect(store.getPosts(['x'], soon())).rejects.toMatchObject({ code: 'unavailable' });
    await expect(store.putPosts([post('x')], soon())).rejects.toMatchObject({ code: 'unavailable' });
    proxy.mode('pass');
    await expect.poll(answers, { timeout: 10_000 }).toBe(true);
  });

  it('answers `timeout` at the deadline when the server is silent', async () => {
    proxy.mode('silent');
    await expect(store.getPosts(['x'], deadlineIn(100))).rejects.toMatchObject({ code: 'timeout' });
    proxy.mode('refuse');
    proxy.mode('pass');
    await expect.poll(answers, { timeout: 10_000 }).toBe(true);
  });

  it('works again behind a black hole that ends, though what was begun in it stays without an answer', async () => {
    const url = new URL(database.url);
    url.port = String(proxy.port);
    url.hostname = '127.0.0.1';
    const [poolSize, connectTimeoutMs] = [2, 300];
    const own = await openSqlStore({ databaseUrl: url.href, dataDir: '', poolSize, connectTimeoutMs });
    await own.ping(soon());
    proxy.mode('silent');
    // More than the pool's places: all of them hang, first in a statement, then while they connect.
    for (let i = 0; i < 6; i++) await expect(own.ping(deadlineIn(50))).rejects.toThrow();
    proxy.mode('pass');
    const answered = () =>
      own.ping(deadlineIn(500)).then(
        () => true,
        () => false,
      );
    await expect.poll(answered, { timeout: 10_000 }).toBe(true);
    await own.close();
  });

  it('survives connections that the server ends', async () => {
    await store.ping(soon());
    await direct.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
       and pid <> pg_backend_pid()`,
    );
    await expect.poll(answers, { timeout: 10_000 }).toBe(true);
  });

  it('refuses a schema that a newer program made, and opens an up-to-date one without a change', async () => {
    const again = await openSqlStore({ databaseUrl: database.url, dataDir: '' });
    expect(again.migration.applied).toEqual([]);
    await again.close();
    await direct.query("insert into schema_migrations (version, name) values (999, 'future')");
    await expect(openSqlStore({ databaseUrl: database.url, dataDir: '' })).rejects.toMatchObject({
      code: 'conflict',
    });
    await direct.query('delete from schema_migrations where version = 999');
  });

  it('migrates once when several processes start at the same time', async () => {
    const fresh = await freshDatabase();
    const stores = await Promise.all(
      Array.from({ length: 4 }, () => openSqlStore({ databaseUrl: fresh.url, dataDir: '' })),
    );
    expect(stores.filter((each) => each.migration.applied.length > 0)).toHaveLength(1);
    expect(await collect(stores[3].scanPosts(10))).toEqual([]);
    await Promise.all(stores.map((each) => each.close()));
    await fresh.drop();
  });

  it('names a server that cannot be reached or a database that is not there', async () => {
    await expect(
      openSqlStore({ databaseUrl: 'postgres://x@127.0.0.1:1/x', dataDir: '' }),
    ).rejects.toMatchObject({
      code: 'unavailable',
    });
    const url = new URL(database.url);
    url.pathname = '/no_such_database';
    await expect(openSqlStore({ databaseUrl: url.href, dataDir: '' })).rejects.toMatchObject({
      code: 'unavailable',
    });
  });
});
