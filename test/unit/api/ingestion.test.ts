import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  batchResponse,
  feedResponse,
  type ItemResult,
  problemSchema,
} from '../../../src/api/response-schemas.ts';
import { deadlineIn } from '../../../src/deadline.ts';
import { FeedrankError } from '../../../src/errors.ts';
import { type Backends, NOW, newPosts, newUser, openBackends, openWorld, post, type World } from './world.ts';

let backends: Backends;
let world: World;

beforeAll(async () => {
  backends = await openBackends();
}, 60_000);
afterAll(() => backends.close());
beforeEach(async () => {
  world = await openWorld(backends);
});
afterEach(() => world.close());

async function send(kind: 'posts' | 'events', payload: unknown, headers: Record<string, string> = {}) {
  const response = await world.app.inject({
    method: 'POST',
    url: `/${kind}`,
    headers: { 'content-type': 'application/json', ...headers },
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  });
  return { status: response.statusCode, headers: response.headers, body: response.json() };
}

async function batch(kind: 'posts' | 'events', items: unknown[], headers: Record<string, string> = {}) {
  const { status, body, headers: answered } = await send(kind, { [kind]: items }, headers);
  return { status, headers: answered, ...batchResponse.parse(body) };
}

const statuses = (results: ItemResult[]) => results.map(({ status }) => status);
const event = (userId: string, postId: string, fields: object = {}) => ({
  userId,
  postId,
  type: 'like',
  at: NOW - 1000,
  ...fields,
});

async function storedEvents(userId: string) {
  return backends.sql.recentEvents(userId, 100, deadlineIn(5000));
}

describe('POST /posts', () => {
  it('stores posts, and they can be in the next feed', async () => {
    const posts = newPosts(3);
    const answer = await batch('posts', posts);
    expect(answer).toMatchObject({ status: 200, stored: 3, rejected: 0, degraded: [] });
    world.ranking.push(...posts.map(({ id }) => id));
    const feed = feedResponse.parse((await world.app.inject(`/feed/${newUser()}`)).json());
    expect(feed.posts.map(({ id }) => id)).toEqual(posts.map(({ id }) => id));
  });

  it('says `duplicate` for what was stored just so before, and `stored` for a change, which feeds show', async () => {
    const [first] = newPosts(1);
    await batch('posts', [first]);
    expect(statuses((await batch('posts', [first])).results)).toEqual(['duplicate']);
    await world.app.inject(`/posts/${first.id}`);
    expect(statuses((await batch('posts', [{ ...first, title: 'Other' }])).results)).toEqual(['stored']);
    const shown = await world.app.inject(`/posts/${first.id}`);
    expect(shown.json().post.title).toBe('Other');
  });

  it('rejects bad items one by one, names their fields, and loses nothing else', async () => {
    const [good, late, twin] = newPosts(3);
    const bad: [item: unknown, field: string][] = [
      [null, 'posts[2]'],
      [7, 'posts[3]'],
      ['text', 'posts[4]'],
      [[], 'posts[5]'],
      [{}, 'posts[6].id'],
      [{ ...late, id: '' }, 'posts[7].id'],
      [{ ...late, id: 'x'.repeat(10_000) }, 'posts[8].id'],
      [{ ...late, id: 'a\0b' }, 'posts[9].id'],
      [{ ...late, id: '\ud800' }, 'posts[10].id'],
      [{ ...late, authorId: null }, 'posts[11].authorId'],
      [{ ...late, createdAt: null }, 'posts[12].createdAt'],
      [{ ...late, createdAt: 'yesterday' }, 'posts[13].createdAt'],
      [{ ...late, createdAt: -1 }, 'posts[14].createdAt'],
      [{ ...late, createdAt: NOW + 5 * 60_000 + 1 }, 'posts[15].createdAt'],
      [{ ...late, colour: 'red' }, 'posts[16].colour'],
      [{ ...late, extra: { long: 'x'.repeat(5000) } }, 'posts[17].extra'],
      [{ ...twin, title: 'Another title' }, 'posts[18].id'],
    ];
    const answer = await batch('posts', [good, twin, ...bad.map(([item]) => item), twin]);
    expect(answer.status).toBe(207);
    expect(answer.results.slice(2, -1).map(({ field }) => field)).toEqual(bad.map(([, field]) => field));
    expect(
      answer.results.every(({ reason, status }) => status !== 'rejected' || (reason?.length ?? 0) > 3),
    ).toBe(true);
    expect(answer).toMatchObject({ stored: 2, duplicates: 1, rejected: bad.length });
    expect(answer.results.map(({ index }) => index)).toEqual(answer.results.map((_, i) => i));
    expect(await backends.sql.getPosts([good.id], deadlineIn(5000))).toMatchObject([{ id: good.id }]);
  });

  it('takes a post of five minutes ahead: clocks differ', async () => {
    expect((await batch('posts', newPosts(1, { createdAt: NOW + 5 * 60_000 }))).status).toBe(200);
  });

  it('answers 400 with the results when every item is rejected', async () => {
    expect(await batch('posts', [{}, null])).toMatchObject({ status: 400, rejected: 2, stored: 0 });
  });

  it('names the language of a post that names none, where the text tells', async () => {
    const [german, given, unclear] = newPosts(3);
    german.title = 'Warum sitzt meine Katze immer auf der Tastatur?';
    given.title = german.title;
    given.language = 'en';
    unclear.title = 'lol';
    await batch('posts', [german, given, unclear]);
    const found = await backends.sql.getPosts([german.id, given.id, unclear.id], deadlineIn(5000));
    expect(found.map((stored) => stored?.language)).toEqual(['de', 'en', undefined]);
  });
});

describe('POST /events', () => {
  it('stores events; what was engaged with does not come back', async () => {
    const posts = newPosts(3);
    await world.addPosts(posts);
    const userId = newUser();
    expect(await batch('events', [event(userId, posts[0].id)])).toMatchObject({ status: 200, stored: 1 });
    const feed = feedResponse.parse((await world.app.inject(`/feed/${userId}`)).json());
    expect(feed.posts.map(({ id }) => id)).toEqual([posts[1].id, posts[2].id]);
  });

  it('takes duplicates once, within a batch and across batches', async () => {
    const [target] = newPosts(1);
    await world.addPosts([target]);
    const userId = newUser();
    const like = event(userId, target.id, { id: 'e1' });
    expect(statuses((await batch('events', [like, like])).results)).toEqual(['stored', 'duplicate']);
    expect(statuses((await batch('events', [like])).results)).toEqual(['duplicate']);
    // Without an id the same user, post, type and time are the same event.
    const unnamed = event(userId, target.id, { type: 'click' });
    expect(statuses((await batch('events', [unnamed, unnamed])).results)).toEqual(['stored', 'duplicate']);
    expect((await storedEvents(userId)).length).toBe(2);
  });

  it('takes contradictory events both, and refuses two contents under one id', async () => {
    const [target] = newPosts(1);
    await world.addPosts([target]);
    const userId = newUser();
    const answer = await batch('events', [
      event(userId, target.id),
      event(userId, target.id, { type: 'unlike' }),
      event(userId, target.id, { type: 'not_interested', id: 'x' }),
      event(userId, target.id, { type: 'like', id: 'x' }),
    ]);
    expect(statuses(answer.results)).toEqual(['stored', 'stored', 'stored', 'rejected']);
    expect(answer.results[3].field).toBe('events[3].id');
  });

  it('rejects bad items one by one, names their fields, and loses nothing else', async () => {
    const [target, gone] = newPosts(2);
    await world.addPosts([target, gone]);
    await world.app.inject({ method: 'DELETE', url: `/posts/${gone.id}` });
    const userId = newUser();
    const bad: [item: object | null, field: string][] = [
      [null, 'events[1]'],
      [event(userId, 'no-such-post'), 'events[2].postId'],
      [event(userId, gone.id), 'events[3].postId'],
      [event(userId, target.id, { at: NOW + 5 * 60_000 + 1 }), 'events[4].at'],
      [event(userId, target.id, { at: null }), 'events[5].at'],
      [event(userId, target.id, { type: 'love' }), 'events[6].type'],
      [event(userId, target.id, { type: 'dwell' }), 'events[7].dwellMs'],
      [event(userId, target.id, { type: 'dwell', dwellMs: -1 }), 'events[8].dwellMs'],
      [event(userId, target.id, { position: 1.5 }), 'events[9].position'],
      [event(userId, target.id, { token: 'forged' }), 'events[10].token'],
      [event('', target.id), 'events[11].userId'],
      [event(`a\0b`, target.id), 'events[12].userId'],
      [event(userId, target.id, { extra: 1 }), 'events[13].extra'],
    ];
    const answer = await batch('events', [event(userId, target.id), ...bad.map(([item]) => item)]);
    expect(answer).toMatchObject({ status: 207, stored: 1, rejected: bad.length });
    expect(answer.results.slice(1).map(({ field }) => field)).toEqual(bad.map(([, field]) => field));
    expect((await storedEvents(userId)).length).toBe(1);
  });

  it('checks tracking tokens against user, post and position, and takes the position from them', async () => {
    const posts = newPosts(3);
    await world.addPosts(posts);
    const [userId, other] = [newUser(), newUser()];
    const feed = feedResponse.parse((await world.app.inject(`/feed/${userId}`)).json());
    const { token } = feed.posts[1];
    const [id, otherPost] = [feed.posts[1].id, feed.posts[2].id];
    const answer = await batch('events', [
      event(userId, id, { token }),
      event(userId, id, { token, position: 1, type: 'click' }),
      event(userId, id, { token, position: 2, type: 'share' }),
      event(userId, otherPost, { token }),
      event(other, id, { token }),
      event(userId, id, { token: `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}` }),
    ]);
    expect(statuses(answer.results)).toEqual(['stored', 'stored', ...Array(4).fill('rejected')]);
    expect(answer.results.slice(2).map(({ field }) => field?.split('.')[1])).toEqual([
      'position',
      'token',
      'token',
      'token',
    ]);
    expect((await storedEvents(userId)).map(({ position }) => position)).toEqual([1, 1]);
  });
});

describe('the envelope', () => {
  it.each([
    { name: 'a bare list', payload: [], fields: ['body'] },
    { name: 'null', payload: 'null', fields: ['body'] },
    { name: 'a number', payload: '7', fields: ['body'] },
    { name: 'nothing', payload: '', fields: ['body'] },
    { name: 'malformed JSON', payload: '{"events": [', fields: ['body'] },
    { name: 'NaN', payload: '{"events": [NaN]}', fields: ['body'] },
    { name: 'Infinity', payload: '{"events": [Infinity]}', fields: ['body'] },
    { name: 'a poisoned prototype', payload: '{"__proto__": {"x": 1}, "events": []}', fields: ['body'] },
    { name: 'no list', payload: {}, fields: ['events'] },
    { name: 'an empty list', payload: { events: [] }, fields: ['events'] },
    { name: 'too long a list', payload: { events: Array(1001).fill(0) }, fields: ['events'] },
    { name: 'an unknown field', payload: { events: [0], colour: 1 }, fields: ['colour'] },
  ])('is refused: $name', async ({ payload, fields }) => {
    const { status, body } = await send('events', payload);
    expect(status).toBe(400);
    const problem = problemSchema.parse(body);
    expect(problem.code).toBe('invalid_input');
    expect(problem.fields.map(({ field }) => field)).toEqual(fields);
  });

  it('is refused in another content type, and without one', async () => {
    for (const type of ['text/plain', 'application/xml', 'application/x-www-form-urlencoded', '']) {
      const headers = { 'content-type': type };
      const response = await world.app.inject({
        method: 'POST',
        url: '/events',
        headers,
        payload: '{"events":[0]}',
      });
      expect(problemSchema.parse(response.json())).toMatchObject({
        status: 415,
        code: 'unsupported_media_type',
      });
    }
  });

  it('is refused at 50 MB without being read', async () => {
    const { status, body } = await send('posts', JSON.stringify({ posts: ['x'.repeat(50 << 20)] }));
    expect(status).toBe(413);
    expect(problemSchema.parse(body).code).toBe('payload_too_large');
  });

  it('an event with numbers beyond a double is rejected, not stored as Infinity', async () => {
    const { status, body } = await send(
      'events',
      '{"events":[{"userId":"u","postId":"p","type":"like","at":1e999}]}',
    );
    expect(status).toBe(400);
    expect(batchResponse.parse(body).results[0].field).toBe('events[0].at');
  });
});

describe('an Idempotency-Key', () => {
  it('gives the first answer again for the same body and a conflict for another', async () => {
    const [one, two] = newPosts(2);
    const headers = { 'idempotency-key': `key-${one.id}` };
    const first = await batch('posts', [one, {}], headers);
    const again = await batch('posts', [one, {}], headers);
    expect(first.headers['idempotent-replayed']).toBeUndefined();
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(again.status).toBe(207);
    expect(again.results).toEqual(first.results);
    expect(again.requestId).not.toBe(first.requestId);
    const other = await send('posts', { posts: [two] }, headers);
    expect(other.status).toBe(409);
    expect(problemSchema.parse(other.body)).toMatchObject({
      code: 'conflict',
      fields: [{ field: 'idempotency-key' }],
    });
    // Another route is another namespace.
    expect((await send('events', { events: [0] }, headers)).status).toBe(400);
  });

  it('lets one of two simultaneous requests work and gives its answer to both', async () => {
    const posts = newPosts(5);
    const headers = { 'idempotency-key': `key-${posts[0].id}` };
    const answers = await Promise.all([batch('posts', posts, headers), batch('posts', posts, headers)]);
    expect(answers.map(({ stored }) => stored)).toEqual([5, 5]);
    expect(answers.filter((answer) => answer.headers['idempotent-replayed'] === 'true').length).toBe(1);
  });

  it('of a refused or failed request can be used again', async () => {
    const [one] = newPosts(1);
    const userId = newUser();
    const headers = { 'idempotency-key': `key-${one.id}` };
    expect((await batch('events', [event(userId, one.id)], headers)).status).toBe(400);
    await world.addPosts([one]);
    expect((await batch('events', [event(userId, one.id)], headers)).status).toBe(200);
  });

  it.each(['', 'with space', 'x'.repeat(201), 'ü'])('is refused when it is not one: "%s"', async (key) => {
    const { status, body } = await send('posts', { posts: [{}] }, { 'idempotency-key': key });
    expect(status).toBe(400);
    expect(problemSchema.parse(body).fields.map(({ field }) => field)).toEqual(['idempotency-key']);
  });

  it('that cannot be kept does not stop the write, and the answer says so', async () => {
    const broken = () => Promise.reject(new FeedrankError('unavailable', 'down'));
    const limping = await openWorld(backends, {
      context: { stores: { ...world.context.stores, sessions: { get: broken, set: broken } } },
    });
    const response = await limping.app.inject({
      method: 'POST',
      url: '/posts',
      headers: { 'idempotency-key': 'k' },
      payload: { posts: newPosts(1) },
    });
    expect(response.json()).toMatchObject({ stored: 1, degraded: ['idempotency_unavailable'] });
    await limping.close();
  });
});

describe('when something is down', () => {
  it('a store that does not commit is a 503, and nothing is said to be stored', async () => {
    const failing = await openWorld(backends, {
      context: {
        stores: {
          ...world.context.stores,
          posts: {
            ...world.context.stores.posts,
            putPosts: () => Promise.reject(new FeedrankError('unavailable', 'down')),
          },
        },
      },
    });
    const response = await failing.app.inject({
      method: 'POST',
      url: '/posts',
      payload: { posts: [post('p')] },
    });
    expect(problemSchema.parse(response.json())).toMatchObject({ status: 503, code: 'unavailable' });
    await failing.close();
  });

  it('a commit that cannot be applied at once is stored all the same, and the answer says so', async () => {
    const failing = await openWorld(backends, {
      context: { applyNow: () => Promise.reject(new Error('no')) },
    });
    const response = await failing.app.inject({
      method: 'POST',
      url: '/posts',
      payload: { posts: newPosts(1) },
    });
    expect(response.statusCode).toBe(200);
    expect(response.json()).toMatchObject({ stored: 1, degraded: ['apply_delayed'] });
    await failing.close();
  });

  it('more requests than may wait are refused with Retry-After, the others are served', async () => {
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    let applying = 0;
    const small = await openWorld(backends, {
      config: { ingestConcurrency: 1, ingestQueue: 1 },
      context: {
        applyNow: () => {
          applying++;
          return gate;
        },
      },
    });
    const post = () => small.app.inject({ method: 'POST', url: '/posts', payload: { posts: newPosts(1) } });
    const running = post();
    await vi.waitFor(() => expect(applying).toBe(1), 10_000);
    // One of the two waits for the first, the other finds the queue full.
    const others = [post(), post()];
    const refused = await Promise.race(others);
    expect(refused.statusCode).toBe(503);
    expect(refused.headers['retry-after']).toBe('1');
    expect(problemSchema.parse(refused.json()).code).toBe('overloaded');
    open();
    const statuses = (await Promise.all([running, ...others])).map(({ statusCode }) => statusCode);
    expect(statuses.sort()).toEqual([200, 200, 503]);
    await small.close();
  });
});
