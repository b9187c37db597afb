// Rate limits of two replicas on one Redis, which is then killed, stopped and started again. In each state a request
// is answered or refused by count, and never fails.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authenticator } from '../../src/api/auth/authenticator.ts';
import { RedisLimitCounter } from '../../src/features/store/redis-limit-counter.ts';
import { freePort, type RunningServer } from '../setup/child-process.ts';
import { startRedis } from '../setup/redis-server.ts';
import { type KeyFile, keyFile } from '../unit/api/auth/credentials.ts';
import { downBackends, openWorld, type World } from '../unit/api/world.ts';

const cacheDir = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), '.cache', 'servers');
const port = await freePort();
let redis: RunningServer | null = null;
let reason = '';
try {
  redis = await startRedis(cacheDir, { port });
} catch (error) {
  reason = ` (skipped: ${error instanceof Error ? error.message : error})`;
}

const KEY_LIMIT = 6;
const counters: RedisLimitCounter[] = [];
const replicas: World[] = [];
let file: KeyFile;
let auth: Authenticator;
let key: string;

beforeAll(async () => {
  file = keyFile();
  key = file.add({ id: 'backend', scopes: ['feed:read', 'ops'], rateLimitPerMinute: KEY_LIMIT });
  auth = new Authenticator({ keysFile: file.path });
  for (let i = 0; i < 2; i++) {
    const counter = new RedisLimitCounter({ redis: { url: `redis://127.0.0.1:${port}` } });
    counters.push(counter);
    const config = { rateLimitPerMinute: 1000, userRateLimitPerMinute: 4 };
    replicas.push(await openWorld(downBackends(), { config, context: { auth, limitCounter: counter } }));
  }
});

afterAll(async () => {
  for (const replica of replicas) await replica.close();
  for (const counter of counters) counter.close();
  auth.close();
  file.remove();
  await redis?.stop();
});

async function ask(replica: number, userId: string, credential: string): Promise<number> {
  const headers = { authorization: `Bearer ${credential}` };
  return (await replicas[replica].app.inject({ url: `/feed/${userId}`, headers })).statusCode;
}

async function askInTurns(count: number, userOf: (i: number) => string, credential: string) {
  const statuses: number[] = [];
  for (let i = 0; i < count; i++) statuses.push(await ask(i % 2, userOf(i), credential));
  return statuses;
}

const served = (statuses: number[]) => statuses.filter((status) => status === 200).length;
const newKey = (() => {
  let made = 0;
  return async (rateLimitPerMinute: number) => {
    const text = file.add({ id: `key-${made++}`, scopes: ['feed:read'], rateLimitPerMinute });
    for (let i = 0; i < 200; i++) {
      if (await auth.authenticate({ 'x-api-key': text }).catch(() => null)) return text;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error('the new key is not in force');
  };
})();

async function fallbacks(replica: number): Promise<number> {
  const text = await replicas[replica].context.metrics.registry.metrics();
  return Number(/^feedrank_limit_fallback_total (\d+)/m.exec(text)?.[1] ?? 0);
}

/** Until the replica's counts are Redis's again: then nothing is counted here alone. */
async function untilShared(): Promise<void> {
  for (const counter of counters) {
    for (let i = 0; i < 400; i++) {
      const answered = await counter.increment(`probe-${i}`, 1000).catch(() => null);
      if (answered) break;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  // The pause after the last failure.
  await new Promise((resolve) => setTimeout(resolve, 1100));
}

describe.skipIf(redis === null)(`rate limits on Redis${reason}`, () => {
  it('of a key and of a user count over both replicas', async () => {
    await untilShared();
    expect(served(await askInTurns(10, (i) => `u${i}`, key))).toBe(KEY_LIMIT);
    const wide = await newKey(0);
    expect(served(await askInTurns(10, () => 'one-user', wide))).toBe(4);
    expect(await fallbacks(0)).toBe(0);
  });

  it('are counted by each replica while Redis is dead, and nothing fails', async () => {
    const limited = await newKey(3);
    process.kill(redis?.pid ?? 0, 'SIGKILL');
    const statuses = await askInTurns(20, (i) => `dead${i}`, limited);
    expect(new Set(statuses)).toEqual(new Set([200, 429]));
    expect(served(statuses)).toBe(2 * 3);
    expect(await fallbacks(0)).toBeGreaterThan(0);
  });

  it('are shared again when it comes back', async () => {
    redis = await startRedis(cacheDir, { port });
    await untilShared();
    const limited = await newKey(5);
    expect(served(await askInTurns(14, (i) => `back${i}`, limited))).toBe(5);
  });

  it('cost a hung Redis one short wait, not one a request', async () => {
    const limited = await newKey(4);
    process.kill(redis?.pid ?? 0, 'SIGSTOP');
    try {
      const statuses = await askInTurns(20, (i) => `hung${i}`, limited);
      expect(new Set(statuses)).toEqual(new Set([200, 429]));
      expect(served(statuses)).toBe(2 * 4);
      for (const replica of [0, 1]) expect(await fallbacks(replica)).toBeGreaterThan(0);
    } finally {
      process.kill(redis?.pid ?? 0, 'SIGCONT');
    }
  });
});
