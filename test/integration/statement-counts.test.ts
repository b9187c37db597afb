// No read or write asks the SQL store once an item: the statements of a page, a batch or a user are as many for ten items
// as for fifty or a hundred.
import { Redis } from 'ioredis';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { composeService, type Service } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import {
  DATABASE_URL,
  freshDatabase,
  freshFolder,
  REDIS_URL,
  titleOf,
  unique,
} from '../setup/test-servers.ts';

/** Asked by the clock, whether or not anybody asks for anything. */
const POLLED = /^(changes_|feed_job|ping$|set enable_)/;
/** The serving log is written up to .1 s later, changes are read every 20 ms. */
const QUIET_MS = 200;
const POSTS = 200;
const available = DATABASE_URL !== undefined && REDIS_URL !== undefined;
const title = titleOf(titleOf('SQL statements', DATABASE_URL, 'TEST_DATABASE'), REDIS_URL, 'TEST_REDIS');

describe.skipIf(!available)(title, { timeout: 60_000 }, () => {
  const folder = freshFolder();
  const prefix = unique('count');
  const user = (name: string) => `${prefix}-${name}`;
  const post = (n: number) => `${prefix}-p${n}`;
  const sent: string[] = [];
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let redis: Redis;
  let service: Service;

  const start = () =>
    composeService(
      readConfig({
        DATA_DIR: folder.path,
        DATABASE_URL: database.url,
        REDIS_URL,
        FEED_WORKERS: '1',
        CHANGES_POLL_MS: '20',
        FEED_DEADLINE_MS: '10000',
        EXPLORE_SHARE: '0',
        POST_CACHE_POSTS: '0',
        STATE_CACHE_MS: '0',
        LOG_LEVEL: 'silent',
      }),
      pino({ level: 'silent' }),
    );

  async function restart(): Promise<void> {
    await service.close();
    service = await start();
    await until(() => service.generations.current.table.rows >= POSTS);
  }

  async function until(condition: () => boolean): Promise<void> {
    for (let i = 0; i < 800 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 25));
    expect(condition()).toBe(true);
  }

  async function quiet(): Promise<void> {
    let before: number;
    do {
      before = sent.length;
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    } while (before !== sent.length);
  }

  /** How often each statement is sent by `work` and by what follows from it. */
  async function statementsOf(work: () => Promise<unknown>): Promise<Record<string, number>> {
    await quiet();
    sent.length = 0;
    await work();
    await quiet();
    const counts: Record<string, number> = {};
    for (const name of sent) counts[name] = (counts[name] ?? 0) + 1;
    return counts;
  }

  async function write(path: 'posts' | 'events', items: object[]): Promise<void> {
    const response = await service.app.inject({
      method: 'POST',
      url: `/${path}`,
      payload: { [path]: items },
    });
    expect(response.statusCode, response.body).toBe(200);
    const { results } = response.json();
    expect(results.every(({ status }: { status: string }) => status === 'stored')).toBe(true);
  }

  async function page(userId: string, limit: number, cursor = ''): Promise<string> {
    const query = cursor && `&cursor=${encodeURIComponent(cursor)}`;
    const response = await service.app.inject({
      method: 'GET',
      url: `/feed/${userId}?limit=${limit}${query}`,
    });
    const { posts: shown, degraded, nextCursor } = response.json();
    expect({ shown: shown?.length, degraded }, response.body).toEqual({ shown: limit, degraded: [] });
    return nextCursor;
  }

  const newPosts = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({
      id: post(from + i),
      authorId: `author-${(from + i) % 40}`,
      createdAt: Date.now() - i * 1000,
      title: `number ${from + i} of the posts`,
      topic: `topic-${i % 4}`,
    }));
  const likes = (name: (i: number) => string, count: number, type = 'like') =>
    Array.from({ length: count }, (_, i) => ({
      userId: user(name(i)),
      postId: post(i),
      type,
      at: Date.now() - (type === 'like' ? 60_000 : 0) + i,
    }));

  beforeAll(async () => {
    database = await freshDatabase();
    redis = new Redis(REDIS_URL as string);
    const send = pg.Client.prototype.query as (...args: unknown[]) => unknown;
    vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...args: unknown[]) {
      const [first] = args as [{ name?: string; text?: string } | string];
      const name = typeof first === 'string' ? first : (first.name ?? first.text ?? '');
      if (!POLLED.test(name)) sent.push(name);
      return send.apply(this, args);
    } as never);
    service = await start();
    await write('posts', newPosts(0, POSTS));
    await write('events', [...likes(() => 'of-10', 10), ...likes(() => 'of-50', 50)]);
    const readers = ['reader-10', 'reader-50'];
    await write(
      'events',
      readers.flatMap((name) => likes(() => name, 10)),
    );
    for (const name of readers) await page(user(name), 1);
  }, 60_000);

  afterAll(async () => {
    vi.restoreAllMocks();
    await service?.close();
    await redis?.quit();
    await database?.drop();
    folder.remove();
  });

  it('of the first and the next page on a cold replica do not depend on their length', async () => {
    for (const limit of [10, 50]) {
      const reader = user(`reader-${limit}`);
      await restart();
      let cursor = '';
      const first = await statementsOf(async () => {
        cursor = await page(reader, limit);
      });
      const next = await statementsOf(() => page(reader, limit, cursor));
      const once = { posts_get: 1, serving_log_append: 1 };
      expect({ limit, first, next }).toEqual({ limit, first: once, next: once });
    }
  });

  it('of a user that Redis has lost do not depend on the history', async () => {
    const counts: Record<string, number>[] = [];
    for (const name of ['of-10', 'of-50']) {
      const keys = await redis.keys(`*${user(name)}*`);
      expect(keys.length).toBeGreaterThan(0);
      await redis.del(...keys);
      counts.push(await statementsOf(() => page(user(name), 10)));
    }
    expect(counts[0]).toEqual({ users_get: 1, events_recent: 1, posts_get: 2, serving_log_append: 1 });
    expect(counts[1]).toEqual(counts[0]);
  });

  it('of a batch of posts do not depend on its size', async () => {
    const few = await statementsOf(() => write('posts', newPosts(1000, 10)));
    const many = await statementsOf(() => write('posts', newPosts(2000, 100)));
    expect(few).toEqual({ posts_put: 1 });
    expect(many).toEqual(few);
  });

  it.each(['like', 'unlike'])('of a batch of events (%s) do not depend on its size', async (type) => {
    // More than are applied at once: both batches reach the users by the change feed.
    const few = await statementsOf(() =>
      write(
        'events',
        likes((i) => `few-${i}`, 20, type),
      ),
    );
    const many = await statementsOf(() =>
      write(
        'events',
        likes((i) => `many-${i}`, 100, type),
      ),
    );
    expect(few).toMatchObject({ events_append: 1, events_likes: 1 });
    expect(many).toEqual(few);
  });
});
