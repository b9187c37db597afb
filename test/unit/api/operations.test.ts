import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problemSchema, readyResponse } from '../../../src/api/response-schemas.ts';
import { type Backends, downBackends, newPosts, newUser, openWorld, type World } from './world.ts';

let backends: Backends;
let world: World;

beforeAll(async () => {
  backends = downBackends();
  world = await openWorld(backends, { config: { docs: true } });
});
afterAll(async () => {
  await world.close();
  await backends.close();
});

describe('health', () => {
  it('is alive', async () => {
    expect((await world.app.inject('/health/live')).json()).toEqual({ status: 'ok' });
  });

  it('says what serves, and with 503 why it is not ready', async () => {
    const ready = await world.app.inject('/health/ready');
    expect(ready.statusCode).toBe(200);
    expect(readyResponse.parse(ready.json())).toMatchObject({
      index: { kind: 'exact' },
      stores: { state: 'lmdb' },
    });
    Object.assign(world.readiness, { ready: false, reasons: ['no feed worker is available'] });
    const not = await world.app.inject('/health/ready');
    expect(not.statusCode).toBe(503);
    expect(readyResponse.parse(not.json()).reasons).toEqual(['no feed worker is available']);
    Object.assign(world.readiness, { ready: true, reasons: [] });
  });
});

describe('metrics', () => {
  it('count requests by route, not by path, posts by source and items by fate', async () => {
    for (const added of newPosts(3)) world.memory.set(added.id, added);
    // Every store is down, and the feed still answers.
    expect((await world.app.inject(`/feed/${newUser()}`)).json().posts.length).toBe(3);
    await world.app.inject({ method: 'POST', url: '/posts', payload: { posts: [{}] } });
    const response = await world.app.inject('/metrics');
    expect(response.headers['content-type']).toContain('text/plain');
    expect(response.body).toMatch(
      /feedrank_http_request_seconds_count\{route="\/feed\/:userId",method="GET",status="200"\} 1/,
    );
    expect(response.body).toMatch(/feedrank_posts_served_total\{source="trending"\} 3/);
    expect(response.body).toMatch(/feedrank_ingested_items_total\{kind="posts",status="rejected"\} 1/);
    expect(response.body).not.toContain('user-');
  });
});

describe('the OpenAPI document', () => {
  it('has every route, its parameters and the problem, and stands at /docs', async () => {
    const document = (await world.app.inject('/docs/json')).json();
    expect(Object.keys(document.paths).sort()).toEqual(
      [
        '/events',
        '/feed/{userId}',
        '/feed/{userId}/new',
        '/health/live',
        '/health/ready',
        '/metrics',
        '/posts',
        '/posts/{id}',
        '/posts/{id}/similar',
        '/users/{id}',
        '/users/{id}/blocks/{authorId}',
        '/users/{id}/follows/{authorId}',
        '/users/{id}/mutes/authors/{authorId}',
        '/users/{id}/mutes/topics/{topic}',
        '/users/{id}/mutes/words/{word}',
      ].sort(),
    );
    const feed = document.paths['/feed/{userId}'].get;
    expect(feed.parameters.map(({ name }: { name: string }) => name).sort()).toEqual([
      'cursor',
      'exclude',
      'explain',
      'limit',
      'priority',
      'userId',
    ]);
    const limit = feed.parameters.find(({ name }: { name: string }) => name === 'limit');
    expect(limit.schema).toMatchObject({ type: 'integer', minimum: 1, maximum: 100, default: 20 });
    expect(feed.responses['200'].content['application/json'].schema.properties).toHaveProperty('nextCursor');
    const item =
      document.paths['/events'].post.requestBody.content['application/json'].schema.properties.events.items;
    expect(item.required).toEqual(expect.arrayContaining(['userId', 'postId', 'type', 'at']));
    for (const path of Object.values(document.paths) as Record<
      string,
      { responses: Record<string, { content: object }> }
    >[]) {
      for (const operation of Object.values(path)) {
        expect(operation.responses.default.content).toHaveProperty('application/problem+json');
      }
    }
    expect((await world.app.inject('/docs/')).statusCode).toBe(200);
  });

  it('is not served when it is switched off', async () => {
    const closed = await openWorld(backends, { config: { docs: false } });
    expect((await closed.app.inject('/docs')).statusCode).toBe(404);
    await closed.close();
  });
});

describe('rate limits', () => {
  it('hold for an address, say when to come back, and spare health and metrics', async () => {
    const limited = await openWorld(backends, { config: { rateLimitPerMinute: 3 } });
    const answers = [];
    for (let i = 0; i < 4; i++) answers.push(await limited.app.inject(`/feed/${newUser()}`));
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200, 429]);
    const [, , third, fourth] = answers;
    expect(third.headers['x-ratelimit-remaining']).toBe('0');
    expect(problemSchema.parse(fourth.json())).toMatchObject({ code: 'rate_limited', status: 429 });
    expect(Number(fourth.headers['retry-after'])).toBeGreaterThan(0);
    expect(Number(fourth.headers['retry-after'])).toBeLessThanOrEqual(60);
    for (const path of ['/health/live', '/health/ready', '/metrics']) {
      expect((await limited.app.inject(path)).statusCode).toBe(200);
    }
    expect((await limited.app.inject({ url: '/posts/x', remoteAddress: '10.0.0.9' })).statusCode).toBe(503);
    await limited.close();
  });

  it('hold for a user, from whatever address', async () => {
    const limited = await openWorld(backends, { config: { userRateLimitPerMinute: 2 } });
    const userId = newUser();
    const ask = (remoteAddress: string) => limited.app.inject({ url: `/feed/${userId}`, remoteAddress });
    expect((await ask('10.0.0.1')).statusCode).toBe(200);
    expect((await ask('10.0.0.2')).statusCode).toBe(200);
    const refused = await ask('10.0.0.3');
    expect(problemSchema.parse(refused.json())).toMatchObject({ code: 'rate_limited' });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect((await limited.app.inject(`/feed/${newUser()}`)).statusCode).toBe(200);
    await limited.close();
  });

  it('believe X-Forwarded-For only from the configured ranges', async () => {
    for (const [trustProxy, expected] of [
      [['10.0.0.0/8'], [503, 503, 429]],
      [[], [503, 429, 429]],
    ] as const) {
      const limited = await openWorld(backends, { config: { rateLimitPerMinute: 1, trustProxy } });
      const ask = (client: string) =>
        limited.app.inject({
          url: '/posts/x',
          remoteAddress: '10.1.2.3',
          headers: { 'x-forwarded-for': client },
        });
      const statuses = [];
      for (const client of ['1.1.1.1', '2.2.2.2', '2.2.2.2']) statuses.push((await ask(client)).statusCode);
      expect(statuses).toEqual(expected);
      await limited.close();
    }
  });
});
