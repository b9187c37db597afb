// The online state on a real Cluster of three nodes, behind a real Sentinel that fails over, and over TLS.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deadlineIn } from '../../../src/deadline.ts';
import type { RedisTarget } from '../../../src/features/store/redis-client.ts';
import { RedisLimitCounter } from '../../../src/features/store/redis-limit-counter.ts';
import { type OnlineStore, openStateStore } from '../../../src/features/store/state-store.ts';
import { ChangePublisher } from '../../../src/features/stream/change-publisher.ts';
import { RedisChangeStream } from '../../../src/features/stream/redis-change-stream.ts';
import { DIM } from '../../../src/vocabulary.ts';
import { stateStoreContract } from '../../contract/state-store-contract.ts';
import type { RunningServer } from '../../setup/child-process.ts';
import { startRedisCluster, startRedisSentinel, type TestCluster } from '../../setup/redis-cluster.ts';
import { startRedis } from '../../setup/redis-server.ts';
import { freshFolder, freshPrefix, REDIS_URL, soon, titleOf, unique } from '../../setup/test-servers.ts';

const CACHE = join(import.meta.dirname, '..', '..', '..', '.cache', 'servers');
const TOWER = 'tower@1';
const EMBEDDING = { tower: TOWER, vector: new Float32Array(DIM).fill(0.125) };

/** What was started, or why it could not be: said in the suite's title. */
async function started<T>(start: () => Promise<T>): Promise<{ value: T | null; skip: string }> {
  if (!REDIS_URL) return { value: null, skip: titleOf('', REDIS_URL, 'TEST_REDIS') };
  try {
    return { value: await start(), skip: '' };
  } catch (error) {
    return { value: null, skip: ` (skipped: ${(error as Error).message})` };
  }
}

const cluster = await started(() => startRedisCluster(CACHE));
const sentinel = await started(() => startRedisSentinel(CACHE));
const secure = await started(startSecureRedis);
afterAll(async () => {
  await Promise.all([cluster.value?.stop(), sentinel.value?.stop(), secure.value?.stop()]);
});

describe.skipIf(!cluster.value)(`Redis Cluster${cluster.skip}`, () => {
  const keyPrefix = freshPrefix();
  const { nodes, admins } =
    cluster.value ?? ({ nodes: [], admins: [] } as Pick<TestCluster, 'nodes' | 'admins'>);
  // One node is enough to find the others.
  const redis: RedisTarget = { cluster: nodes.slice(0, 1) };
  let store: OnlineStore;
  beforeAll(async () => {
    store = await openStateStore({ redis, dataDir: '', keyPrefix });
  });
  afterAll(() => store?.close());

  describe('the contract', () => stateStoreContract(() => ({ redis, keyPrefix })));

  it('has all keys of one user in one slot, and users on every node', async () => {
    const userIds = Array.from({ length: 60 }, (_, i) => unique(`user{${i}}`));
    const seen = { postIds: ['p'], atMs: Date.now() };
    await store.putStates(
      userIds.map((userId) => ({ userId, embedding: EMBEDDING, seen })),
      soon(),
    );
    const keysByNode = await Promise.all(admins.map((admin) => admin.keys(`${keyPrefix}fr3*`)));
    for (const keys of keysByNode) expect(keys.length).toBeGreaterThan(0);
    const slot = (key: string) => admins[0].call('CLUSTER', 'KEYSLOT', key);
    const record = keysByNode.flat().find((key) => key.includes(userIds[5]) && !key.endsWith('}s'))!;
    expect(await slot(`${record}s`)).toBe(await slot(record));
  });

  it('goes on while a slot moves to another node', async () => {
    const userId = unique('mover');
    await store.putState(
      userId,
      { embedding: EMBEDDING, seen: { postIds: ['a'], atMs: Date.now() } },
      soon(),
    );
    const key = `${keyPrefix}fr3{u${userId}}`;
    const slot = (await admins[0].call('CLUSTER', 'KEYSLOT', key)) as number;
    const ids = (await Promise.all(admins.map((admin) => admin.call('CLUSTER', 'MYID')))) as string[];
    const from = (
      await Promise.all(admins.map((admin) => admin.call('CLUSTER', 'COUNTKEYSINSLOT', slot)))
    ).findIndex((count) => Number(count) > 0);
    const to = (from + 1) % admins.length;
    const { host, port } = nodes[to];
    await admins[to].call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from]);
    await admins[from].call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to]);
    const keys = (await admins[from].call('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[];
    expect(keys.length).toBeGreaterThanOrEqual(2);
    await admins[from].call('MIGRATE', host, port, '', 0, 5_000, 'KEYS', ...keys);
    expect((await store.getState(userId, TOWER, soon()))?.seen).toHaveLength(2);
    for (const admin of [admins[to], admins[from]])
      await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to]);
    await store.putState(userId, { seen: { postIds: ['b'], atMs: Date.now() } }, soon());
    const state = await store.getState(userId, TOWER, soon());
    expect(state?.seen).toHaveLength(4);
    expect(state?.embedding).toEqual(EMBEDDING.vector);
  });

  it('carries the change stream and counts rate limits', async () => {
    const slot = unique('slot');
    const publisher = await ChangePublisher.open({ redis, slot, length: 100, keyPrefix });
    const stream = await RedisChangeStream.open({ redis, slot, keyPrefix });
    const counter = new RedisLimitCounter({ redis, keyPrefix });
    try {
      await publisher.start(1n);
      const change = { kind: 'post_deleted' as const, postId: 'p' };
      expect(await publisher.append([{ lsn: 5n, index: 0, change }])).toBe(true);
      await publisher.live(7);
      expect((await stream.read('', 1_000, soon())).changes).toEqual([change]);
      expect(await stream.completeAt(soon())).toBe(7);
      await expect.poll(() => counter.increment('key', 60_000).catch(() => null)).toMatchObject({ count: 1 });
      expect((await counter.increment('key', 60_000)).count).toBe(2);
    } finally {
      counter.close();
      await Promise.all([publisher.close(), stream.close()]);
    }
  });
});

describe.skipIf(!sentinel.value)(`Redis Sentinel${sentinel.skip}`, () => {
  it('follows the master to the replica when it dies', async () => {
    const { sentinel: node, name, master, replica } = sentinel.value!;
    const store = await openStateStore({
      redis: { sentinels: [node], name },
      dataDir: '',
      keyPrefix: freshPrefix(),
    });
    const direct = new Redis(replica.url);
    try {
      const userId = unique('user');
      await store.putState(userId, { embedding: EMBEDDING }, soon());
      // Replication is asynchronous: the replica must have it before the master dies.
      await expect.poll(() => direct.dbsize()).toBe(1);
      process.kill(master.pid, 'SIGKILL');
      const read = () => store.getState(userId, TOWER, deadlineIn(500)).catch(() => undefined);
      await expect
        .poll(read, { timeout: 20_000, interval: 100 })
        .toMatchObject({ embedding: EMBEDDING.vector });
      const write = () =>
        store.putState(userId, { user: { id: userId, createdAt: 1 } }, deadlineIn(500)).then(
          () => 'written',
          () => 'refused',
        );
      await expect.poll(write, { timeout: 20_000, interval: 100 }).toBe('written');
      expect(((await direct.call('ROLE')) as unknown[])[0]).toBe('master');
    } finally {
      direct.disconnect();
      await store.close();
    }
  }, 60_000);
});

describe.skipIf(!secure.value)(`Redis over TLS${secure.skip}`, () => {
  it('takes a server whose certificate its authority signed', async () => {
    const { url, caFile } = secure.value!;
    const store = await openStateStore({ redis: { url, caFile }, dataDir: '', keyPrefix: freshPrefix() });
    try {
      await store.putState('user', { embedding: EMBEDDING }, soon());
      expect((await store.getState('user', TOWER, soon()))?.embedding).toEqual(EMBEDDING.vector);
    } finally {
      await store.close();
    }
  });

  it('refuses a server that it does not know, and says which file cannot be read', async () => {
    const { url } = secure.value!;
    const stranger = await openStateStore({ redis: { url }, dataDir: '' });
    await expect(stranger.ping(soon())).rejects.toMatchObject({ code: 'unavailable' });
    await stranger.close();
    const missing = { url, caFile: join(CACHE, 'no-such-file.pem') };
    await expect(openStateStore({ redis: missing, dataDir: '' })).rejects.toMatchObject({
      code: 'invalid_input',
      fields: [{ field: 'REDIS_TLS_CA_FILE' }],
    });
  });
});

/** A server with a certificate for 127.0.0.1 that openssl signs by itself. */
async function startSecureRedis(): Promise<{ url: string; caFile: string; stop(): Promise<void> }> {
  const folder = freshFolder();
  const [key, caFile] = [join(folder.path, 'key.pem'), join(folder.path, 'certificate.pem')];
  let server: RunningServer;
  const port = 20_000 + Math.floor(Math.random() * 30_000);
  try {
    execFileSync(
      'openssl',
      [
        ...[
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
          '-nodes',
          '-days',
          '2',
        ],
        ...['-keyout', key, '-out', caFile, '-subj', '/CN=redis', '-addext', 'subjectAltName=IP:127.0.0.1'],
      ],
      { stdio: 'ignore' },
    );
    const settings = ['--tls-port', String(port), '--tls-cert-file', caFile, '--tls-key-file', key];
    server = await startRedis(CACHE, {
      settings: [...settings, '--tls-ca-cert-file', caFile, '--tls-auth-clients', 'no'],
    });
  } catch (error) {
    folder.remove();
    throw error;
  }
  const stop = async () => {
    await server.stop();
    folder.remove();
  };
  return { url: `rediss://127.0.0.1:${port}`, caFile, stop };
}
