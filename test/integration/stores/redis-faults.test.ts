import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deadlineIn } from '../../../src/deadline.ts';
import { packRecord, unpackRecord } from '../../../src/features/store/state-record.ts';
import { type OnlineStore, openStateStore } from '../../../src/features/store/state-store.ts';
import { hash32 } from '../../../src/hashing.ts';
import { createPolicies } from '../../../src/resilience/policies.ts';
import { guarded } from '../../../src/resilience.ts';
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
    store = await openStateStore({
      redis: { url: `redis://127.0.0.1:${proxy.port}` },
      dataDir: '',
      keyPrefix,
    });
  });
  afterAll(async () => {
    await store?.close();
    await proxy?.close();
    redis?.disconnect();
  });

  const keyOf = (userId: string) => `${keyPrefix}fr3{u${userId}}`;

  it('reads a value that another version wrote as absent, and writes over it', async () => {
    const userId = unique('user');
    await store.putState(userId, { embedding: EMBEDDING, user: { id: userId, createdAt: 1 } }, soon());
    const record = unpackRecord(await redis.getBuffer(keyOf(userId)))!;
    record.fields.get(`e${hash32(TOWER)}`)!.fill(0xff, 0, 4);
    record.fields.set('h', Buffer.from('garbage'));
    await redis.set(keyOf(userId), packRecord(record));
    await redis.set(`${keyOf(userId)}s`, Buffer.of(9, 9));
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
      (key: string) => redis.set(key, 'a string that is longer than the head of a record'),
      (key: string) => redis.rpush(key, 'a list'),
      (key: string) => redis.hset(key, 'v', 'not a number'),
    ]) {
      const userId = unique('user');
      await spoil(keyOf(userId));
      await spoil(`${keyOf(userId)}s`);
      expect(await store.getState(userId, TOWER, soon())).toBeNull();
      await store.putState(userId, { seen: { postIds: ['p'], atMs: Date.now() } }, soon());
      expect((await store.getState(userId, TOWER, soon()))?.seen).toHaveLength(2);
    }
    await redis.rpush(`${keyPrefix}feedrank:session:key`, 'a list');
    expect(await store.get('key', soon())).toBeNull();
  });

  it('keeps seen posts when the server evicted the record, and rebuilds on them', async () => {
    const userId = unique('user');
    await store.putState(
      userId,
      { embedding: EMBEDDING, seen: { postIds: ['p'], atMs: Date.now() } },
      soon(),
    );
    await redis.del(keyOf(userId));
    expect(await store.getState(userId, TOWER, soon())).toBeNull();
    await store.putState(userId, { user: { id: userId, createdAt: 1 } }, soon());
    expect((await store.getState(userId, TOWER, soon()))?.seen).toHaveLength(2);
  });

  it('a fill merges into seen posts whose record the server evicted, beside users who are new', async () => {
    const [evicted, added] = [unique('user'), unique('user')];
    const atMs = Date.now();
    await store.putState(evicted, { embedding: EMBEDDING, seen: { postIds: ['p'], atMs } }, soon());
    await redis.del(keyOf(evicted));
    const filling = await openStateStore({ redis: { url: REDIS_URL as string }, dataDir: '', keyPrefix });
    try {
      const built = { embedding: EMBEDDING, seen: { postIds: ['q'], atMs } };
      await filling.putStates(
        [evicted, added, evicted].map((userId) => ({ userId, ...built })),
        soon(),
      );
      expect((await filling.getState(evicted, TOWER, soon()))?.seen).toHaveLength(4);
      expect((await filling.getState(added, TOWER, soon()))?.seen).toHaveLength(2);
      expect(await redis.pttl(`${keyOf(added)}s`)).toBeGreaterThan(0);
      expect(await redis.pttl(keyOf(added))).toBeGreaterThan(0);
    } finally {
      await filling.close();
    }
  });

  it('reads a user in one command, however much is stored, and writes in two', async () => {
    const userId = unique('user');
    const seen = { postIds: ['p'], atMs: Date.now() };
    await store.putState(userId, { embedding: EMBEDDING, seen, user: { id: userId, createdAt: 1 } }, soon());
    const commands = async () => {
      const stats = await redis.info('commandstats');
      const calls = (name: string) =>
        Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
      return [calls('mget'), calls('evalsha') + calls('eval')];
    };
    const [reads, writes] = await commands();
    await store.getState(userId, TOWER, soon());
    expect(await commands()).toEqual([reads + 1, writes]);
    await store.putState(userId, { seen, embedding: EMBEDDING }, soon());
    expect(await commands()).toEqual([reads + 2, writes + 1]);
  });

  it('gives every key a time to live', async () => {
    const userId = unique('user');
    const session = unique('session');
    await store.putState(
      userId,
      { embedding: EMBEDDING, seen: { postIds: ['p'], atMs: Date.now() } },
      soon(),
    );
    await store.putState(userId, { seen: { postIds: ['q'], atMs: Date.now() } }, soon());
    await store.putStates([{ userId: `${userId}-bulk`, embedding: EMBEDDING }], soon());
    await store.set(session, Uint8Array.of(1), 60_000, soon());
    const keys = await redis.keys(`${keyPrefix}*{u${userId}*`);
    keys.push(...(await redis.keys(`${keyPrefix}feedrank:session:${session}`)));
    expect(keys).toHaveLength(4);
    for (const key of keys) expect(await redis.pttl(key)).toBeGreaterThan(0);
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

  it('knows what it last read and wrote of a user, until it hears of a change', async () => {
    const userId = unique('user');
    await store.putState(userId, { embedding: EMBEDDING, user: { id: userId, createdAt: 5 } }, soon());
    expect(store.lastKnown?.(userId, TOWER)).toBeNull();
    const read = await store.getState(userId, TOWER, soon());
    expect(store.lastKnown?.(userId, TOWER)).toEqual(read);
    await store.putState(userId, { seen: { postIds: ['p'], atMs: Date.now() } }, soon());
    expect(store.lastKnown?.(userId, TOWER)?.seen).toHaveLength(2);
    await store.putState(userId, { user: { id: userId, createdAt: 6 } }, soon());
    expect(store.lastKnown?.(userId, TOWER)).toEqual(await store.getState(userId, TOWER, soon()));
    store.forgetKnown?.(userId);
    expect(store.lastKnown?.(userId, TOWER)).toBeNull();
    await store.getState(userId, TOWER, soon());
    await store.eraseState(userId, soon());
    expect(store.lastKnown?.(userId, TOWER)).toBeNull();
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

  it('behind its policy, a server that hangs costs a few calls their time, then nothing, and is taken back by itself', async () => {
    const policies = createPolicies({ sqlConnections: 1 });
    const guardedStore = guarded(store, policies.state);
    const stranger = unique('stranger');
    const read = () => guardedStore.getState(stranger, TOWER, deadlineIn(200)).catch((error) => error.code);
    try {
      expect(await read()).toBeNull();
      proxy.mode('silent');
      const codes = [];
      // A timeout while this process itself was starved does not count, so a busy machine may see a few more.
      while (codes.length < 30 && codes.at(-1) !== 'unavailable') codes.push(await read());
      expect(codes.length).toBeGreaterThanOrEqual(6);
      expect(codes).toEqual([...Array(codes.length - 1).fill('timeout'), 'unavailable']);
      expect(policies.state.state).not.toBe('closed');
      expect(policies.state.trouble).toContain('user store is not asked');
      // A black hole that opens again: connections of before are given up, new ones are made.
      proxy.mode('refuse');
      proxy.mode('pass');
      await expect.poll(() => policies.state.state, { timeout: 10_000 }).toBe('closed');
      expect(policies.state.trouble).toBeNull();
      expect(await read()).toBeNull();
    } finally {
      policies.state.close();
      policies.sql.close();
    }
  });

  it('gives up a connection on which nothing comes, and makes a new one', async () => {
    const before = proxy.counts().connections;
    proxy.mode('silent');
    void store.ping(deadlineIn(50)).catch(() => {});
    await expect.poll(() => proxy.counts().connections, { timeout: 10_000 }).toBeGreaterThan(before);
    proxy.mode('pass');
    const isBack = () =>
      store.ping(soon()).then(
        () => true,
        () => false,
      );
    await expect.poll(isBack, { timeout: 10_000 }).toBe(true);
  });

  it('opens without a server, and refuses an address that is none', async () => {
    const closed = await openStateStore({ redis: { url: 'redis://127.0.0.1:1' }, dataDir: '' });
    await expect(closed.ping(soon())).rejects.toMatchObject({ code: 'unavailable' });
    await closed.close();
    for (const url of ['nonsense', 'http://x', 'redis']) {
      await expect(openStateStore({ redis: { url }, dataDir: '' })).rejects.toMatchObject({
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
