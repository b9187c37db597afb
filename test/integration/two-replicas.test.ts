// Two replicas on one real PostgreSQL and one real Redis: what one commits, the other serves.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { composeService, type Service } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import { DATABASE_URL, freshDatabase, REDIS_URL, titleOf, unique } from '../setup/test-servers.ts';

const available = DATABASE_URL !== undefined && REDIS_URL !== undefined;
const title = titleOf(titleOf('two replicas', DATABASE_URL, 'TEST_DATABASE'), REDIS_URL, 'TEST_REDIS');

describe.skipIf(!available)(title, { timeout: 60_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'feedrank-replicas-'));
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let a: Service;
  let b: Service;
  const user = unique('reader');
  const prefix = unique('post');

  const start = (name: string) =>
    composeService(
      readConfig({
        DATA_DIR: join(dir, name),
        DATABASE_URL: database.url,
        REDIS_URL,
        FEED_WORKERS: '1',
        CHANGES_POLL_MS: '50',
        FEED_DEADLINE_MS: '10000',
        CURSOR_SECRET: 'the same on both replicas',
        LOG_LEVEL: 'silent',
      }),
      pino({ level: 'silent' }),
    );

  async function call(
    service: Service,
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    url: string,
    payload?: object,
  ) {
    const response = await service.app.inject({ method, url, ...(payload ? { payload } : {}) });
    return { status: response.statusCode, body: response.json() };
  }

  async function until(condition: () => Promise<boolean>): Promise<void> {
    for (let i = 0; i < 200; i++) {
      if (await condition()) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error('it did not come true within 5 s');
  }

  beforeAll(async () => {
    database = await freshDatabase();
    a = await start('a');
    b = await start('b');
    const words =
      'amber basil cedar delta ember fjord grove haven ivory jade kiosk lemon mango night ocean'.split(' ');
    const posts = Array.from({ length: 60 }, (_, i) => ({
      id: `${prefix}-${i}`,
      authorId: `author-${i % 12}`,
      createdAt: Date.now() - i * 60_000,
      title: `${words[i % 15]} and ${words[(i * 4 + 1) % 15]}`,
      text: `about ${words[(i * 7 + 2) % 15]}, ${words[(i * 11 + 3) % 15]} and ${i}`,
      topic: `topic-${i % 4}`,
    }));
    expect((await call(a, 'POST', '/posts', { posts })).status).toBe(200);
    await until(async () => b.generations.current.table.rows >= 60);
  }, 60_000);

  afterAll(async () => {
    await a?.close();
    await b?.close();
    await database?.drop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('names real stores', async () => {
    expect((await call(a, 'GET', '/health/ready')).body.stores).toEqual({
      posts: 'postgres',
      state: 'redis',
      changes: 'polled, no updater leads',
    });
  });

  it('serves on one what was posted on the other', async () => {
    const id = unique('fresh');
    await call(a, 'POST', '/posts', {
      posts: [{ id, authorId: 'someone', createdAt: Date.now(), title: 'zebra' }],
    });
    await until(async () => (await call(b, 'GET', `/posts/${id}/similar`)).status === 200);
  });

  it('reads on one the vector that a like on the other made, and does not show the liked post', async () => {
    const liked = `${prefix}-3`;
    const events = [{ userId: user, postId: liked, type: 'like', at: Date.now() }];
    expect((await call(a, 'POST', '/events', { events })).status).toBe(200);
    const { body } = await call(b, 'GET', `/feed/${user}?limit=5&explain=1`);
    const shown = body.posts.map((post: { id: string }) => post.id);
    expect(shown).not.toContain(liked);
    expect(body.posts.map((post: { why: string }) => post.why).join()).toMatch(/engaged|interests/);
  });

  it('continues on one a feed that began on the other, without a repeat', async () => {
    const first = await call(a, 'GET', `/feed/${unique('pager')}?limit=10`);
    const cursor = encodeURIComponent(first.body.nextCursor);
    const second = await call(b, 'GET', `/feed/${first.body.userId}?limit=10&cursor=${cursor}`);
    expect(second.status, JSON.stringify(second.body)).toBe(200);
    const ids = [...first.body.posts, ...second.body.posts].map((post: { id: string }) => post.id);
    expect(new Set(ids).size).toBe(20);
  });

  it('honours on one a delete and a block made on the other', async () => {
    const victim = `${prefix}-10`;
    await call(a, 'DELETE', `/posts/${victim}`);
    await call(a, 'PUT', `/users/${user}/blocks/author-5`);
    await until(async () =>
      b.generations.current.table.isDeleted(b.generations.current.table.rowOfId(victim)),
    );
    const { body } = await call(b, 'GET', `/feed/${user}?limit=50`);
    const authors = body.posts.map((post: { post: { authorId: string } }) => post.post.authorId);
    expect(authors).not.toContain('author-5');
    expect(body.posts.map((post: { id: string }) => post.id)).not.toContain(victim);
  });

  it('rebuilds a user from PostgreSQL when Redis has lost it: history, blocks and vector', async () => {
    const redis = new Redis(REDIS_URL!);
    const keys = await redis.keys(`*${user}*`);
    expect(keys.length).toBeGreaterThan(0);
    await redis.del(...keys);
    await redis.quit();
    const { body } = await call(b, 'GET', `/feed/${user}?limit=50&explain=1`);
    expect(body.degraded).toEqual([]);
    const posts = body.posts as { id: string; why: string; post: { authorId: string } }[];
    expect(posts.map((post) => post.id)).not.toContain(`${prefix}-3`);
    expect(posts.map((post) => post.post.authorId)).not.toContain('author-5');
    expect(posts.map((post) => post.why).join()).toMatch(/engaged|interests/);
  });
});
