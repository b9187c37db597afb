// Feed jobs through the application on the embedded stores: made, computed, read, cancelled, erased. The loops are driven
// by hand: `start` keeps what the application hands over.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AppContext } from '../../../../src/api/app-context.ts';
import { Authenticator } from '../../../../src/api/auth/authenticator.ts';
import type { ComputePage } from '../../../../src/api/jobs/feed-job-page.ts';
import { FeedJobRunner, LEASE_MS } from '../../../../src/api/jobs/feed-job-runner.ts';
import { WebhookHosts } from '../../../../src/api/jobs/webhook-hosts.ts';
import type { FeedJobOutcome, FeedJobTask } from '../../../../src/contracts.ts';
import { deadlineIn } from '../../../../src/deadline.ts';
import { FeedrankError } from '../../../../src/errors.ts';
import { PostgresFeedJobs } from '../../../../src/features/store/postgres-feed-jobs.ts';
import { type KeyFile, keyFile } from '../auth/credentials.ts';
import { type Backends, NOW, newPosts, newUser, openBackends, openWorld, type World } from '../world.ts';

const HOUR = 3_600_000;
const KEPT_MS = 24 * HOUR;
let backends: Backends;
let world: World;
let store: PostgresFeedJobs;
let compute: ComputePage;
let file: KeyFile;
let auth: Authenticator;
let mine: string;
let other: string;
let bound: string;
const admitted: { priorities: string[]; refuse: boolean } = { priorities: [], refuse: false };

beforeAll(async () => {
  backends = await openBackends();
  file = keyFile();
  mine = file.add({ id: 'mine', scopes: ['feed:read'] });
  other = file.add({ id: 'other', scopes: ['feed:read', 'profile:write'] });
  bound = file.add({ id: 'bound', scopes: ['feed:read'], user: 'u1' });
  auth = new Authenticator({ keysFile: file.path });
});
afterAll(async () => {
  auth.close();
  file.remove();
  await backends.close();
});

beforeEach(async () => {
  store = new PostgresFeedJobs(backends.sql.client);
  admitted.priorities = [];
  admitted.refuse = false;
  const feedJobs: AppContext['feedJobs'] = {
    store,
    settings: { atOnce: 1, bounds: { open: 3, kept: 5 }, keptMs: KEPT_MS, baseUrl: 'https://feeds.example' },
    hosts: new WebhookHosts('hooks.example', false),
    start: (page) => {
      compute = page;
    },
    wake: () => {},
    close: async () => {},
  };
  const overloaded = new FeedrankError('overloaded', 'too many', { retryAfterSeconds: 1 });
  const admission: AppContext['admission'] = {
    refusal: () => null,
    refuseWhenFull: () => {},
    run: async (priority, work) => {
      admitted.priorities.push(priority);
      if (admitted.refuse) throw overloaded;
      return work({ quality: 1, outcome: null });
    },
  };
  world = await openWorld(backends, {
    config: { exploreShare: 1 },
    context: { auth, feedJobs, admission },
  });
});
afterEach(async () => {
  await world.close();
  await backends.sql.client.query('tests', { name: '', text: 'delete from feed_jobs' }, [], soon());
});

const soon = () => deadlineIn(10_000);

async function ask(
  method: 'GET' | 'POST' | 'DELETE',
  url: string,
  payload?: object,
  headers = {},
  key = mine,
) {
  const response = await world.app.inject({
    method,
    url,
    headers: { 'x-api-key': key, ...headers },
    ...(payload ? { payload } : {}),
  });
  return { status: response.statusCode, body: response.json(), headers: response.headers };
}

async function made(userIds: string[], more: object = {}): Promise<string> {
  const { status, body } = await ask('POST', '/feed-jobs', { userIds, ...more });
  expect(status, JSON.stringify(body)).toBe(202);
  return body.jobId;
}

function runner(page: ComputePage = compute): FeedJobRunner {
  return new FeedJobRunner({ store, compute: page, clock: world.context.clock, atOnce: 2, keptMs: KEPT_MS });
}

async function runAll(page: ComputePage = compute): Promise<void> {
  const one = runner(page);
  while (await one.step());
}

const pageOf = (requestId: string): FeedJobOutcome => ({
  state: 'done',
  page: { requestId, generatedAt: NOW, model: 'm', degraded: [], posts: [] },
});

describe('POST /feed-jobs', () => {
  it('is committed when it is answered, and computed afterwards as GET /feed would answer', async () => {
    const posts = newPosts(5);
    await world.addPosts(posts);
    const [u, v] = [newUser(), newUser()];
    const { status, body } = await ask('POST', '/feed-jobs', { userIds: [u, v, u], limit: 3 });
    expect(status).toBe(202);
    expect(body).toMatchObject({ users: 2, statusUrl: `https://feeds.example/feed-jobs/${body.jobId}` });
    const url = `/feed-jobs/${body.jobId}`;
    expect((await ask('GET', url)).body).toMatchObject({ status: 'queued', counts: { waiting: 2 } });
    await runAll();
    expect((await ask('GET', url)).body).toMatchObject({
      status: 'done',
      counts: { waiting: 0, done: 2, failed: 0, erased: 0 },
      finishedAt: NOW,
      expiresAt: NOW + KEPT_MS,
      delivery: null,
    });
    const { results, nextCursor } = (await ask('GET', `${url}/results`)).body;
    expect(nextCursor).toBeNull();
    expect(results.map(({ userId }: { userId: string }) => userId)).toEqual([u, v]);
    const feed = (await ask('GET', `/feed/${u}?limit=3`)).body;
    const idsOf = (list: { id: string }[]) => list.map(({ id }) => id);
    expect(idsOf(results[0].posts)).toEqual(idsOf(feed.posts));
    expect(results[0].posts[0].post).toEqual(feed.posts[0].post);
    expect(results[0].posts[0].why).toBe(feed.posts[0].why);
  });

  it('computes at the lowest priority, without exploring, and records nothing as served, seen or to be read on', async () => {
    await world.addPosts(newPosts(5));
    const user = newUser();
    await made([user], { limit: 2 });
    const sessions: string[] = [];
    const { set } = backends.online;
    backends.online.set = (key, ...rest) => {
      sessions.push(key);
      return set.call(backends.online, key, ...rest);
    };
    try {
      await runAll();
    } finally {
      backends.online.set = set;
    }
    expect(sessions).toEqual([]);
    expect(admitted.priorities).toEqual(['background']);
    expect(world.slateRequests).toMatchObject([{ userId: user, priority: 'background', explore: false }]);
    const state = await backends.online.getState(user, 'tower', soon());
    expect(state?.seen ?? new Uint32Array(0)).toHaveLength(0);
    const [logged] = await backends.sql.client.query<{ n: number }>(
      'tests',
      { name: '', text: 'select count(*) as n from serving_log where user_id = $1' },
      [user],
      soon(),
    );
    expect(logged.n).toBe(0);
  });

  it('gives tokens that an event on the post can carry', async () => {
    const posts = newPosts(1);
    await world.addPosts(posts);
    const user = newUser();
    const id = await made([user]);
    await runAll();
    const [{ posts: given, servingId }] = (await ask('GET', `/feed-jobs/${id}/results`)).body.results;
    const { TrackingTokens } = await import('../../../../src/api/tracking-token.ts');
    const tokens = new TrackingTokens(world.context.config.cursorSecret);
    expect(tokens.read(given[0].token, user, given[0].id)).toEqual({ requestId: servingId, position: 0 });
  });

  it('gives the same job for the same Idempotency-Key, and refuses it with another body', async () => {
    const key = { 'idempotency-key': 'morning-digest' };
    const first = await ask('POST', '/feed-jobs', { userIds: ['u1'] }, key);
    const again = await ask('POST', '/feed-jobs', { userIds: ['u1'] }, key);
    expect(again.body.jobId).toBe(first.body.jobId);
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect((await ask('POST', '/feed-jobs', { userIds: ['u2'] }, key)).status).toBe(409);
    const foreign = await ask('POST', '/feed-jobs', { userIds: ['u2'] }, key, other);
    expect(foreign.status).toBe(202);
    expect(foreign.body.jobId).not.toBe(first.body.jobId);
  });

  it('bounds users, posts, open jobs and kept jobs', async () => {
    const users = (n: number) => Array.from({ length: n }, (_, i) => `u${i}`);
    for (const payload of [{ userIds: [] }, { userIds: users(10_001) }, { userIds: ['u1'], limit: 51 }]) {
      expect((await ask('POST', '/feed-jobs', payload)).status).toBe(400);
    }
    for (let i = 0; i < 3; i++) await made(['u1']);
    const full = await ask('POST', '/feed-jobs', { userIds: ['u1'] });
    expect(full.status).toBe(429);
    expect(full.body.detail).toMatch(/3 feed jobs have not ended/);
    expect(Number(full.headers['retry-after'])).toBeGreaterThan(0);
    expect((await ask('POST', '/feed-jobs', { userIds: ['u1'] }, {}, other)).status).toBe(202);
    await runAll();
    for (let i = 0; i < 2; i++) await made(['u1']);
    const kept = await ask('POST', '/feed-jobs', { userIds: ['u1'] });
    expect(kept.status).toBe(429);
    expect(kept.body.detail).toMatch(/delete some/);
  });

  it('refuses a webhook to a host that is not on the list, naming the field', async () => {
    for (const url of ['https://evil.example/', 'http://hooks.example/', 'https://127.0.0.1/', 'nonsense']) {
      const { status, body } = await ask('POST', '/feed-jobs', { userIds: ['u1'], webhook: { url } });
      expect(status, url).toBe(400);
      expect(body.fields[0].field).toBe('webhook.url');
    }
    const taken = await ask('POST', '/feed-jobs', {
      userIds: ['u1'],
      webhook: { url: 'https://hooks.example/x' },
    });
    expect(taken.status).toBe(202);
    expect((await ask('GET', `/feed-jobs/${taken.body.jobId}`)).body.delivery).toMatchObject({
      state: 'waiting',
    });
  });

  it('is not for a caller that acts for one user', async () => {
    expect((await ask('POST', '/feed-jobs', { userIds: ['u1'] }, {}, bound)).status).toBe(403);
  });
});

describe('a job', () => {
  it('does not exist for another key', async () => {
    const id = await made(['u1']);
    for (const [method, url] of [
      ['GET', `/feed-jobs/${id}`],
      ['GET', `/feed-jobs/${id}/results`],
      ['DELETE', `/feed-jobs/${id}`],
    ] as const) {
      expect((await ask(method, url, undefined, {}, other)).status).toBe(404);
    }
    expect((await ask('GET', `/feed-jobs/${id}`)).status).toBe(200);
  });

  it('is read page by page, with the users that still wait', async () => {
    const users = Array.from({ length: 10 }, newUser);
    const id = await made(users);
    await runner().step();
    const seen: { userId: string; status: string }[] = [];
    let cursor: string | null = '0';
    while (cursor !== null) {
      const { body } = await ask('GET', `/feed-jobs/${id}/results?limit=4&cursor=${cursor}`);
      seen.push(...body.results);
      cursor = body.nextCursor;
    }
    expect(seen.map(({ userId }) => userId)).toEqual(users);
    expect(seen.filter(({ status }) => status === 'done')).toHaveLength(8);
    expect((await ask('GET', `/feed-jobs/${id}/results?cursor=x`)).status).toBe(400);
  });

  it('that is cancelled stays by name only, and computes nothing more; one that ended is deleted', async () => {
    const open = await made(['u1', 'u2']);
    const [task] = await store.claim(1, NOW, LEASE_MS, soon());
    expect((await ask('DELETE', `/feed-jobs/${open}`)).body.status).toBe('cancelled');
    await store.settle([{ task, outcome: pageOf('late') }], { atMs: NOW, keptMs: KEPT_MS }, soon());
    expect((await ask('GET', `/feed-jobs/${open}`)).body).toMatchObject({
      status: 'cancelled',
      counts: { done: 0 },
    });
    expect((await ask('GET', `/feed-jobs/${open}/results`)).body.results).toEqual([]);
    expect(await store.claim(8, NOW + 10 * LEASE_MS, LEASE_MS, soon())).toEqual([]);
    const ended = await made(['u1']);
    await runAll();
    expect((await ask('DELETE', `/feed-jobs/${ended}`)).body.status).toBe('deleted');
    expect((await ask('GET', `/feed-jobs/${ended}`)).status).toBe(404);
  });

  it('gives out no post that was deleted, and none of an author that was blocked, since', async () => {
    const posts = newPosts(3);
    await world.addPosts(posts);
    const user = newUser();
    const id = await made([user]);
    await runAll();
    const idsNow = async () =>
      (await ask('GET', `/feed-jobs/${id}/results`)).body.results[0].posts.map(
        (post: { id: string }) => post.id,
      );
    expect(await idsNow()).toEqual(posts.map((post) => post.id));
    world.memory.delete(posts[0].id);
    const edge = { userId: user, kind: 'block' as const, target: posts[1].authorId, createdAt: NOW };
    await backends.sql.setEdges([edge], true, soon());
    expect(await idsNow()).toEqual([posts[2].id]);
  });

  it('keeps nothing of a user that is erased, and ends without them', async () => {
    const [gone, stays] = [newUser(), newUser()];
    const id = await made([gone, stays]);
    const [first, second] = await store.claim(2, NOW, LEASE_MS, soon());
    const now = { atMs: NOW, keptMs: KEPT_MS };
    await store.settle([{ task: second, outcome: pageOf('b') }], now, soon());
    const erased = await world.app.inject({
      method: 'DELETE',
      url: `/users/${gone}`,
      headers: { 'x-api-key': other },
    });
    expect(erased.json()).toMatchObject({ erased: true });
    // Was being computed meanwhile.
    await store.settle([{ task: first, outcome: pageOf('a') }], now, soon());
    await store.sweep(now, soon());
    const { body } = await ask('GET', `/feed-jobs/${id}`);
    expect(body).toMatchObject({ status: 'done', counts: { waiting: 0, done: 1, erased: 1 } });
    const { results } = (await ask('GET', `/feed-jobs/${id}/results`)).body;
    expect(results.map(({ userId }: { userId: string }) => userId)).toEqual([stays]);
  });
});

describe('the runner', () => {
  it('takes over what a killed replica had claimed when its lease is over, and each result is written once', async () => {
    const users = Array.from({ length: 3 }, newUser);
    const id = await made(users);
    const held = await store.claim(8, NOW, LEASE_MS, soon());
    expect(held).toHaveLength(3);
    expect(await store.claim(8, NOW + LEASE_MS - 1, LEASE_MS, soon())).toEqual([]);
    world.clock.ms += LEASE_MS;
    await runAll();
    expect((await ask('GET', `/feed-jobs/${id}`)).body).toMatchObject({
      status: 'done',
      counts: { done: 3 },
    });
    const before = (await ask('GET', `/feed-jobs/${id}/results`)).body.results;
    // The one believed dead was only slow.
    const late = held.map((task: FeedJobTask) => ({ task, outcome: pageOf('late') }));
    await store.settle(late, { atMs: world.clock.ms, keptMs: KEPT_MS }, soon());
    expect((await ask('GET', `/feed-jobs/${id}/results`)).body.results).toEqual(before);
  });

  it('never gives one user to two replicas at once', async () => {
    await made(Array.from({ length: 30 }, newUser));
    const claims = await Promise.all(Array.from({ length: 6 }, () => store.claim(5, NOW, LEASE_MS, soon())));
    const taken = claims.flat().map(({ n }) => n);
    expect(taken.sort((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, i) => i));
  });

  it('stops at the first refusal, gives the rest back uncounted, and comes back later', async () => {
    const id = await made(Array.from({ length: 20 }, newUser));
    admitted.refuse = true;
    const one = runner();
    expect(await one.step()).toBe(false);
    expect(admitted.priorities.length).toBeLessThanOrEqual(2);
    expect(await one.step()).toBe(false);
    expect(admitted.priorities.length).toBeLessThanOrEqual(2);
    expect((await ask('GET', `/feed-jobs/${id}`)).body.counts).toMatchObject({ waiting: 20 });
    admitted.refuse = false;
    world.clock.ms += 3001;
    const tasks = await store.claim(1, world.clock.ms, 0, soon());
    expect(tasks[0].attempts).toBe(1);
    while (await one.step());
    expect((await ask('GET', `/feed-jobs/${id}`)).body).toMatchObject({
      status: 'done',
      counts: { done: 20 },
    });
  });

  it('tries a page that fails again, and at last calls it failed; a job with no page at all has failed', async () => {
    const [good, bad] = [newUser(), newUser()];
    let tries = 0;
    const failing: ComputePage = async (userId, limit, signal) => {
      if (userId !== bad) return compute(userId, limit, signal);
      tries++;
      throw new Error('this user breaks it');
    };
    const both = await made([good, bad]);
    const alone = await made([bad]);
    for (let i = 0; i < 20; i++) {
      await runAll(failing);
      world.clock.ms += HOUR / 2;
    }
    expect(tries).toBe(10);
    expect((await ask('GET', `/feed-jobs/${both}`)).body).toMatchObject({
      status: 'done',
      counts: { done: 1, failed: 1 },
    });
    expect((await ask('GET', `/feed-jobs/${alone}`)).body).toMatchObject({
      status: 'failed',
      counts: { failed: 1 },
    });
  });

  it('gives up on a user whose page ended its process five times', async () => {
    const id = await made([newUser()]);
    for (let i = 0; i < 5; i++) {
      expect(await store.claim(1, world.clock.ms, LEASE_MS, soon())).toHaveLength(1);
      world.clock.ms += LEASE_MS;
    }
    await runAll(() => Promise.reject(new Error('must not be asked')));
    expect((await ask('GET', `/feed-jobs/${id}`)).body).toMatchObject({ status: 'failed' });
  });

  it('waits for the ranking where a fallback stood in', async () => {
    const id = await made([newUser()]);
    const page = { requestId: 'r', generatedAt: NOW, model: 'm', degraded: [], posts: [] };
    expect(await runner(async () => ({ page, ranked: false })).step()).toBe(false);
    expect((await ask('GET', `/feed-jobs/${id}`)).body.counts).toMatchObject({ waiting: 1, done: 0 });
  });

  it('lets the first users of a small job overtake the last ones of a big job', async () => {
    const big = await made(Array.from({ length: 1000 }, (_, i) => `big-${i}`));
    world.clock.ms += 2000;
    const small = await made(['small']);
    const claimed = await store.claim(300, world.clock.ms, LEASE_MS, soon());
    expect(claimed.filter(({ jobId }) => jobId === big)).toHaveLength(299);
    expect(claimed.filter(({ jobId }) => jobId === small)).toHaveLength(1);
  });

  it('gives back what is under way when the replica ends', async () => {
    const id = await made([newUser(), newUser(), newUser()]);
    const one = runner((_user, _limit, signal) => {
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        if (!signal.aborted) one.close();
      });
    });
    expect(await one.step()).toBe(true);
    expect(await one.step()).toBe(false);
    expect((await ask('GET', `/feed-jobs/${id}`)).body.counts).toMatchObject({ waiting: 3 });
    expect(await store.claim(8, NOW, LEASE_MS, soon())).toHaveLength(3);
  });
});

describe('retention', () => {
  it('ends a job that took too long, keeps it as long again, and then drops it with its results', async () => {
    const id = await made(['u1']);
    const at = (hours: number) => ({ atMs: NOW + hours * HOUR, keptMs: KEPT_MS });
    expect(await store.sweep(at(23), soon())).toEqual({ open: 1, oldestAt: NOW });
    expect(await store.sweep(at(24), soon())).toEqual({ open: 0, oldestAt: null });
    expect((await ask('GET', `/feed-jobs/${id}`)).body).toMatchObject({
      status: 'failed',
      counts: { failed: 1 },
    });
    await store.sweep(at(47), soon());
    expect((await ask('GET', `/feed-jobs/${id}`)).status).toBe(200);
    await store.sweep(at(48), soon());
    expect((await ask('GET', `/feed-jobs/${id}`)).status).toBe(404);
    const [left] = await backends.sql.client.query<{ n: number }>(
      'tests',
      { name: '', text: 'select count(*) as n from feed_job_users where job_id = $1' },
      [id],
      soon(),
    );
    expect(left.n).toBe(0);
  });
});
