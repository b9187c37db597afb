import { describe, expect, it } from 'vitest';
import { LimitStore, type SharedCounter } from '../../../src/api/limit-store.ts';

const WINDOW_MS = 60_000;

function counterOf(answer: () => Promise<{ count: number; ttlMs: number }>) {
  let asked = 0;
  const counter: SharedCounter = {
    increment: () => {
      asked++;
      return answer();
    },
  };
  return { counter, asked: () => asked };
}

describe('counts of rate limits', () => {
  it('begin anew with each window, one for each key', async () => {
    let now = 1000;
    const store = new LimitStore(undefined, undefined, () => now);
    const counts = async (key: string) => (await store.increment(key, WINDOW_MS)).current;
    expect([await counts('a'), await counts('a'), await counts('b')]).toEqual([1, 2, 1]);
    now += WINDOW_MS - 1;
    expect(await store.increment('a', WINDOW_MS)).toEqual({ current: 3, ttl: 1 });
    now += 1;
    expect(await store.increment('a', WINDOW_MS)).toEqual({ current: 1, ttl: WINDOW_MS });
  });

  it('are those of the shared counter while it answers', async () => {
    const { counter } = counterOf(async () => ({ count: 41, ttlMs: 7 }));
    let fallbacks = 0;
    const store = new LimitStore(counter, () => fallbacks++);
    expect(await store.increment('a', WINDOW_MS)).toEqual({ current: 41, ttl: 7 });
    expect(fallbacks).toBe(0);
  });

  it.each([
    ['fails', () => Promise.reject(new Error('down'))],
    ['hangs', () => new Promise<never>(() => {})],
  ])('go on here when it %s, and it is left alone for a second', async (_, answer) => {
    let now = 0;
    const { counter, asked } = counterOf(answer);
    let fallbacks = 0;
    const store = new LimitStore(
      counter,
      () => fallbacks++,
      () => now,
    );
    for (let i = 1; i <= 50; i++) expect((await store.increment('a', WINDOW_MS)).current).toBe(i);
    expect(asked()).toBe(1);
    expect(fallbacks).toBe(50);
    now += 1000;
    await store.increment('a', WINDOW_MS);
    expect(asked()).toBe(2);
  });

  it('reach the plugin through its callback, and never as an error', async () => {
    const { counter } = counterOf(() => Promise.reject(new Error('down')));
    const store = new LimitStore(counter);
    const given = await new Promise((resolve) => {
      store.child().incr('a', (error, result) => resolve({ error, result }), WINDOW_MS);
    });
    expect(given).toEqual({ error: null, result: { current: 1, ttl: WINDOW_MS } });
  });
});
