import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  deletionResponse,
  edgeResponse,
  erasureResponse,
  feedResponse,
  postResponse,
  problemSchema,
  profileResponse,
  similarResponse,
  userResponse,
} from '../../../src/api/response-schemas.ts';
import { deadlineIn } from '../../../src/deadline.ts';
import { type Backends, NOW, newPosts, newUser, openBackends, openWorld, type World } from './world.ts';

let backends: Backends;
let world: World;

beforeAll(async () => {
  backends = await openBackends();
  world = await openWorld(backends);
}, 60_000);
afterAll(async () => {
  await world.close();
  await backends.close();
});

type Method = 'GET' | 'PUT' | 'DELETE';
async function call(method: Method, url: string, payload?: object) {
  const response = await world.app.inject({ method, url, payload });
  return { status: response.statusCode, body: response.json() };
}
async function problem(method: Method, url: string, payload?: object) {
  const { status, body } = await call(method, url, payload);
  const parsed = problemSchema.parse(body);
  expect(parsed.status).toBe(status);
  return { status, code: parsed.code, fields: parsed.fields.map(({ field }) => field) };
}

describe('a user', () => {
  it('has a profile that is set whole; the time of creation stays', async () => {
    const id = newUser();
    const created = await call('PUT', `/users/${id}`, {
      topics: ['cats'],
      languages: ['en'],
      createdAt: NOW - 5,
    });
    expect(profileResponse.parse(created.body).user).toEqual({
      id,
      topics: ['cats'],
      languages: ['en'],
      createdAt: NOW - 5,
    });
    world.clock.ms += 1000;
    const set = await call('PUT', `/users/${id}`, { showSensitive: true });
    expect(profileResponse.parse(set.body).user).toEqual({ id, showSensitive: true, createdAt: NOW - 5 });
    const read = await call('GET', `/users/${id}`);
    expect(userResponse.parse(read.body).user).toEqual({ id, showSensitive: true, createdAt: NOW - 5 });
    const state = await backends.online.getState(id, '', deadlineIn(5000));
    expect(state?.user).toEqual({ id, showSensitive: true, createdAt: NOW - 5 });
  });

  it('with slashes and emoji in the id is one user', async () => {
    const id = encodeURIComponent(`${newUser()}/🐈/x`);
    await call('PUT', `/users/${id}`, {});
    expect((await call('GET', `/users/${id}`)).status).toBe(200);
    expect((await call('DELETE', `/users/${id}`)).body).toMatchObject({ erased: true });
  });

  it('is refused with bad fields, by name', async () => {
    const cases: [object, string][] = [
      [{ createdAt: null }, 'createdAt'],
      [{ languages: ['english!'] }, 'languages[0]'],
      [{ country: 'Portugal' }, 'country'],
      [{ topics: Array(65).fill('x') }, 'topics'],
      [{ showSensitive: 'yes' }, 'showSensitive'],
      [{ id: 'other' }, 'id'],
      [{ admin: true }, 'admin'],
    ];
    for (const [body, field] of cases) {
      expect(await problem('PUT', '/users/u', body)).toEqual({
        status: 400,
        code: 'invalid_input',
        fields: [field],
      });
    }
    expect(await problem('PUT', `/users/${'x'.repeat(10_000)}`, {})).toMatchObject({
      status: 400,
      fields: ['id'],
    });
  });

  it('follows, blocks and mutes one by one, adding and removing, repeated at will', async () => {
    const id = newUser();
    const paths = [
      'follows/a1',
      'blocks/a2',
      'mutes/authors/a3',
      'mutes/words/Spoiler',
      'mutes/topics/politics%2Flocal',
    ];
    for (const path of paths) {
      for (let i = 0; i < 2; i++) {
        const { status, body } = await call('PUT', `/users/${id}/${path}`);
        expect(status).toBe(200);
        expect(edgeResponse.parse(body)).toMatchObject({ userId: id, on: true });
      }
    }
    const full = userResponse.parse((await call('GET', `/users/${id}`)).body);
    expect(full).toMatchObject({
      user: null,
      follows: ['a1'],
      blocks: ['a2'],
      mutes: { authors: ['a3'], words: ['spoiler'], topics: ['politics/local'] },
    });
    for (const path of paths) {
      for (let i = 0; i < 2; i++) expect((await call('DELETE', `/users/${id}/${path}`)).status).toBe(200);
    }
    expect(await problem('GET', `/users/${id}`)).toMatchObject({ status: 404, code: 'not_found' });
  });

  it('is told which part of an edge is bad', async () => {
    expect(await problem('PUT', '/users/u/follows/u')).toMatchObject({ status: 400, fields: ['authorId'] });
    expect(await problem('PUT', '/users/u/blocks/a%00b')).toMatchObject({
      status: 400,
      fields: ['authorId'],
    });
    expect(await problem('PUT', '/users/u/mutes/words/two%20words')).toMatchObject({
      status: 400,
      fields: ['word'],
    });
    expect(await problem('PUT', `/users/u/mutes/words/${'x'.repeat(65)}`)).toMatchObject({
      status: 400,
      fields: ['word'],
    });
    expect(await problem('PUT', `/users/u/mutes/topics/${'x'.repeat(129)}`)).toMatchObject({
      status: 400,
      fields: ['topic'],
    });
  });

  it('that is not known is not found, and erasing it changes nothing', async () => {
    expect(await problem('GET', '/users/nobody')).toMatchObject({ status: 404, code: 'not_found' });
    expect(erasureResponse.parse((await call('DELETE', '/users/nobody')).body)).toMatchObject({
      erased: false,
    });
  });

  it('is erased from every store', async () => {
    const [liked, other] = newPosts(2);
    await world.addPosts([liked, other]);
    const id = newUser();
    await call('PUT', `/users/${id}`, { topics: ['cats'] });
    await call('PUT', `/users/${id}/blocks/${other.authorId}`);
    const like = { userId: id, postId: liked.id, type: 'like', at: NOW };
    await world.app.inject({ method: 'POST', url: '/events', payload: { events: [like] } });
    await world.app.inject(`/feed/${id}`);
    expect((await call('DELETE', `/users/${id}`)).body).toMatchObject({ erased: true });
    const soon = deadlineIn(5000);
    expect(await backends.sql.getUser(id, soon)).toBeNull();
    expect(await backends.sql.recentEvents(id, 10, soon)).toEqual([]);
    expect(await backends.online.getState(id, '', soon)).toBeNull();
    const feed = feedResponse.parse((await world.app.inject(`/feed/${id}`)).json());
    expect(feed.posts.map((shown) => shown.id)).toEqual(expect.arrayContaining([liked.id, other.id]));
  });

  it('is told when a block or an erasure is stored and not in force, and repeating it helps', async () => {
    let works = false;
    const limping = await openWorld(backends, {
      context: {
        applyNow: (changes) => (works ? world.context.applyNow(changes) : Promise.reject(new Error('no'))),
      },
    });
    const id = newUser();
    const block = () => limping.app.inject({ method: 'PUT', url: `/users/${id}/blocks/a` });
    const refused = await block();
    expect(refused.statusCode).toBe(503);
    expect(refused.headers['retry-after']).toBe('1');
    expect((await limping.app.inject({ method: 'DELETE', url: `/users/${id}` })).statusCode).toBe(503);
    works = true;
    expect((await block()).statusCode).toBe(200);
    await limping.close();
  });
});

describe('a post', () => {
  it('is read, deleted, gone from the next request, and deleting it again says so', async () => {
    const posts = newPosts(2);
    await world.addPosts(posts);
    const [{ id }] = posts;
    expect(postResponse.parse((await call('GET', `/posts/${id}`)).body).post).toMatchObject({
      title: `Title of ${id}`,
    });
    expect(deletionResponse.parse((await call('DELETE', `/posts/${id}`)).body).deleted).toBe(true);
    expect(await problem('GET', `/posts/${id}`)).toMatchObject({ status: 404, code: 'not_found' });
    expect(deletionResponse.parse((await call('DELETE', `/posts/${id}`)).body).deleted).toBe(false);
    const feed = feedResponse.parse((await world.app.inject(`/feed/${newUser()}?limit=100`)).json());
    expect(feed.posts.map((shown) => shown.id)).not.toContain(id);
  });

  it('has similar posts: nearest first, without itself, only what can be served, as many as asked for', async () => {
    const posts = newPosts(12);
    await world.addPosts(posts);
    const [{ id }] = posts;
    const answer = similarResponse.parse((await call('GET', `/posts/${id}/similar?limit=5`)).body);
    expect(answer.posts.length).toBe(5);
    expect(answer.posts.map((near) => near.id)).not.toContain(id);
    const similarities = answer.posts.map(({ similarity }) => similarity);
    expect(similarities).toEqual([...similarities].sort((a, b) => b - a));
    expect(answer.index).toBe('g1');
  });

  it('that is unknown has none, and one that is not indexed yet is worth another try', async () => {
    expect(await problem('GET', '/posts/none/similar')).toMatchObject({ status: 404, code: 'not_found' });
    const [fresh] = newPosts(1);
    await backends.sql.putPosts([fresh], deadlineIn(5000));
    expect(await problem('GET', `/posts/${fresh.id}/similar`)).toMatchObject({
      status: 503,
      code: 'unavailable',
    });
  });

  it.each(['limit=0', 'limit=-1', 'limit=1e9', 'limit=abc', 'limit=NaN'])(
    'refuses similar?%s',
    async (query) => {
      expect(await problem('GET', `/posts/p/similar?${query}`)).toEqual({
        status: 400,
        code: 'invalid_input',
        fields: ['limit'],
      });
    },
  );
});
