// Counts of rate limits on Redis, shared by all replicas: one counter a key and window. A client of its own with short
// times, so that a slow Redis is given up soon. Opened by compose.
import type { Redis } from 'ioredis';
import { closeRedis, connectOnce, openRedis, type RedisTarget } from './redis-client.ts';

// KEYS[1] the counter; ARGV[1] window in ms. Answers count and what is left of the window.
const COUNT_SCRIPT = `
local count = redis.call('INCR', KEYS[1])
local ttl = redis.call('PTTL', KEYS[1])
if ttl < 0 then
  ttl = tonumber(ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ttl)
end
return {count, ttl}`;

interface CountingRedis extends Redis {
  feedrankCount(key: string, windowMs: number): Promise<[count: number, ttlMs: number]>;
}

export class RedisLimitCounter {
  readonly #redis: CountingRedis;
  readonly #prefix: string;

  /** Connects in the background: a Redis that is down at the start is found when it comes. */
  constructor(options: { redis: RedisTarget; keyPrefix?: string }) {
    this.#prefix = `${options.keyPrefix ?? 'feedrank:'}limit:`;
    this.#redis = openRedis(options.redis, 'limits') as CountingRedis;
    this.#redis.defineCommand('feedrankCount', { numberOfKeys: 1, lua: COUNT_SCRIPT });
    void connectOnce(this.#redis);
  }

  async increment(key: string, windowMs: number): Promise<{ count: number; ttlMs: number }> {
    const [count, ttlMs] = await this.#redis.feedrankCount(`${this.#prefix}${key}`, windowMs);
    return { count, ttlMs };
  }

  close(): void {
    void closeRedis(this.#redis);
  }
}
