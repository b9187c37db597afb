// The rungs that need the HTTP layer: what a reader gets when something below is down or there is too much work. Sources
// are tested in candidates/retrieve, models in ranking/ranker-ladder, the user's rungs in hydrate, timing in simulation.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Admission } from '../../../src/admission.ts';
import { feedResponse } from '../../../src/api/response-schemas.ts';
import type { EdgeKind } from '../../../src/contracts.ts';
import type { Deadline } from '../../../src/deadline.ts';
import { FeedrankError } from '../../../src/errors.ts';
import { type Backends, NOW, newPosts, newUser, openBackends, openWorld, type World } from '../api/world.ts';

let backends: Backends;

beforeAll(async () => {
  backends = await openBackends();
}, 60_000);
afterAll(() => backends.close());

const down = () => Promise.reject(new FeedrankError('unavailable', 'down'));

async function feed(world: World, userId: string, query = '', headers: Record<string, string> = {}) {
  const response = await world.app.inject({ url: `/feed/${userId}?${query}`, headers });
  return { status: response.statusCode, headers: response.headers, body: response.json() };
}

/** The real stores behind a switch. */
function switched() {
  const { sql, online } = backends;
  const gate = { isDown: false };
  const gated = <T extends object>(store: T): T =>
    new Proxy(store, {
      get(target, key) {
        const value = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => (gate.isDown ? down() : value.apply(target, args));
      },
    });
  const [posts, state] = [gated(sql), gated(online)];
  const stores = { posts, users: posts, events: posts, servingLog: posts, state, sessions: state };
  return { gate, stores };
}

describe('while every store is down and no slate can be made', () => {
  async function openBroken() {
    const { gate, stores } = switched();
    const world = await openWorld(backends, { config: { slateSize: 20 }, context: { stores } });
    const posts = newPosts(6);
    posts[1].authorId = posts[3].authorId = 'blocked-later';
    await world.addPosts(posts);
    const breakAll = () => {
      gate.isDown = true;
      world.script.slate = down;
    };
    return { world, ids: posts.map(({ id }) => id), breakAll };
  }

  it('the last good slate is shown, and a block that was made after it still holds', async () => {
    const { world, ids, breakAll } = await openBroken();
    const userId = newUser();
    await feed(world, userId, 'limit=1');
    const blocked = await world.app.inject({ method: 'PUT', url: `/users/${userId}/blocks/blocked-later` });
    expect(blocked.statusCode).toBe(200);
    breakAll();
    const { status, body } = await feed(world, userId, 'limit=6');
    expect(status).toBe(200);
    const page = feedResponse.parse(body);
    expect(page.degraded).toEqual(
      expect.arrayContaining(['ranking_unavailable', 'last_good_slate', 'user_edges_unavailable']),
    );
    // Whether the first post was seen is not known without the stores; whose posts are blocked is.
    const shown = page.posts.map(({ id }) => id);
    expect(shown).toEqual(expect.arrayContaining([ids[2], ids[4], ids[5]]));
    expect(shown).not.toEqual(expect.arrayContaining([ids[1]]));
    expect(shown).not.toEqual(expect.arrayContaining([ids[3]]));
    await world.close();
  });

  it('a stranger gets what trends, and goes on from page to page without a repeat', async () => {
    const { world, breakAll } = await openBroken();
    breakAll();
    const userId = newUser();
    const first = await feed(world, userId, 'limit=2');
    expect(first.status).toBe(200);
    expect(first.body.degraded).toEqual(
      expect.arrayContaining(['ranking_unavailable', 'trending_only', 'session_store_unavailable']),
    );
    const next = await feed(world, userId, `limit=2&cursor=${first.body.nextCursor}`);
    const shown = [...first.body.posts, ...next.body.posts].map(({ id }: { id: string }) => id);
    expect(shown.length).toBe(4);
    expect(new Set(shown).size).toBe(4);
    await world.close();
  });
});

describe('while no slate can be made', () => {
  it('what was read of the user for it still holds, also when no store answers any more', async () => {
    const { gate, stores } = switched();
    const world = await openWorld(backends, { config: { slateSize: 20 }, context: { stores } });
    const posts = newPosts(5);
    posts[0].authorId = 'blocked';
    posts[1].authorId = 'muted';
    posts[2].topic = 'muted-topic';
    posts[3].sensitive = true;
    await world.addPosts(posts);
    const userId = newUser();
    const edge = (kind: EdgeKind, target: string) => ({ userId, kind, target, createdAt: NOW });
    world.script.slate = (request) => {
      request.onReader?.({
        edges: [edge('block', 'blocked'), edge('mute_author', 'muted'), edge('mute_topic', 'muted-topic')],
        seen: new Uint32Array(0),
        showSensitive: false,
      });
      gate.isDown = true;
      return down();
    };
    const { status, body } = await feed(world, userId, 'limit=5');
    expect(status).toBe(200);
    expect(body.degraded).toContain('trending_only');
    expect(body.degraded).not.toContain('user_edges_unavailable');
    const shown = body.posts.map(({ id }: { id: string }) => id);
    expect(shown).toContain(posts[4].id);
    for (const hidden of posts.slice(0, 4)) expect(shown).not.toContain(hidden.id);
    await world.close();
  });
});

describe('while the post store hangs', () => {
  it('the page comes without texts, long before its deadline, and its store was given that much less time', async () => {
    let givenMs = Number.POSITIVE_INFINITY;
    const posts = new Proxy(backends.sql, {
      get(target, key) {
        if (key !== 'getPosts') return Reflect.get(target, key, target);
        return (_ids: string[], deadline: Deadline) => {
          givenMs = Math.min(givenMs, deadline.remainingMs());
          return new Promise(() => {});
        };
      },
    });
    const { sql, online } = backends;
    const stores = { posts, users: sql, events: sql, servingLog: sql, state: online, sessions: online };
    const config = { textsWaitMs: 100, feedDeadlineMs: 30_000 };
    const world = await openWorld(backends, { config, context: { stores, clock: { now: Date.now } } });
    const added = newPosts(3);
    await world.addPosts(added);
    const { status, body } = await feed(world, newUser(), 'limit=3');
    expect(status).toBe(200);
    expect(body.degraded).toContain('post_store_unavailable');
    expect(body.posts.map(({ id }: { id: string }) => id)).toEqual(added.map(({ id }) => id));
    expect(body.posts[0].post).toBeNull();
    expect(givenMs).toBeLessThanOrEqual(100);
    await world.close();
  });
});

describe('with too much work', () => {
  /** A world in which slates stay unmade until told, so that requests pile up. */
  async function openBusy() {
    const admission = new Admission({ workers: 1, deadlineMs: 10_000 });
    const world = await openWorld(backends, { context: { admission } });
    await world.addPosts(newPosts(3));
    const { promise, resolve } = Promise.withResolvers<void>();
    world.script.slate = async (_request, usual) => {
      await promise;
      return usual;
    };
    const pile = (count: number, query = '') =>
      Array.from({ length: count }, () => feed(world, newUser(), query));
    return { world, admission, pile, finish: resolve };
  }

  it('slates rank fewer candidates first, then prefetches are refused, and readers last', async () => {
    const { world, admission, pile, finish } = await openBusy();
    const readers = pile(24);
    await expect.poll(() => world.slateRequests.length).toBe(24);
    expect(world.slateRequests[0].quality).toBe(1);
    expect(world.slateRequests.at(-1)?.quality).toBe(0.25);
    const prefetch = await feed(world, newUser(), 'priority=prefetch');
    expect(prefetch.status).toBe(503);
    expect(prefetch.body.code).toBe('overloaded');
    expect(Number(prefetch.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect((await feed(world, newUser())).status).toBe(503);
    finish();
    const answers = await Promise.all(readers);
    expect(answers.map(({ status }) => status)).toEqual(Array(24).fill(200));
    expect(admission.inFlight('interactive')).toBe(0);
    expect((await feed(world, newUser())).status).toBe(200);
    await world.close();
  });

  it('a header says what is a prefetch, and readers come in past any number of those', async () => {
    const { world, pile, finish } = await openBusy();
    const prefetches = Array.from({ length: 40 }, () =>
      feed(world, newUser(), '', { 'sec-purpose': 'prefetch' }),
    );
    await expect.poll(() => world.slateRequests.length).toBe(12);
    const readers = pile(12);
    await expect.poll(() => world.slateRequests.length).toBe(24);
    finish();
    const statuses = (await Promise.all(prefetches)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 503).length).toBe(28);
    expect((await Promise.all(readers)).every(({ status }) => status === 200)).toBe(true);
    await world.close();
  });

  it('a priority that does not exist is refused by name', async () => {
    const { world } = await openBusy();
    const { status, body } = await feed(world, newUser(), 'priority=urgent');
    expect(status).toBe(400);
    expect(body.fields[0].field).toBe('priority');
    await world.close();
  });
});
