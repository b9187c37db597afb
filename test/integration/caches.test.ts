// What the caches of a replica may never show: posts deleted, authors blocked, what was delivered before. The caches
// live long here, so that only what drops an entry can make it true.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { composeService, type Service } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import { DATABASE_URL, freshDatabase, REDIS_URL, titleOf, unique } from '../setup/test-servers.ts';

const WORDS =
  'amber basil cedar delta ember fjord grove haven ivory jade kiosk lemon mango night ocean'.split(' ');

function postsOf(prefix: string, count = 60) {
  return Array.from({ length: count }, (_, i) => ({
    id: `${prefix}-${i}`,
    authorId: `${prefix}-author-${i % 12}`,
    createdAt: Date.now() - i * 60_000,
    title: `${WORDS[i % 15]} and ${WORDS[(i * 4 + 1) % 15]}`,
    text: `about ${WORDS[(i * 7 + 2) % 15]}, ${WORDS[(i * 11 + 3) % 15]} and ${i}`,
    topic: `topic-${i % 4}`,
  }));
}

function start(dataDir: string, more: Record<string, string | undefined> = {}): Promise<Service> {
  const environment = {
    DATA_DIR: dataDir,
    FEED_WORKERS: '1',
    CHANGES_POLL_MS: '20',
    FEED_DEADLINE_MS: '10000',
    EXPLORE_SHARE: '0',
    STATE_CACHE_MS: '1000',
    SLATE_CACHE_MS: '10000',
    LOG_LEVEL: 'silent',
    ...more,
  };
  return composeService(readConfig(environment), pino({ level: 'silent' }));
}

async function call(
  service: Service,
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  url: string,
  payload?: object,
) {
  const response = await service.app.inject({ method, url, ...(payload ? { payload } : {}) });
  expect(response.statusCode, response.body).toBeLessThan(300);
  return response;
}

async function feed(service: Service, userId: string, query = 'limit=10') {
  const response = await call(service, 'GET', `/feed/${userId}?${query}`);
  const posts = response.json().posts as { id: string; post: { authorId: string } }[];
  return {
    cache: response.headers['x-cache'],
    ids: posts.map(({ id }) => id),
    authors: posts.map(({ post }) => post.authorId),
    nextCursor: response.json().nextCursor as string,
  };
}

async function requests(service: Service, cache: string, outcome: string): Promise<number> {
  const { body } = await service.app.inject('/metrics');
  const line = new RegExp(
    `^feedrank_cache_requests_total\\{cache="${cache}",outcome="${outcome}"\\} (\\d+)$`,
    'm',
  );
  return Number(line.exec(body)?.[1] ?? 0);
}

describe('caches of one replica', { timeout: 60_000 }, () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'feedrank-caches-'));
  const prefix = unique('post');
  let service: Service;
  beforeAll(async () => {
    service = await start(dataDir);
    await call(service, 'POST', '/posts', { posts: postsOf(prefix) });
  }, 60_000);
  afterAll(async () => {
    await service?.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  it('answer a first page that is asked for again from the slate of a moment ago, with other posts, and count it', async () => {
    const first = await feed(service, 'ada');
    expect(first.cache).toBe('miss');
    const again = await feed(service, 'ada');
    expect(again.cache).toBe('hit');
    expect(again.ids).toHaveLength(10);
    expect(again.ids.filter((id) => first.ids.includes(id))).toEqual([]);
    const page = await feed(service, 'ada', `limit=10&cursor=${encodeURIComponent(again.nextCursor)}`);
    expect(page.cache).toBe('snapshot');
    expect(page.ids.filter((id) => [...first.ids, ...again.ids].includes(id))).toEqual([]);
    expect(await requests(service, 'slates', 'hit')).toBe(1);
    expect(await requests(service, 'posts', 'miss')).toBeGreaterThan(0);
    expect(await requests(service, 'user_state', 'miss')).toBeGreaterThan(0);
  });

  it('never show a post deleted, or an author blocked, between two requests', async () => {
    const shown = await feed(service, 'bo', 'limit=5');
    const kept = await feed(service, 'cy', 'limit=5');
    const next = (await feed(service, 'bo', 'limit=5')).ids;
    const rest = postsOf(prefix).filter(({ id }) => ![...shown.ids, ...next].includes(id));
    for (const { id } of rest.slice(0, 10)) await call(service, 'DELETE', `/posts/${id}`);
    const blocked = rest.at(-1)!.authorId;
    await call(service, 'PUT', `/users/cy/blocks/${encodeURIComponent(blocked)}`);
    const gone = rest.slice(0, 10).map(({ id }) => id);
    const bo = await feed(service, 'bo', 'limit=50');
    expect(bo.cache).toBe('hit');
    expect(bo.ids.filter((id) => gone.includes(id))).toEqual([]);
    expect(bo.ids.length).toBeGreaterThan(0);
    const cy = await feed(service, 'cy', 'limit=50');
    expect(cy.cache).toBe('miss');
    expect(cy.authors).not.toContain(blocked);
    expect(cy.ids.filter((id) => [...gone, ...kept.ids].includes(id))).toEqual([]);
    expect(await requests(service, 'posts', 'hit')).toBeGreaterThan(0);
    for (const id of gone) expect((await service.app.inject(`/posts/${id}`)).statusCode).toBe(404);
  });

  it('give a reader who engaged a new slate at once', async () => {
    const { ids } = await feed(service, 'dee', 'limit=5');
    const events = [{ userId: 'dee', postId: ids[0], type: 'like', at: Date.now() }];
    await call(service, 'POST', '/events', { events });
    expect((await feed(service, 'dee', 'limit=5')).cache).toBe('miss');
  });
});

const available = DATABASE_URL !== undefined && REDIS_URL !== undefined;
const title = titleOf(
  titleOf('caches of two replicas', DATABASE_URL, 'TEST_DATABASE'),
  REDIS_URL,
  'TEST_REDIS',
);

describe.skipIf(!available)(title, { timeout: 60_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'feedrank-caches-'));
  const prefix = unique('post');
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let a: Service;
  let b: Service;
  beforeAll(async () => {
    database = await freshDatabase();
    const stores = { DATABASE_URL: database.url, REDIS_URL, CURSOR_SECRET: 'the same on both replicas' };
    a = await start(join(dir, 'a'), stores);
    b = await start(join(dir, 'b'), stores);
    await call(a, 'POST', '/posts', { posts: postsOf(prefix) });
  }, 60_000);
  afterAll(async () => {
    await a?.close();
    await b?.close();
    await database?.drop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('a delete, a block and a delivered page of one replica hold on the other, whose caches are warm', async () => {
    const user = unique('reader');
    await expect.poll(() => b.generations.current.table.rows, { timeout: 10_000 }).toBe(60);
    const onB = await feed(b, user, 'limit=5');
    expect((await feed(b, user, 'limit=5')).cache).toBe('hit');
    const onA = await feed(a, user, 'limit=5');
    expect(onA.ids.filter((id) => onB.ids.includes(id))).toEqual([]);
    const rest = postsOf(prefix).filter(({ id }) => ![...onA.ids, ...onB.ids].includes(id));
    const [victim, other] = rest;
    await call(a, 'DELETE', `/posts/${victim.id}`);
    await call(a, 'PUT', `/users/${user}/blocks/${encodeURIComponent(other.authorId)}`);
    const { table } = b.generations.current;
    await expect.poll(() => table.isDeleted(table.rowOfId(victim.id)), { timeout: 10_000 }).toBe(true);
    // What a replica does not hear of itself it believes for the cache's time: a second, here.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const later = await feed(b, user, 'limit=50');
    expect(later.ids).not.toContain(victim.id);
    expect(later.authors).not.toContain(other.authorId);
    expect(later.ids.filter((id) => [...onA.ids, ...onB.ids].includes(id))).toEqual([]);
    expect(later.ids.length).toBeGreaterThan(0);
  });
});
