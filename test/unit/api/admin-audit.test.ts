// Who asked for what on the admin routes stands in the log, also where it was refused.
import { Writable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { Authenticator } from '../../../src/api/auth/authenticator.ts';
import type { Scope } from '../../../src/api/auth/scopes.ts';
import { FeedrankError } from '../../../src/errors.ts';
import { createLogger } from '../../../src/logger.ts';
import { type KeyFile, keyFile } from './auth/credentials.ts';
import { downBackends, openWorld, type World } from './world.ts';

const MODELS = {
  mode: 'manual' as const,
  serving: { ranker: '2', light: '1' },
  previous: null,
  trial: null,
  versions: [],
  experiments: null,
  problems: [],
};
const RULES = {
  mode: 'manual' as const,
  serving: 'default',
  file: null,
  previous: null,
  trial: null,
  refused: [],
  problems: [],
};

let file: KeyFile;
let auth: Authenticator;
let world: World;
let lines: Record<string, unknown>[];
/** What the next move rejects with. */
let refusal: Error | null = null;
const keys: Record<string, string> = {};

const audited = () => lines.filter(({ audit }) => audit === true);
const moved = async <T>(status: T): Promise<T> => {
  if (refusal) throw refusal;
  return status;
};
const post = (url: string, payload: object, key: string) =>
  world.app.inject({
    method: 'POST',
    url,
    payload,
    headers: { 'x-api-key': key },
    remoteAddress: '192.0.2.7',
  });

beforeAll(async () => {
  file = keyFile();
  const add = (id: string, scopes: Scope[]) => {
    keys[id] = file.add({ id, scopes });
  };
  add('operator-1', ['admin']);
  add('reader-1', ['feed:read']);
  auth = new Authenticator({ keysFile: file.path });
  const destination = new Writable({
    write(chunk, _, done) {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  world = await openWorld(downBackends(), {
    context: {
      auth,
      // Also a service that logs warnings only keeps its trail.
      logger: createLogger('warn', destination),
      models: { status: () => MODELS, history: async () => [], move: () => moved(MODELS) },
      rules: { status: () => RULES, move: () => moved(RULES) },
    },
  });
});
beforeEach(() => {
  lines = [];
  refusal = null;
});
afterAll(async () => {
  await world.close();
  auth.close();
  file.remove();
});

it.each([
  ['/admin/models/stage', { action: 'canary', version: '3', share: 0.05 }],
  ['/admin/models/stage', { action: 'rollback' }],
  ['/admin/rules', { action: 'rollback' }],
])('a move on %s is written down with who asked, from where, and what: %j', async (url, payload) => {
  const response = await post(url, payload, keys['operator-1']);
  expect(response.statusCode, response.body).toBe(200);
  expect(audited()).toHaveLength(1);
  expect(audited()[0]).toMatchObject({ audit: true, by: 'key:operator-1', ip: '192.0.2.7', ...payload });
  expect(audited()[0].reqId ?? audited()[0].requestId).toBe(response.headers['x-request-id']);
});

it.each(['/admin/models/stage', '/admin/rules'])('so is one on %s that was refused', async (url) => {
  refusal = new FeedrankError('conflict', 'nothing to roll back to');
  const refused = await post(url, { action: 'rollback' }, keys['operator-1']);
  expect(refused.statusCode, refused.body).toBe(409);
  expect(audited()).toHaveLength(1);
  expect(audited()[0]).toMatchObject({ by: 'key:operator-1', action: 'rollback' });
});

it('a move that contradicts itself is written down too', async () => {
  const response = await post(
    '/admin/models/stage',
    { action: 'promote', version: '3', share: 0.5 },
    keys['operator-1'],
  );
  expect(response.statusCode).toBe(400);
  expect(audited()[0]).toMatchObject({ by: 'key:operator-1', action: 'promote', version: '3' });
});

it('reading the status is no move, and who may not move is turned away before', async () => {
  const headers = { 'x-api-key': keys['operator-1'] };
  for (const url of ['/admin/models', '/admin/models/history', '/admin/rules']) {
    expect((await world.app.inject({ url, headers })).statusCode).toBe(200);
  }
  for (const url of ['/admin/models/stage', '/admin/rules']) {
    expect((await post(url, { action: 'rollback' }, keys['reader-1'])).statusCode).toBe(403);
  }
  expect(audited()).toEqual([]);
});

it('no line holds a key', async () => {
  await post('/admin/models/stage', { action: 'rollback' }, keys['operator-1']);
  expect(audited()).toHaveLength(1);
  expect(JSON.stringify(lines)).not.toContain(keys['operator-1']);
});

it('without keys /admin answers this machine only', async () => {
  const open = await openWorld(downBackends(), {
    context: { models: { status: () => MODELS, history: async () => [], move: async () => MODELS } },
  });
  const from = async (remoteAddress: string) =>
    (await open.app.inject({ url: '/admin/models', remoteAddress })).statusCode;
  try {
    expect([await from('192.0.2.7'), await from('127.0.0.1')]).toEqual([403, 200]);
  } finally {
    await open.close();
  }
});
