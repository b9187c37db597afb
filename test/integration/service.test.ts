// The composed service on embedded stores in a throw-away folder, with the committed models: what a user of the API
// sees, from an empty start to an index swap and a restart.
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { composeService, type Service } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';

interface FeedBody {
  posts: { id: string; token: string; sources: string[]; post: { topic: string; authorId: string } }[];
  nextCursor: string | null;
  end: boolean;
  degraded: string[];
  index: string;
  model: string;
}

/** Words of each topic; a title takes four of them, so that no two titles are near-duplicates. */
const TOPICS = {
  cooking:
    'sourdough bread oven roast vegetables butter garlic simmer sauce pan pastry dough spices soup'.split(
      ' ',
    ),
  astronomy:
    'telescope moon saturn rings exoplanet galaxy nebula comet orbit star supernova crater lens eclipse'.split(
      ' ',
    ),
  cycling:
    'bicycle derailleur gravel tyres saddle pedals climb peloton sprint chain brakes wheel descent race'.split(
      ' ',
    ),
};
const PER_TOPIC = 40;

let dataDir: string;
let rulesFile: string;
let service: Service;

function start(): Promise<Service> {
  const config = readConfig({
    DATA_DIR: dataDir,
    RULES_FILE: rulesFile,
    FEED_WORKERS: '1',
    CHANGES_POLL_MS: '20',
    INDEX_POLL_MS: '100',
    RATE_LIMIT_PER_MINUTE: '0',
    USER_RATE_LIMIT_PER_MINUTE: '0',
    FEED_DEADLINE_MS: '10000',
    LOG_LEVEL: 'silent',
  });
  return composeService(config, pino({ level: 'silent' }));
}

async function call(method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, payload?: object) {
  const response = await service.app.inject({ method, url, ...(payload ? { payload } : {}) });
  return { status: response.statusCode, body: response.json() };
}

async function feed(userId: string, query = 'limit=20'): Promise<FeedBody> {
  const { status, body } = await call('GET', `/feed/${userId}?${query}`);
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
}

function posts() {
  const now = Date.now();
  return Object.entries(TOPICS).flatMap(([topic, words]) =>
    Array.from({ length: PER_TOPIC }, (_, i) => {
      const word = (step: number) => words[(i * step + (i >> 2)) % words.length];
      return {
        id: `${topic}-${i}`,
        authorId: `${topic}-author-${i % 8}`,
        createdAt: now - i * 600_000,
        title: `${word(1)} and ${word(3)}`,
        text: `notes on ${word(5)}, ${word(9)} and the ${word(11)}`,
        topic,
        language: 'en',
      };
    }),
  );
}

function events(userId: string, type: string, postIds: string[]) {
  return { events: postIds.map((postId, i) => ({ userId, postId, type, at: Date.now() - 1000 + i })) };
}

function share(body: FeedBody, topic: string): number {
  return body.posts.filter((one) => one.post.topic === topic).length / body.posts.length;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('it did not come true within 5 s');
}

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'feedrank-service-'));
  rulesFile = join(dataDir, 'rules.json');
  writeFileSync(rulesFile, '{}');
  service = await start();
});

afterAll(async () => {
  await service.close();
  rmSync(dataDir, { recursive: true, force: true });
});

describe('the service', () => {
  it('starts with no posts and no index, ready, and says the feed has ended', async () => {
    expect((await call('GET', '/health/ready')).status).toBe(200);
    const empty = await feed('nobody');
    expect(empty.posts).toEqual([]);
    expect(empty.end).toBe(true);
  });

  it('serves a post as soon as its request has returned', async () => {
    const { status, body } = await call('POST', '/posts', { posts: posts() });
    expect(status, JSON.stringify(body)).toBe(200);
    expect((await feed('anyone')).posts.length).toBe(20);
  });

  it('moves towards what a user likes, and never shows a liked post again', async () => {
    const before = await feed('ada');
    const topics = Object.keys(TOPICS).sort((a, b) => share(before, a) - share(before, b));
    const favourite = topics[0];
    const liked = Array.from({ length: 8 }, (_, i) => `${favourite}-${i}`);
    expect((await call('POST', '/events', events('ada', 'like', liked))).status).toBe(200);
    const after = await feed('ada');
    expect(share(after, favourite)).toBeGreaterThan(share(before, favourite));
    const ids = after.posts.map((post) => post.id);
    for (const id of liked) expect(ids).not.toContain(id);
  });

  it('gives two users with different tastes different feeds', async () => {
    const first = (topic: string) => Array.from({ length: 10 }, (_, i) => `${topic}-${i}`);
    await call('POST', '/events', events('bo', 'like', first('cooking')));
    await call('POST', '/events', events('cy', 'like', first('cycling')));
    const [bo, cy] = await Promise.all([feed('bo', 'limit=10'), feed('cy', 'limit=10')]);
    expect(share(bo, 'cooking')).toBeGreaterThan(share(cy, 'cooking'));
    expect(share(cy, 'cycling')).toBeGreaterThan(share(bo, 'cycling'));
  });

  it('pages to an explicit end without repeating a post', async () => {
    const seen = new Set<string>();
    let cursor: string | null = null;
    let end = false;
    for (let page = 0; page < 30 && !end; page++) {
      const body: FeedBody = await feed(
        'pager',
        `limit=15${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`,
      );
      for (const post of body.posts) {
        expect(seen.has(post.id), post.id).toBe(false);
        seen.add(post.id);
      }
      ({ nextCursor: cursor, end } = body);
    }
    expect(end).toBe(true);
    // Near-duplicates of posts already shown may be left out; everything else is reached.
    expect(seen.size).toBeGreaterThan(PER_TOPIC);
  });

  it('honours a delete, a block and a mute from the next request', async () => {
    const victim = (await feed('dee', 'limit=1')).posts[0];
    await call('DELETE', `/posts/${victim.id}`);
    await call('PUT', '/users/dee/blocks/cooking-author-1');
    await call('PUT', '/users/dee/mutes/topics/cycling');
    const body = await feed('dee', 'limit=100');
    expect(body.posts.map((post) => post.id)).not.toContain(victim.id);
    expect(body.posts.map((post) => post.post.authorId)).not.toContain('cooking-author-1');
    expect(share(body, 'cycling')).toBe(0);
    expect(body.posts.length).toBeGreaterThan(0);
  });

  it('finds a post near another of the same topic', async () => {
    const { body } = await call('GET', '/posts/astronomy-20/similar?limit=5');
    const topics = body.posts.map((one: { post: { topic: string } }) => one.post.topic);
    expect(topics.filter((topic: string) => topic === 'astronomy').length).toBeGreaterThanOrEqual(4);
  });

  it('takes over a changed rules file without a restart, and keeps the last good one when the next is bad', async () => {
    const pinned = 'astronomy-30';
    writeFileSync(rulesFile, JSON.stringify({ pins: [{ postId: pinned, position: 0 }] }));
    // A new reader each time: what was shown once is not shown again.
    let readers = 0;
    const first = async () => (await feed(`hal-${readers++}`, 'limit=3')).posts[0]?.id;
    await until(async () => (await first()) === pinned);
    writeFileSync(rulesFile, JSON.stringify({ pins: [{ postId: pinned, position: -1 }] }));
    await until(async () =>
      (await call('GET', '/health/ready')).body.degraded.join().includes('pins.0.position'),
    );
    expect(await first()).toBe(pinned);
    writeFileSync(rulesFile, '{}');
    await until(async () => (await first()) !== pinned);
  });

  it('counts each event once, however it reached the replica', async () => {
    const { generations } = service;
    const row = generations.current.table.rowOfId('cooking-20');
    const likes = () => generations.current.table.records.f32[row * 32 + 14];
    const batch = {
      events: [{ id: 'once', userId: 'eve', postId: 'cooking-20', type: 'like', at: Date.now() }],
    };
    await call('POST', '/events', batch);
    await call('POST', '/events', batch);
    await until(() => likes() >= 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(likes()).toBe(1);
  });

  it('tells Prometheus what it serves', async () => {
    const { payload } = await service.app.inject({ method: 'GET', url: '/metrics' });
    expect(payload).toMatch(/^feedrank_generation_info\{generation="empty",search="exact"\} 1$/m);
    expect(Number(/^feedrank_posts (\d+)$/m.exec(payload)![1])).toBeGreaterThan(100);
    expect(payload).toMatch(/^feedrank_workers_available 1$/m);
    expect(payload).toMatch(/^feedrank_stage_seconds_count\{stage="rank",outcome="ok"\} [1-9]/m);
  });

  it('forgets an erased user', async () => {
    await call('POST', '/events', events('fay', 'like', ['cycling-5', 'cycling-6', 'cycling-7']));
    const { status } = await call('DELETE', '/users/fay');
    expect(status).toBeLessThan(300);
    expect((await call('GET', '/users/fay')).status).toBe(404);
    const explained = await call('GET', '/feed/fay?limit=5&explain=1');
    expect(explained.status).toBe(200);
    const reasons = explained.body.posts.map((post: { why: string }) => post.why).join(' ');
    expect(reasons).not.toMatch(/you (liked|engaged)/);
  });

  it('swaps to a new index while it serves, with what came meanwhile and without a failed request', async () => {
    const failures: number[] = [];
    let going = true;
    const traffic = (async () => {
      while (going) {
        const { status } = await call('GET', '/feed/ivy?limit=10');
        if (status !== 200) failures.push(status);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const built = promisify(execFile)(process.execPath, ['scripts/build-index.ts', '--data-dir', dataDir]);
    await call('POST', '/posts', {
      posts: [
        { id: 'meanwhile', authorId: 'x', createdAt: Date.now(), title: 'posted while the index is built' },
      ],
    });
    const { stdout } = await built;
    const version = /published (\S+):/.exec(stdout)![1];
    await until(() => service.generations.current.id === version);
    going = false;
    await traffic;
    expect(failures).toEqual([]);
    expect((await feed('ivy', 'limit=5')).index).toBe(version);
    expect((await call('GET', '/posts/meanwhile/similar')).status).toBe(200);
  });

  it('refuses a corrupt index by name, and goes on with what it has', async () => {
    const serving = service.generations.current.id;
    const torn = 'v20990101T000000000Z-abcdef';
    const folder = join(dataDir, 'index', torn);
    cpSync(join(dataDir, 'index', serving), folder, { recursive: true });
    const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...manifest, version: torn }));
    const vectors = readFileSync(join(folder, 'vectors.f32'));
    vectors[100] ^= 1;
    writeFileSync(join(folder, 'vectors.f32'), vectors);
    writeFileSync(join(dataDir, 'index', 'current'), `${torn}\n`);
    await until(() => service.generations.refusal !== null);
    expect(service.generations.refusal).toMatch(/vectors\.f32/);
    expect(service.generations.current.id).toBe(serving);
    expect((await feed('ivy', 'limit=5')).index).toBe(serving);
    const { body } = await call('GET', '/health/ready');
    expect(body.degraded.join()).toMatch(/vectors\.f32/);
    writeFileSync(join(dataDir, 'index', 'current'), `${serving}\n`);
  });

  it('has everything again after a restart', async () => {
    const liked = Array.from({ length: 8 }, (_, i) => `cycling-${i + 10}`);
    await call('POST', '/events', events('gil', 'like', liked));
    const rows = service.generations.current.table.rows - service.generations.current.table.deletedRows.all;
    await service.close();
    service = await start();
    await until(() => service.generations.current.table.rows >= rows);
    const after = await feed('gil');
    expect(after.posts.length).toBe(20);
    expect(share(after, 'cycling')).toBeGreaterThan(1 / 3);
    for (const { id } of after.posts) expect(liked).not.toContain(id);
  });
});
