import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authenticator } from '../../../../src/api/auth/authenticator.ts';
import { type Backends, openBackends, openWorld, post, type World } from '../world.ts';
import { type KeyFile, keyFile } from './credentials.ts';

let backends: Backends;
let world: World;
let file: KeyFile;
let auth: Authenticator;

beforeAll(async () => {
  backends = await openBackends();
  file = keyFile();
  file.add({ id: 'unused', scopes: ['ops'] });
});
afterAll(async () => {
  await world.close();
  await backends.close();
  auth.close();
  file.remove();
});

describe('an Idempotency-Key', () => {
  it('is its sender’s own: nobody can use up another’s, or learn that it was used', async () => {
    const keys = ['a', 'b'].map((id) => file.add({ id, scopes: ['ingest'] }));
    auth = new Authenticator({ keysFile: file.path });
    world = await openWorld(backends, { context: { auth } });
    const send = async (key: string, id: string) => {
      const response = await world.app.inject({
        method: 'POST',
        url: '/posts',
        headers: { 'x-api-key': key, 'idempotency-key': 'the-same' },
        payload: { posts: [post(id)] },
      });
      return { status: response.statusCode, replayed: response.headers['idempotent-replayed'] };
    };
    expect(await send(keys[0], 'p1')).toEqual({ status: 200, replayed: undefined });
    expect(await send(keys[0], 'p1')).toEqual({ status: 200, replayed: 'true' });
    expect((await send(keys[0], 'p2')).status).toBe(409);
    expect(await send(keys[1], 'p2')).toEqual({ status: 200, replayed: undefined });
  });
});
