import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newPostsResponse } from '../../../src/api/response-schemas.ts';
import {
  type Backends,
  downBackends,
  NOW,
  newPosts,
  newUser,
  openBackends,
  openWorld,
  type World,
} from './world.ts';

let backends: Backends;
let world: World;

beforeAll(async () => {
  backends = await openBackends();
  world = await openWorld(backends);
});
afterAll(async () => {
  await world.close();
  await backends.close();
});

async function waiting(userId: string, since: number) {
  const response = await world.app.inject(`/feed/${userId}/new?since=${since}`);
  expect(response.statusCode, response.body).toBe(200);
  return newPostsResponse.parse(response.json());
}

async function feed(userId: string, query = '') {
  const { posts, generatedAt, nextCursor } = (
    await world.app.inject(`/feed/${userId}?limit=5${query}`)
  ).json();
  return { ids: posts.map(({ id }: { id: string }) => id) as string[], generatedAt, nextCursor };
}

describe('newer than', () => {
  it('tells how many posts wait, and a refresh gives them without what was delivered', async () => {
    const userId = newUser();
    await world.addPosts(newPosts(20));
    const first = await feed(userId);
    const second = await feed(userId, `&cursor=${encodeURIComponent(first.nextCursor)}`);
    expect(await waiting(userId, first.generatedAt)).toMatchObject({ count: 0, following: 0, degraded: [] });
    world.clock.ms += 60_000;
    const [blocked, friend, other] = newPosts(3, { createdAt: world.clock.ms });
    await world.addPosts([blocked, friend, other]);
    world.ranking.unshift(friend.id, other.id);
    await world.app.inject({ method: 'PUT', url: `/users/${userId}/blocks/${blocked.authorId}` });
    await world.app.inject({ method: 'PUT', url: `/users/${userId}/follows/${friend.authorId}` });
    expect(await waiting(userId, first.generatedAt)).toMatchObject({ count: 2, following: 1, more: false });
    const refreshed = await feed(userId);
    expect(refreshed.ids.slice(0, 2)).toEqual([friend.id, other.id]);
    const before = [...first.ids, ...second.ids];
    expect(refreshed.ids.filter((id) => before.includes(id))).toEqual([]);
    expect(await waiting(userId, first.generatedAt)).toMatchObject({ count: 0 });
    expect(await waiting(userId, refreshed.generatedAt)).toMatchObject({ count: 0 });
  });

  it('counts nothing twice while what was delivered is being written: a state read before the write has it not', async () => {
    const { online } = backends;
    const { promise: written, resolve: write } = Promise.withResolvers<void>();
    const state = new Proxy(online, {
      get(_, key) {
        if (key === 'putState') {
          return (...given: Parameters<typeof online.putState>) =>
            written.then(() => online.putState(...given));
        }
        if (key === 'getState') {
          return async (...given: Parameters<typeof online.getState>) => {
            const before = await online.getState(...given);
            write();
            await expect.poll(() => online.getState(...given)).toBeTruthy();
            // The recorder forgets what was written.
            await new Promise((resolve) => setTimeout(resolve, 20));
            return before;
          };
        }
        const value = Reflect.get(online, key);
        return typeof value === 'function' ? value.bind(online) : value;
      },
    });
    const slow = await openWorld({ ...backends, online: state });
    try {
      const userId = newUser();
      const posts = newPosts(3, { createdAt: NOW });
      await slow.addPosts(posts);
      slow.script.slate = (_request, usual) => ({
        ...usual,
        posts: usual.posts.filter(({ postId }) => posts.some(({ id }) => id === postId)),
      });
      const { posts: given } = (await slow.app.inject(`/feed/${userId}?limit=3`)).json();
      expect(given).toHaveLength(3);
      const response = await slow.app.inject(`/feed/${userId}/new?since=${NOW - 1}`);
      expect(response.json()).toMatchObject({ count: 0 });
    } finally {
      await slow.close();
    }
  });

  it.each(['', '?since=', '?since=yesterday', '?since=-1', '?since=1.5', '?since=9e99', '?since=1&x=1'])(
    'refuses %j',
    async (query) => {
      const response = await world.app.inject(`/feed/${newUser()}/new${query}`);
      expect(response.statusCode).toBe(400);
      expect(response.json().code).toBe('invalid_input');
    },
  );

  it('stands in the OpenAPI document with what it counts and who may ask', async () => {
    const documented = await openWorld(backends, { config: { docs: true } });
    try {
      const { paths } = (await documented.app.inject('/docs/json')).json();
      const { description, parameters } = paths['/feed/{userId}/new'].get;
      expect(description).toMatch(/without a cursor.*Scope: feed:read/s);
      expect(parameters.map(({ name }: { name: string }) => name).sort()).toEqual(['since', 'userId']);
    } finally {
      await documented.close();
    }
  });

  it('counts without the user where no store answers, and says so', async () => {
    const down = downBackends();
    const dark = await openWorld(down);
    try {
      const [late] = newPosts(1, { createdAt: NOW + 1 });
      dark.memory.set(late.id, late);
      const response = await dark.app.inject(`/feed/${newUser()}/new?since=${NOW}`);
      expect(response.json()).toMatchObject({ count: 1, degraded: ['user_state_unavailable'] });
    } finally {
      await dark.close();
      await down.close();
    }
  });
});
