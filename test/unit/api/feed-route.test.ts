import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type FeedResponse, feedResponse, problemSchema } from '../../../src/api/response-schemas.ts';
import { deadlineIn } from '../../../src/deadline.ts';
import { FeedrankError } from '../../../src/errors.ts';
import { type Backends, NOW, newPosts, newUser, openBackends, openWorld, type World } from './world.ts';

let backends: Backends;
let world: World;

beforeAll(async () => {
  backends = await openBackends();
}, 60_000);
afterAll(() => backends.close());
beforeEach(async () => {
  world = await openWorld(backends, { config: { slateSize: 30 } });
});
afterEach(() => world.close());

async function get(url: string) {
  const response = await world.app.inject({ method: 'GET', url });
  return { status: response.statusCode, headers: response.headers, body: response.json() };
}

async function feed(userId: string, query = ''): Promise<FeedResponse> {
  const { status, body } = await get(`/feed/${encodeURIComponent(userId)}?${query}`);
  expect(body).toMatchObject({ requestId: expect.any(String) });
  expect(status).toBe(200);
  return feedResponse.parse(body);
}

async function problem(url: string) {
  const { status, headers, body } = await get(url);
  expect(headers['content-type']).toContain('application/problem+json');
  const parsed = problemSchema.parse(body);
  expect(parsed.status).toBe(status);
  return { status, code: parsed.code, fields: parsed.fields.map(({ field }) => field) };
}

async function scroll(userId: string, limit: number, between?: (page: FeedResponse) => Promise<void> | void) {
  const ids: string[] = [];
  let page = await feed(userId, `limit=${limit}`);
  for (let guard = 0; guard < 100; guard++) {
    ids.push(...page.posts.map(({ id }) => id));
    await between?.(page);
    if (page.end) return ids;
    page = await feed(userId, `limit=${limit}&cursor=${page.nextCursor}`);
  }
  throw new Error('the feed does not end');
}

describe('a feed page', () => {
  it('answers in ranked order with request id, tokens, versions, positions and posts', async () => {
    const posts = newPosts(5, { topic: 'cats', text: 'Body' });
    await world.addPosts(posts);
    const { status, headers, body } = await get(`/feed/${newUser()}?limit=3`);
    expect(status).toBe(200);
    const page = feedResponse.parse(body);
    expect(page.posts.map(({ id }) => id)).toEqual(posts.slice(0, 3).map(({ id }) => id));
    expect(page.posts.map(({ position }) => position)).toEqual([0, 1, 2]);
    expect(page).toMatchObject({
      model: 'scripted@1',
      index: 'g1',
      rules: 'r1',
      search: 'exact',
      degraded: [],
    });
    expect(page.posts[0].post).toMatchObject({ title: posts[0].title, topic: 'cats', text: 'Body' });
    expect(page.posts[1].why).toBe('from an author you follow');
    expect(new Set(page.posts.map(({ token }) => token)).size).toBe(3);
    expect(headers['x-request-id']).toBe(page.requestId);
    expect(headers['cache-control']).toBe('private, no-store');
    expect(page.stageMs).toBeUndefined();
  });

  it('gives a feed to a user nobody has heard of', async () => {
    await world.addPosts(newPosts(3));
    for (const userId of ['nobody', 'with/slash and space', '猫🐈', '%', '..%2F']) {
      const page = await feed(userId);
      expect(page.userId).toBe(userId);
      expect(page.posts.length).toBe(3);
    }
  });

  it('is empty and at its end when there is no post at all', async () => {
    expect(await feed(newUser())).toMatchObject({ posts: [], end: true, nextCursor: null, degraded: [] });
  });

  it('does not repeat what a page before delivered when it is asked afresh', async () => {
    const posts = newPosts(6);
    await world.addPosts(posts);
    const userId = newUser();
    const first = await feed(userId, 'limit=3');
    const second = await feed(userId, 'limit=3');
    expect([...first.posts, ...second.posts].map(({ id }) => id)).toEqual(posts.map(({ id }) => id));
  });

  it('leaves out the posts of `exclude`, repeated or comma-separated, also in the slates that follow', async () => {
    const posts = newPosts(40);
    await world.addPosts(posts);
    const [a, b, c] = posts.map(({ id }) => id);
    const userId = newUser();
    const query = `exclude=${a},${b}&exclude=${c}&limit=20`;
    const first = await feed(userId, query);
    const second = await feed(userId, `${query}&cursor=${first.nextCursor}`);
    expect([...first.posts, ...second.posts].map(({ id }) => id)).toEqual(posts.slice(3).map(({ id }) => id));
  });

  it('explains each post when asked, and what was dropped with explain=all', async () => {
    const posts = newPosts(40);
    await world.addPosts(posts);
    const userId = newUser();
    const one = await feed(userId, 'explain=1&limit=2');
    expect(one.posts[0].explain).toMatchObject({ rankedPosition: 0, rules: [{ rule: 'diversity' }] });
    expect(one.posts[0].explain?.heads[0]).toEqual({
      head: 'click',
      probability: 0.25,
      weight: 2,
      contribution: 0.5,
    });
    expect(one.stageMs).toEqual({ retrieve: 1, rank: 2 });
    expect(one.counts).toMatchObject({ retrieved: 40 });
    expect(one.dropped).toBeUndefined();
    const next = await feed(userId, `explain=1&limit=2&cursor=${one.nextCursor}`);
    expect(next.posts[0].explain).toMatchObject({ rankedPosition: 2 });
    const all = await feed(userId, 'explain=all&limit=2');
    expect(all.dropped).toEqual([{ postId: 'dropped-one', reason: 'too_old' }]);
    world.memory.delete(posts[6].id);
    const later = await feed(userId, `explain=all&limit=3&cursor=${all.nextCursor}`);
    expect(later.dropped).toEqual([{ postId: posts[6].id, reason: 'deleted' }]);
  });

  it('asks for exploration in the configured share of slates and logs it', async () => {
    const exploring = await openWorld(backends, { config: { exploreShare: 1 } });
    await exploring.addPosts(newPosts(2));
    const userId = newUser();
    await exploring.app.inject({ url: `/feed/${userId}` });
    expect(exploring.slateRequests[0].explore).toBe(true);
    await exploring.close();
    const records = await servingRecords(userId);
    expect(records[0].explored).toBe(true);
  });
});

async function servingRecords(userId: string) {
  const found = [];
  for await (const batch of backends.sql.scan(100))
    found.push(...batch.filter((record) => record.userId === userId));
  return found;
}

describe('pages', () => {
  it('go on over several slates until nothing is left, each post once and in order', async () => {
    const posts = newPosts(73);
    await world.addPosts(posts);
    expect(await scroll(newUser(), 7)).toEqual(posts.map(({ id }) => id));
    expect(world.slateRequests.length).toBeGreaterThanOrEqual(3);
  });

  it('neither repeat nor skip when new posts arrive on top', async () => {
    const posts = newPosts(20);
    await world.addPosts(posts);
    const arrived: string[] = [];
    const ids = await scroll(newUser(), 4, async () => {
      if (arrived.length >= 10) return;
      const fresh = newPosts(2);
      await world.addPosts(fresh);
      world.ranking.unshift(...fresh.map(({ id }) => id));
      arrived.push(...fresh.map(({ id }) => id));
    });
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => !arrived.includes(id))).toEqual(posts.map(({ id }) => id));
  });

  it('give the same posts again when a request is repeated', async () => {
    await world.addPosts(newPosts(20));
    const userId = newUser();
    const first = await feed(userId, 'limit=5');
    const url = `limit=5&cursor=${first.nextCursor}`;
    const ids = (page: FeedResponse) => page.posts.map(({ id }) => id);
    expect(ids(await feed(userId, url))).toEqual(ids(await feed(userId, url)));
  });

  it('leave out what was deleted, blocked or muted meanwhile and are filled from further down', async () => {
    const posts = newPosts(12);
    posts[3].authorId = 'blocked-author';
    posts[4].authorId = 'muted-author';
    posts[5].topic = 'muted-topic';
    posts[6].text = `${'filler '.repeat(40)}Spoiler!`;
    await world.addPosts(posts);
    const userId = newUser();
    const first = await feed(userId, 'limit=2');
    const change = (method: 'PUT' | 'DELETE', path: string) => world.app.inject({ method, url: path });
    await change('DELETE', `/posts/${posts[2].id}`);
    await change('PUT', `/users/${userId}/blocks/blocked-author`);
    await change('PUT', `/users/${userId}/mutes/authors/muted-author`);
    await change('PUT', `/users/${userId}/mutes/topics/muted-topic`);
    await change('PUT', `/users/${userId}/mutes/words/SPOILER`);
    const second = await feed(userId, `limit=4&cursor=${first.nextCursor}`);
    expect(second.posts.map(({ id }) => id)).toEqual(posts.slice(7, 11).map(({ id }) => id));
    expect(second.posts.map(({ position }) => position)).toEqual([2, 3, 4, 5]);
  });

  it('check the edges of a first page too: a muted word deep in the text', async () => {
    const posts = newPosts(3);
    posts[0].text = `${'filler '.repeat(40)}spoiler`;
    await world.addPosts(posts);
    const userId = newUser();
    await world.app.inject({ method: 'PUT', url: `/users/${userId}/mutes/words/spoiler` });
    expect((await feed(userId)).posts.map(({ id }) => id)).toEqual([posts[1].id, posts[2].id]);
  });

  it('outlive the time of a cursor as long as the user goes on', async () => {
    const posts = newPosts(20);
    await world.addPosts(posts);
    const userId = newUser();
    let page = await feed(userId, 'limit=4');
    for (let i = 0; i < 4; i++) {
      world.clock.ms += 20 * 60_000;
      page = await feed(userId, `limit=4&cursor=${page.nextCursor}`);
    }
    expect(page.posts.map(({ id }) => id)).toEqual(posts.slice(16).map(({ id }) => id));
  });
});

describe('a cursor', () => {
  async function cursorOf(userId: string, query = 'limit=2'): Promise<string> {
    return (await feed(userId, query)).nextCursor as string;
  }

  it('is refused when any character of it was changed', async () => {
    await world.addPosts(newPosts(5));
    const userId = newUser();
    const cursor = await cursorOf(userId);
    const changed = [
      ...[0, 10, cursor.length - 1].map(
        (at) => cursor.slice(0, at) + (cursor[at] === 'A' ? 'B' : 'A') + cursor.slice(at + 1),
      ),
      cursor.slice(1),
      `${cursor}A`,
      `${cursor}=`,
      'A',
      '💥',
      'null',
      '0',
      Buffer.from('{"offset":0}').toString('base64url'),
    ];
    for (const text of changed) {
      const found = await problem(`/feed/${userId}?cursor=${encodeURIComponent(text)}`);
      expect(found).toEqual({ status: 400, code: 'invalid_cursor', fields: ['cursor'] });
    }
    expect((await feed(userId, `cursor=${cursor}`)).posts.length).toBe(3);
  });

  it('is refused for another user and for other parameters', async () => {
    await world.addPosts(newPosts(5));
    const userId = newUser();
    const cursor = await cursorOf(userId);
    for (const url of [
      `/feed/other?cursor=${cursor}`,
      `/feed/${userId}?cursor=${cursor}&explain=1`,
      `/feed/${userId}?cursor=${cursor}&exclude=x`,
    ]) {
      expect(await problem(url)).toMatchObject({ status: 400, code: 'invalid_cursor' });
    }
  });

  it('expires', async () => {
    await world.addPosts(newPosts(5));
    const userId = newUser();
    const cursor = await cursorOf(userId);
    world.clock.ms += 30 * 60_000;
    expect(await problem(`/feed/${userId}?cursor=${cursor}`)).toEqual({
      status: 410,
      code: 'expired_cursor',
      fields: ['cursor'],
    });
  });

  it('of an erased user is worth nothing', async () => {
    await world.addPosts(newPosts(5));
    const userId = newUser();
    const cursor = await cursorOf(userId);
    const erased = await world.app.inject({ method: 'DELETE', url: `/users/${userId}` });
    expect(erased.statusCode).toBe(200);
    expect(await problem(`/feed/${userId}?cursor=${cursor}`)).toMatchObject({
      status: 410,
      code: 'expired_cursor',
    });
    expect((await feed(userId, 'limit=5')).posts.length).toBe(5);
  });
});

describe('bad parameters name the field', () => {
  const cases: [query: string, field: string][] = [
    ...['0', '-1', '1e9', 'abc', 'NaN', 'Infinity', 'null', '', '1.5', '101'].map(
      (limit): [string, string] => [`limit=${limit}`, 'limit'],
    ),
    ['limit=1&limit=2', 'limit'],
    ['explain=2', 'explain'],
    ['explain=', 'explain'],
    ['cursor=', 'cursor'],
    [`cursor=${'A'.repeat(9000)}`, 'cursor'],
    ['colour=red', 'colour'],
    ['LIMIT=3', 'LIMIT'],
    ['__proto__=1', '__proto__'],
    [`exclude=${'x'.repeat(300)}`, 'exclude'],
    [`exclude=${Array.from({ length: 201 }, (_, i) => i).join(',')}`, 'exclude'],
    ['exclude=a%00b', 'exclude'],
  ];
  it.each(cases.map(([query, field]) => ({ shown: query.slice(0, 40), query, field })))(
    '$shown → $field',
    async ({ query, field }) => {
      expect(await problem(`/feed/${newUser()}?${query}`)).toEqual({
        status: 400,
        code: 'invalid_input',
        fields: [field],
      });
    },
  );

  it.each([
    { shown: '10 kB', id: 'x'.repeat(10_000) },
    { shown: 'NUL', id: 'a%00b' },
    { shown: 'nothing', id: '' },
  ])('a user id: $shown', async ({ id }) => {
    expect(await problem(`/feed/${id}`)).toEqual({ status: 400, code: 'invalid_input', fields: ['userId'] });
  });

  it('a path that is not percent-encoded', async () => {
    expect(await problem('/feed/%E0%A4%A')).toEqual({ status: 400, code: 'invalid_input', fields: ['url'] });
  });
});

describe('when something is down', () => {
  const broken = () => Promise.reject(new FeedrankError('unavailable', 'down'));

  async function openBroken(stores: Partial<World['context']['stores']>) {
    await world.close();
    world = await openWorld(backends, {
      config: { slateSize: 30 },
      context: { stores: { ...world.context.stores, ...stores } },
    });
    const posts = newPosts(20);
    await world.addPosts(posts);
    return posts.map(({ id }) => id);
  }

  it('the cursor carries what was delivered while the session store is down', async () => {
    const ids = await openBroken({ sessions: { get: broken, set: broken } });
    // Without recorded posts, so that only the cursor can keep them from coming again.
    world.context.stores.state.putState = broken;
    const userId = newUser();
    const first = await feed(userId, 'limit=6');
    const second = await feed(userId, `limit=6&cursor=${first.nextCursor}`);
    const third = await feed(userId, `limit=20&cursor=${second.nextCursor}`);
    expect([...first.posts, ...second.posts, ...third.posts].map(({ id }) => id)).toEqual(ids);
    expect(third.posts.at(-1)?.position).toBe(19);
    expect(first.degraded).toEqual(['session_store_unavailable']);
    expect(third.end).toBe(true);
  });

  it('a page does not wait for a session store that is slow, and the next one finds its place', async () => {
    const waiting: (() => void)[] = [];
    const { online } = backends;
    const ids = await openBroken({
      sessions: {
        get: (key, deadline) => online.get(key, deadline),
        set: () => new Promise((resolve) => waiting.push(resolve)),
      },
    });
    const userId = newUser();
    const first = await feed(userId, 'limit=6');
    const second = await feed(userId, `limit=6&cursor=${first.nextCursor}`);
    expect(waiting.length).toBe(1);
    expect([...first.posts, ...second.posts].map(({ id }) => id)).toEqual(ids.slice(0, 12));
    expect([...first.degraded, ...second.degraded]).toEqual([]);
    const erased = world.app.inject({ method: 'DELETE', url: `/users/${userId}` });
    // Not even the snapshot in memory outlives the user.
    await vi.waitFor(() => expect(waiting.length).toBe(2), 10_000);
    for (const resolve of waiting) resolve();
    expect((await erased).statusCode).toBe(200);
    expect(await problem(`/feed/${userId}?limit=6&cursor=${first.nextCursor}`)).toMatchObject({
      status: 410,
    });
  });

  it('a session that cannot be read is replaced by a fresh slate without the posts already seen', async () => {
    let down = false;
    const writes: Promise<void>[] = [];
    const { online } = backends;
    const ids = await openBroken({
      sessions: {
        get: (key, deadline) => (down ? broken() : online.get(key, deadline)),
        set: (key, value, ttl, deadline) => {
          const write = down ? broken() : online.set(key, value, ttl, deadline);
          writes.push(write);
          return write;
        },
      },
    });
    const userId = newUser();
    const first = await feed(userId, 'limit=6');
    await Promise.all(writes);
    down = true;
    const second = await feed(userId, `limit=6&cursor=${first.nextCursor}`);
    expect(second.posts.map(({ id }) => id)).toEqual(ids.slice(6, 12));
    expect(second.degraded).toEqual(['session_store_unavailable']);
    down = false;
    const third = await feed(userId, `limit=6&cursor=${second.nextCursor}`);
    expect(third.posts.map(({ id }) => id)).toEqual(ids.slice(12, 18));
    expect(third.degraded).toEqual([]);
  });

  it('blocks still hold from the SQL store when the state store is down', async () => {
    let down = false;
    const { online } = backends;
    const ids = await openBroken({
      state: {
        getState: (...args) => (down ? broken() : online.getState(...args)),
        putState: (...args) => online.putState(...args),
        putStates: (...args) => online.putStates(...args),
        eraseState: (...args) => online.eraseState(...args),
      },
    });
    const userId = newUser();
    const first = await feed(userId, 'limit=2');
    await world.app.inject({ method: 'PUT', url: `/users/${userId}/blocks/author-of-${ids[2]}` });
    down = true;
    const second = await feed(userId, `limit=2&cursor=${first.nextCursor}`);
    expect(second.posts.map(({ id }) => id)).toEqual(ids.slice(3, 5));
  });

  it('posts come without their content, and blocks hold by hash, while the post store is down', async () => {
    const ids = await openBroken({ posts: { ...backends.sql, getPosts: broken } as never });
    const userId = newUser();
    await world.app.inject({ method: 'PUT', url: `/users/${userId}/blocks/author-of-${ids[0]}` });
    const page = await feed(userId, 'limit=2');
    expect(page.posts.map(({ id, post }) => [id, post])).toEqual([
      [ids[1], null],
      [ids[2], null],
    ]);
    expect(page.degraded).toEqual(['post_store_unavailable']);
  });

  it('the last good slate is shown when no slate can be made, then what is trending', async () => {
    const posts = newPosts(8);
    await world.addPosts(posts);
    const ids = posts.map(({ id }) => id);
    const userId = newUser();
    await feed(userId, 'limit=2');
    world.script.slate = () => {
      throw new FeedrankError('timeout', 'late');
    };
    const known = await feed(userId, 'limit=4');
    expect(known.posts.map(({ id }) => id)).toEqual(ids.slice(2, 6));
    expect(known.degraded).toEqual(['ranking_unavailable', 'last_good_slate']);
    const stranger = newUser();
    const unknown = await feed(stranger, 'limit=4');
    expect(unknown.posts.map(({ id }) => id)).toEqual(ids.slice(0, 4));
    expect(unknown).toMatchObject({ model: 'trending', degraded: ['ranking_unavailable', 'trending_only'] });
    // Still neither repeated nor skipped.
    const next = await feed(stranger, `limit=10&cursor=${unknown.nextCursor}`);
    expect(next.posts.map(({ id }) => id)).toEqual(ids.slice(4));
    // Not the end: the ranker did not say so.
    expect(next.end).toBe(false);
  });

  it('what is trending leaves out the reader’s own posts, and sensitive ones but for who wants them', async () => {
    const [mine, sensitive, plain] = newPosts(3);
    const userId = newUser();
    await world.addPosts([{ ...mine, authorId: userId }, { ...sensitive, sensitive: true }, plain]);
    world.script.slate = () => {
      throw new FeedrankError('timeout', 'late');
    };
    expect((await feed(userId, 'limit=3')).posts.map(({ id }) => id)).toEqual([plain.id]);
    const open = newUser();
    await world.app.inject({ method: 'PUT', url: `/users/${open}`, payload: { showSensitive: true } });
    expect((await feed(open, 'limit=3')).posts.map(({ id }) => id)).toEqual([
      mine.id,
      sensitive.id,
      plain.id,
    ]);
  });

  it('a ranker that ignores `exclude` and repeats itself neither repeats a post nor runs forever', async () => {
    const posts = newPosts(6);
    await world.addPosts(posts);
    world.script.slate = (_request, usual) => {
      const [first] = usual.posts;
      const all = posts.map(({ id }) => ({
        ...(first ?? { score: 1, propensity: 1, similarity: 0, sources: [], probabilities: null }),
        postId: id,
      }));
      return { ...usual, posts: [...all, ...all] };
    };
    expect(await scroll(newUser(), 4)).toEqual(posts.map(({ id }) => id));
  });
});

describe('after the answer', () => {
  it('the serving log has every page with tokens, positions, probabilities and versions', async () => {
    await world.addPosts(newPosts(6));
    const userId = newUser();
    const first = await feed(userId, 'limit=2');
    const second = await feed(userId, `limit=2&cursor=${first.nextCursor}`);
    await world.close();
    const records = await servingRecords(userId);
    expect(records.map(({ requestId }) => requestId).sort()).toEqual(
      [first.requestId, second.requestId].sort(),
    );
    const record = records.find(({ requestId }) => requestId === second.requestId);
    expect(record).toMatchObject({
      at: NOW,
      model: 'scripted@1',
      index: 'g1',
      rules: 'r1',
      watermark: 'w1',
      explored: false,
    });
    expect(record?.posts.map(({ postId, token, position }) => ({ id: postId, token, position }))).toEqual(
      second.posts.map(({ id, token, position }) => ({ id, token, position })),
    );
    expect(record?.posts[0].probabilities).toMatchObject({ click: 0.25 });
    expect(record?.posts[0].sources).toEqual(['nearest', 'trending']);
  });

  it('erasing a user leaves none of its records, waiting or written', async () => {
    await world.addPosts(newPosts(6));
    const userId = newUser();
    await feed(userId);
    await world.app.inject({ method: 'DELETE', url: `/users/${userId}` });
    expect(await backends.online.getState(userId, 'tower', deadlineIn(1000))).toBeNull();
    await world.close();
    expect(await servingRecords(userId)).toEqual([]);
  });
});
