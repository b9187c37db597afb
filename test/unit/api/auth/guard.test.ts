// Who may do what, asked of the whole application on stores that are down: what passes the guard ends in anything but
// 401 and 403.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AppContext } from '../../../../src/api/app-context.ts';
import { Authenticator } from '../../../../src/api/auth/authenticator.ts';
import { accessOf, isOpen, ROUTE_ACCESS } from '../../../../src/api/auth/route-access.ts';
import { SCOPES } from '../../../../src/api/auth/scopes.ts';
import { problemSchema } from '../../../../src/api/response-schemas.ts';
import type { FeedJobStore } from '../../../../src/contracts.ts';
import { type Backends, downBackends, openWorld, type World } from '../world.ts';
import { AUDIENCE, ISSUER, type KeyFile, keyFile, secretToken } from './credentials.ts';

const SECRET = 'a shared secret of at least 32 characters';
let backends: Backends;
let world: World;
let file: KeyFile;
let auth: Authenticator;
const keyOf: Record<string, string> = {};

beforeAll(async () => {
  backends = downBackends();
  file = keyFile();
  for (const scope of SCOPES) keyOf[scope] = file.add({ id: scope.replace(':', '-'), scopes: [scope] });
  keyOf.bound = file.add({ id: 'bound', scopes: ['feed:read', 'events:write', 'ingest'], user: 'u1' });
  keyOf.slow = file.add({ id: 'slow', scopes: ['feed:read'], rateLimitPerMinute: 2 });
  auth = new Authenticator({
    keysFile: file.path,
    tokens: { issuer: ISSUER, audience: AUDIENCE, keys: { secret: SECRET } },
  });
  // Routes that only a composed service has: what lies behind them is down like everything else.
  const models = backends.sql as unknown as AppContext['models'];
  const rules = backends.sql as unknown as AppContext['rules'];
  const feedJobs = {
    store: backends.sql as unknown as FeedJobStore,
    settings: { atOnce: 0, bounds: { open: 1, kept: 1 }, keptMs: 60_000, baseUrl: '' },
    hosts: null,
    start: () => {},
    wake: () => {},
    close: async () => {},
  };
  world = await openWorld(backends, { config: { docs: true }, context: { auth, models, rules, feedJobs } });
});
afterAll(async () => {
  await world.close();
  auth.close();
  file.remove();
});

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** Every route of the table with its parameters filled in; bodies are valid. */
function requestOf(route: string, userId: string) {
  const [method, pattern] = route.split(' ') as [Method, string];
  const url = pattern
    .replace(':userId', userId)
    .replace('/users/:id', `/users/${userId}`)
    .replace(':id', 'p1')
    .replace(/:\w+/, 'target');
  const event = { userId, postId: 'p1', type: 'like', at: world.clock.ms };
  const bodies: Record<string, object> = {
    'POST /events': { events: [event] },
    'POST /posts': { posts: [{ id: 'p1', authorId: userId, createdAt: world.clock.ms }] },
    'PUT /users/:id': { topics: ['chess'] },
    'POST /feed-jobs': { userIds: [userId] },
  };
  return { method, url, ...(bodies[route] ? { payload: bodies[route] } : {}) };
}

async function statusOf(route: string, userId: string, credential?: string): Promise<number> {
  const headers = credential ? { authorization: `Bearer ${credential}` } : {};
  const response = await world.app.inject({ ...requestOf(route, userId), headers });
  if (response.statusCode >= 400) {
    expect(response.headers['content-type']).toContain(
      response.json().ready === undefined ? 'application/problem+json' : 'json',
    );
  }
  if (response.statusCode === 401) expect(response.headers['www-authenticate']).toMatch(/^Bearer/);
  return response.statusCode;
}

const tokenOf = (sub: string, scope: string) => secretToken(SECRET, { sub, scope });
const ALL = SCOPES.filter((scope) => scope !== 'admin').join(' ');
const routes = Object.entries(ROUTE_ACCESS);
const guarded = routes.filter(([, access]) => !isOpen(access));
const ofUsers = guarded.filter(([, { subject }]) => typeof subject === 'object' || subject === 'events');

describe('the table of access', () => {
  it('has every route of the application and no other', async () => {
    const document = (
      await world.app.inject({ url: '/docs/json', headers: { 'x-api-key': keyOf.ops } })
    ).json();
    const registered = Object.entries(document.paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
    );
    // What is not in the table needs `admin`: only the operators' own routes may rely on that.
    const unlisted = registered.filter((route) => !(route in ROUTE_ACCESS));
    for (const route of unlisted) expect(route).toMatch(/^\w+ \/admin\//);
    expect(Object.keys(ROUTE_ACCESS).filter((route) => !registered.includes(route))).toEqual([]);
  });

  it('refuses what it does not know to everybody but admin', () => {
    expect(accessOf('GET', '/something/new')).toMatchObject({ scopes: ['admin'], subject: 'everybody' });
    expect(accessOf('GET', '/docs/static/index.html')).toMatchObject({ scopes: ['ops'] });
  });
});

describe.each(guarded)('%s', (route, { scopes }) => {
  it('refuses who has no credentials, and wrong ones', async () => {
    expect(await statusOf(route, 'u1')).toBe(401);
    expect(await statusOf(route, 'u1', 'frk_admin_0123456789012345678901234567890123456789012')).toBe(401);
    expect(await statusOf(route, 'u1', 'not.a.token')).toBe(401);
  });

  it('lets exactly the keys of its scopes through', async () => {
    for (const scope of SCOPES) {
      const status = await statusOf(route, 'u1', keyOf[scope]);
      const passes = scope === 'admin' || scopes.includes(scope);
      expect([401, 403].includes(status), `${scope}: ${status}`).toBe(!passes);
    }
  });
});

describe.each(ofUsers)('%s for a caller bound to u1', (route) => {
  it('touches u1 only, whatever its scopes', async () => {
    const token = await tokenOf('u1', ALL);
    expect([401, 403]).not.toContain(await statusOf(route, 'u1', token));
    expect(await statusOf(route, 'u2', token)).toBe(403);
    // An id that only looks alike is another user's.
    for (const near of ['U1', 'u1%20', 'u1%2Fx', '%75%32'])
      expect(await statusOf(route, near, token)).toBe(403);
    const service = await tokenOf('backend', `${ALL} service`);
    expect([401, 403]).not.toContain(await statusOf(route, 'u2', service));
  });
});

describe('a caller bound to one user', () => {
  it.each(guarded.filter(([, { subject }]) => subject === 'everybody').map(([route]) => route))(
    'may not %s',
    async (route) => {
      expect(await statusOf(route, 'u1', await tokenOf('u1', ALL))).toBe(403);
      if (!route.includes('/metrics')) expect(await statusOf(route, 'u1', keyOf.bound)).toBe(403);
    },
  );

  it('gets no event of another user in among its own, and nothing of the request is stored', async () => {
    const event = (userId: string) => ({ userId, postId: 'p1', type: 'like', at: world.clock.ms });
    const response = await world.app.inject({
      method: 'POST',
      url: '/events',
      headers: { authorization: `Bearer ${await tokenOf('u1', 'events:write')}` },
      payload: { events: [event('u1'), event('u1'), event('u2')] },
    });
    expect(response.statusCode).toBe(403);
    expect(problemSchema.parse(response.json()).fields).toMatchObject([{ field: 'events[2].userId' }]);
  });
});

describe('limits', () => {
  it('hold for a key by its own number', async () => {
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push(await statusOf('GET /feed/:userId', `user${i}`, keyOf.slow));
    expect(statuses).toEqual([200, 200, 429]);
    expect(await statusOf('GET /feed/:userId', 'user0', keyOf['feed:read'])).toBe(200);
  });

  it('of a user are not used up by who may not read the feed', async () => {
    const limited = await openWorld(backends, { config: { userRateLimitPerMinute: 1 }, context: { auth } });
    const ask = async (credential?: string) => {
      const headers = credential ? { authorization: `Bearer ${credential}` } : {};
      return (await limited.app.inject({ url: '/feed/u1', headers })).statusCode;
    };
    expect([await ask(), await ask(), await ask(await tokenOf('u2', 'feed:read'))]).toEqual([401, 401, 403]);
    const own = await tokenOf('u1', 'feed:read');
    expect([await ask(own), await ask(own)]).toEqual([200, 429]);
    await limited.close();
  });

  it('of an address spare your own services, and nobody else', async () => {
    const limited = await openWorld(backends, { config: { rateLimitPerMinute: 2 }, context: { auth } });
    const ask = async (userId: string, credential: string) => {
      const headers = { authorization: `Bearer ${credential}` };
      return (await limited.app.inject({ url: `/feed/${userId}`, headers })).statusCode;
    };
    const service = [];
    for (let i = 0; i < 5; i++) service.push(await ask(`u${i}`, keyOf['feed:read']));
    expect(service).toEqual([200, 200, 200, 200, 200]);
    expect([await ask('u1', keyOf.bound), await ask('u1', await tokenOf('u1', 'feed:read'))]).toEqual([
      200, 200,
    ]);
    expect([await ask('u1', keyOf.bound), await ask('u1', `${keyOf.bound.slice(0, -1)}_`)]).toEqual([
      429, 429,
    ]);
    expect(await ask('u9', keyOf['feed:read'])).toBe(200);
    await limited.close();
  });

  it('of an address hold before anything is verified', async () => {
    const limited = await openWorld(backends, { config: { rateLimitPerMinute: 2 }, context: { auth } });
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await limited.app.inject('/feed/u1')).statusCode);
    expect(statuses).toEqual([401, 401, 429]);
    await limited.close();
  });
});

describe('operations', () => {
  it('are open for health, and for nothing else', async () => {
    for (const [path, status] of [
      ['/health/live', 200],
      ['/health/ready', 200],
      ['/metrics', 401],
      ['/docs', 401],
      ['/docs/json', 401],
      ['/docs/static/index.html', 401],
      ['/no/such/route', 404],
    ] as const) {
      expect((await world.app.inject(path)).statusCode, path).toBe(status);
    }
  });

  it('are open to this machine where that is configured, not to others', async () => {
    const local = await openWorld(backends, {
      config: { opsOnLoopback: true, trustProxy: ['10.0.0.0/8'] },
      context: { auth },
    });
    const from = async (remoteAddress: string, headers = {}) =>
      (await local.app.inject({ url: '/metrics', remoteAddress, headers })).statusCode;
    expect(await from('127.0.0.1')).toBe(200);
    expect(await from('192.0.2.1')).toBe(401);
    expect(await from('10.0.0.1', { 'x-forwarded-for': '127.0.0.1' })).toBe(401);
    await local.close();
  });
});
