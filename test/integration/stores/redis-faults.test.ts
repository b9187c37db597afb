import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deadlineIn } from '../../../src/deadline.ts';
import { type OnlineStore, openStateStore } from '../../../src/features/store/state-store.ts';
import { DIM } from '../../../src/vocabulary.ts';
import { startTcpProxy, type TcpProxy } from '../../setup/tcp-proxy.ts';
import { freshPrefix, REDIS_URL, soon, titleOf, unique } from '../../setup/test-servers.ts';

const TOWER = 'tower@1';
const EMBEDDING = { tower: TOWER, vector: new Float32Array(DIM).fill(0.125) };

describe.skipIf(!REDIS_URL)(titleOf('Redis faults', REDIS_URL, 'TEST_REDIS'), () => {
  const keyPrefix = freshPrefix();
  let redis: Redis;
  let proxy: TcpProxy;
  let store: OnlineStore;

  beforeAll(async () => {
    const url = new URL(REDIS_URL!);
    redis = new Redis(REDIS_URL!);
    proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 6379) });
    store = await openStateStore({ redisUrl: `redis://127.0.0.1:${proxy.port}`, dataDir: '', keyPrefix });
  });
  afterAll(async () => {
    await store?.close();
    await proxy?.close();
    redis?.disconnect();
  });

  const keyOf = (userId: string) => `${keyPrefix}state1:{u:${userId}}`;

  it('reads a value that another version wrote as absent, and writes over it', async () => {
    const userId = unique('user');
    await store.putState(userId, { embedding: EMBEDDING, user: { id: userId, createdAt: 1 } }, soon());
    const foreign = (await redis.hgetBuffer(keyOf(userId), `e:${TOWER}`))!;
    foreign[0] = 9;
    await redis.hset(keyOf(userId), `e:${TOWER}`, foreign);
    await redis.hset(keyOf(userId), 'h', Buffer.from('garbage'));
    await redis.hset(keyOf(userId), 's', Buffer.alloc(0));
    const state = await store.getState(userId, TOWER, soon());
    expect(state).toMatchObject({ embedding: null, history: [], user: { id: userId } });
    await store.putState(
      userId,
      { seen: { postIds: ['p'], atMs: Date.now() }, embedding: EMBEDDING },
      soon(),
    );
    const after = await store.getState(userId, TOWER, soon());
    expect(after?.seen).toHaveLength(2);
    expect(after?.embedding).toEqual(EMBEDDING.vector);
  });

  it('reads a key of another type, or without a version, as absent, and writes over it', async () => {
    for (const spoil of [
      (key: string) => redis.set(key, 'a string'),
      (key: string) => redis.rpush(key, 'a list'),
      (key: string) => redis.hset(key, 'v', 'not a number'),
      (key: string) => redis.hset(key, 'other', 'field'),
    ]) {
      const userId = unique('user');
      await spoil(keyOf(userId));
      expect(await store.getState(userId, TOWER, soon())).toBeNull();
      await store.putState(userId, { seen: { postIds: ['p'], atMs: Date.now() } }, soon());
      expect((await store.getState(userId, TOWER, soon()))?.seen).toHaveLength(2);
    }
    await redis.rpush(`${keyPrefix}session:key`, 'a list');
    expect(await store.get('key', soon())).toBeNull();
  });

  it('goes on after the server lost its scripts', async () => {
    const userId = unique('user');
    await store.putState(userId, { embedding: EMBEDDING }, soon());
    await redis.script('FLUSH');
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        store.putState(`${userId}-${i}`, { seen: { postIds: ['p'], atMs: Date.now() } }, soon()),
      ),
    );
    expect((await store.getState(`${userId}-19`, TOWER, soon()))?.seen).toHaveLength(2);
  });

  it('fails fast while the server is away and works again when it is back', async () => {
    const userId = unique('user');
    await store.putState(userId, { embedding: EMBEDDING }, soon());
    proxy.mode('refuse');
    await expect
      .poll(() => store.getState(userId, TOWER, soon()).catch((error) => error.code))
      .toBe('unavailable');
    await expect(store.putState(userId, { embedding: EMBEDDING }, soon())).rejects.toMatchObject({
      code: 'unavailable',
    });
    await expect(store.ping(soon())).rejects.toMatchObject({ code: 'unavailable' });
    proxy.mode('pass');
    await expect
      .poll(() => store.getState(userId, TOWER, soon()).then(Boolean, () => false), { timeout: 10_000 })
      .toBe(true);
  });

  it('answers `timeout` at the deadline when the server is silent', async () => {
    proxy.mode('silent');
    await expect(store.getState('user', TOWER, deadlineIn(50))).rejects.toMatchObject({ code: 'timeout' });
    await expect(store.putState('user', { embedding: EMBEDDING }, deadlineIn(50))).rejects.toMatchObject({
      code: 'timeout',
    });
    proxy.mode('refuse');
    proxy.mode('pass');
    await expect
      .poll(
        () =>
          store.ping(soon()).then(
            () => true,
            () => false,
          ),
        { timeout: 10_000 },
      )
      .toBe(true);
  });

  it('opens without a server, and refuses an address that is none', async () => {
    const closed = await openStateStore({ redisUrl: 'redis://127.0.0.1:1', dataDir: '' });
    await expect(closed.ping(soon())).rejects.toMatchObject({ code: 'unavailable' });
    await closed.close();
    for (const redisUrl of ['nonsense', 'http://x', 'redis']) {
      await expect(openStateStore({ redisUrl, dataDir: '' })).rejects.toMatchObject({
        code: 'invalid_input',
        fields: [{ field: 'REDIS_URL' }],
      });
    }
  });

  it('says `storage_full` when the server may hold no more', async () => {
    const before = (await redis.config('GET', 'maxmemory')) as string[];
    await redis.config('SET', 'maxmemory', '1');
    try {
      await expect(store.putState(unique('user'), { embedding: EMBEDDING }, soon())).rejects.toMatchObject({
        code: 'storage_full',
      });
    } finally {
      await redis.config('SET', 'maxmemory', before[1]);
    }
  });
});
