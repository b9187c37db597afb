import { afterAll, beforeAll, expect, it } from 'vitest';
import { downBackends, openWorld, type World } from './world.ts';

const STATUS = {
  mode: 'manual',
  serving: { ranker: '1', light: '1' },
  previous: null,
  trial: null,
  versions: [],
  experiments: null,
  problems: [],
};

let world: World;
let begun = 0;
let move = Promise.withResolvers<object>();

beforeAll(async () => {
  const models = {
    status: () => STATUS,
    history: async () => [],
    move: () => {
      begun++;
      return move.promise;
    },
  };
  world = await openWorld(downBackends(), { context: { models } });
});
afterAll(() => world.close());

const stage = () =>
  world.app.inject({
    method: 'POST',
    url: '/admin/models/stage',
    payload: { action: 'rollback' },
    remoteAddress: '127.0.0.1',
  });

it('/admin answers two requests at a time, refuses more, and takes no place from the others', async () => {
  const running = [stage(), stage()];
  await expect.poll(() => begun).toBe(2);
  for (const url of ['/admin/models', '/admin/models/history']) {
    const refused = await world.app.inject({ url, remoteAddress: '127.0.0.1' });
    expect(refused.statusCode).toBe(503);
    expect(refused.json().code).toBe('overloaded');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  }
  expect((await world.app.inject('/health/live')).statusCode).toBe(200);
  move.resolve(STATUS);
  expect((await Promise.all(running)).map(({ statusCode }) => statusCode)).toEqual([200, 200]);
  expect((await world.app.inject({ url: '/admin/models', remoteAddress: '127.0.0.1' })).statusCode).toBe(200);
});

it('a move that fails gives its place back', async () => {
  move = Promise.withResolvers();
  move.promise.catch(() => {});
  move.reject(new Error('no'));
  for (let i = 0; i < 3; i++) expect((await stage()).statusCode).toBe(500);
  expect((await world.app.inject({ url: '/admin/models', remoteAddress: '127.0.0.1' })).statusCode).toBe(200);
});
