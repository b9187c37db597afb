import { describe, expect, it, vi } from 'vitest';
import { IngestGate } from '../../../src/api/ingest-gate.ts';
import { PostCache } from '../../../src/api/post-cache.ts';
import { SeenRecorder } from '../../../src/api/seen-recorder.ts';
import { ServingLogQueue } from '../../../src/api/serving-log-queue.ts';
import type { Post, ServingRecord } from '../../../src/contracts.ts';
import { deadlineIn } from '../../../src/deadline.ts';
import { packHashes } from '../../../src/hashing.ts';
import { NOW, post } from './world.ts';

const soon = () => deadlineIn(5000);
const record = (requestId: string, userId = 'u'): ServingRecord => ({
  requestId,
  userId,
  at: NOW,
  model: 'm',
  index: 'g',
  rules: 'r',
  explored: false,
  degraded: [],
  watermark: '',
  posts: [],
});

/** A promise settled from outside. */
function later<T = void>() {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

describe('the serving log queue', () => {
  it('writes everything, in order and in batches', async () => {
    const batches: string[][] = [];
    const queue = new ServingLogQueue(
      { append: async (records) => void batches.push(records.map(({ requestId }) => requestId)) },
      1000,
      () => {},
    );
    for (let i = 0; i < 450; i++) queue.push(record(String(i)));
    await queue.close();
    expect(batches.flat()).toEqual(Array.from({ length: 450 }, (_, i) => String(i)));
    // Short batches, since each is one block of JSON on the event loop; full ones but the last.
    expect(batches.map((batch) => batch.length)).toEqual([...Array(7).fill(60), 30]);
  });

  it('counts what does not fit', async () => {
    let lost = 0;
    const gate = later();
    const queue = new ServingLogQueue({ append: () => gate.promise }, 5, (records) => {
      lost += records;
    });
    for (let i = 0; i < 8; i++) queue.push(record(String(i)));
    // The first is told at once, those after it together.
    expect(lost).toBe(1);
    gate.resolve();
    await queue.close();
    expect(lost).toBe(3);
  });

  it('tries a failed batch again, then counts it as lost and goes on', async () => {
    let attempts = 0;
    let lost = 0;
    const written: string[] = [];
    const queue = new ServingLogQueue(
      {
        append: async (records) => {
          attempts++;
          if (records[0].requestId === 'bad') throw new Error('no');
          written.push(...records.map(({ requestId }) => requestId));
        },
      },
      10,
      (records) => {
        lost += records;
      },
    );
    queue.push(record('bad'));
    await queue.flush();
    expect([attempts, lost, queue.size]).toEqual([1, 0, 1]);
    await queue.flush();
    await queue.flush();
    expect([attempts, lost, queue.size]).toEqual([3, 1, 0]);
    queue.push(record('good'));
    await queue.close();
    expect(written).toEqual(['good']);
  });

  it('asks a log that fails every half second, however many pages are served meanwhile, and loses little', async () => {
    vi.useFakeTimers();
    try {
      let attempts = 0;
      let lost = 0;
      let isBack = false;
      const written: string[] = [];
      const queue = new ServingLogQueue(
        {
          append: async (records) => {
            attempts++;
            // An answer takes longer than what is served meanwhile sets its timer for.
            await new Promise((resolve) => setTimeout(resolve, 200));
            if (!isBack) throw new Error('no');
            written.push(...records.map(({ requestId }) => requestId));
          },
        },
        10_000,
        (records) => {
          lost += records;
        },
      );
      const serve = async (seconds: number) => {
        for (let i = 0; i < seconds * 100; i++) {
          queue.push(record(`${attempts}-${i}`));
          await vi.advanceTimersByTimeAsync(10);
        }
      };
      await serve(10);
      expect(attempts).toBeLessThanOrEqual(40);
      expect(attempts).toBeGreaterThanOrEqual(10);
      // One batch, each third time.
      expect(lost).toBeGreaterThan(0);
      expect(lost).toBeLessThan(500);
      isBack = true;
      await vi.advanceTimersByTimeAsync(60_000);
      expect(queue.size).toBe(0);
      expect(written.length + lost).toBe(1000);
    } finally {
      vi.useRealTimers();
    }
  });

  it('forgets a user before and after a write that fails', async () => {
    const gate = later<Error>();
    const written: string[] = [];
    let first = true;
    const queue = new ServingLogQueue(
      {
        append: async (records) => {
          if (first) {
            first = false;
            throw await gate.promise;
          }
          written.push(...records.map(({ userId }) => userId));
        },
      },
      10,
      () => {},
    );
    queue.push(record('1', 'gone'));
    queue.push(record('2', 'stays'));
    const flushed = queue.flush();
    queue.push(record('3', 'gone'));
    const forgotten = queue.forget('gone');
    gate.resolve(new Error('no'));
    await Promise.all([flushed, forgotten]);
    await queue.close();
    expect(written).toEqual(['stays']);
  });
});

describe('the post cache', () => {
  const found = (posts: (Post | null)[]) => posts.map((one) => one?.title);

  it('reads what it does not know once, keeps order, and null for what is not there', async () => {
    const asked: string[][] = [];
    const cache = new PostCache(
      {
        getPosts: async (ids) => {
          asked.push([...ids]);
          return ids.map((id) => (id === 'none' ? null : post(id)));
        },
      },
      10,
    );
    expect(found(await cache.getPosts(['a', 'none', 'b', 'a'], soon()))).toEqual([
      'Title of a',
      undefined,
      'Title of b',
      'Title of a',
    ]);
    await cache.getPosts(['b', 'c', 'a'], soon());
    expect(asked).toEqual([['a', 'none', 'b'], ['c']]);
  });

  it('keeps no more than its size, and what was used last', async () => {
    const asked: string[] = [];
    const cache = new PostCache(
      {
        getPosts: async (ids) => {
          asked.push(...ids);
          return ids.map((id) => post(id));
        },
      },
      2,
    );
    await cache.getPosts(['a'], soon());
    await cache.getPosts(['b'], soon());
    await cache.getPosts(['a'], soon());
    await cache.getPosts(['c'], soon());
    await cache.getPosts(['a'], soon());
    await cache.getPosts(['b'], soon());
    expect(asked).toEqual(['a', 'b', 'c', 'b']);
  });

  it('asks once for what two requests want at once, and again when that read failed by the other’s deadline', async () => {
    const asked: string[][] = [];
    const gate = later();
    const outcomes: Record<string, number> = {};
    const cache = new PostCache(
      {
        getPosts: async (ids) => {
          asked.push([...ids]);
          await gate.promise;
          return ids.map((id) => post(id));
        },
      },
      10,
      (outcome, posts) => {
        outcomes[outcome] = (outcomes[outcome] ?? 0) + posts;
      },
    );
    const both = [cache.getPosts(['a', 'b'], soon()), cache.getPosts(['b', 'c'], soon())];
    const brief = cache.getPosts(['d'], deadlineIn(5));
    const patient = cache.getPosts(['d'], soon());
    await expect(brief).rejects.toMatchObject({ code: 'timeout' });
    await expect.poll(() => asked.length).toBe(4);
    gate.resolve();
    expect((await Promise.all(both)).map(found)).toEqual([
      ['Title of a', 'Title of b'],
      ['Title of b', 'Title of c'],
    ]);
    expect(found(await patient)).toEqual(['Title of d']);
    expect(asked).toEqual([['a', 'b'], ['c'], ['d'], ['d']]);
    await cache.getPosts(['a'], soon());
    expect(outcomes).toEqual({ miss: 4, joined: 2, hit: 1 });
  });

  it('believes that a post is missing only where asked to, for a while, and until it is made', async () => {
    const stored = new Map<string, Post>();
    let reads = 0;
    const cache = new PostCache(
      {
        getPosts: async (ids) => {
          reads++;
          return ids.map((id) => stored.get(id) ?? null);
        },
      },
      2,
    );
    const believing = () => cache.getPosts(['late'], soon(), true);
    expect([await believing(), await believing(), reads]).toEqual([[null], [null], 1]);
    stored.set('late', post('late'));
    expect(found(await cache.getPosts(['late'], soon()))).toEqual(['Title of late']);
    cache.onChange({ kind: 'post_deleted', postId: 'late' });
    stored.delete('late');
    expect(await believing()).toEqual([null]);
    stored.set('late', post('late'));
    cache.onChange({ kind: 'post', post: post('late') });
    expect(found(await believing())).toEqual(['Title of late']);
    // Names that nobody has do not push out posts.
    for (let i = 0; i < 20; i++) await cache.getPosts([`none-${i}`], soon(), true);
    expect(found(cache.peek(['late']))).toEqual(['Title of late']);
  });

  it('does not keep a post that changed while it was being read', async () => {
    let title = 'old';
    const gate = later();
    const cache = new PostCache(
      {
        getPosts: async (ids) => {
          const read = ids.map((id) => post(id, { title }));
          await gate.promise;
          return read;
        },
      },
      10,
    );
    const reading = cache.getPosts(['a'], soon());
    title = 'new';
    cache.onChange({ kind: 'post', post: post('a', { title }) });
    gate.resolve();
    expect(found(await reading)).toEqual(['old']);
    expect(found(await cache.getPosts(['a'], soon()))).toEqual(['new']);
    cache.onChange({ kind: 'post_deleted', postId: 'a' });
    expect(cache.peek(['a'])).toEqual([null]);
  });
});

describe('the seen recorder', () => {
  it('knows what was delivered until the store has it', async () => {
    const gate = later();
    const recorder = new SeenRecorder(
      { putState: () => gate.promise },
      () => NOW,
      () => {},
    );
    recorder.record('u', ['a', 'b']);
    expect(recorder.unconfirmed('u')).toEqual(packHashes(['a', 'b']));
    expect(recorder.unconfirmed('v').length).toBe(0);
    gate.resolve();
    await recorder.drain(1000);
    expect(recorder.unconfirmed('u').length).toBe(0);
  });

  it('goes on knowing it when the store fails, and writes it with the next page when it is back', async () => {
    let lost = 0;
    let down = true;
    const written: string[][] = [];
    const recorder = new SeenRecorder(
      {
        putState: async (_user, { seen }) => {
          if (down) throw new Error('down');
          written.push([...(seen?.postIds ?? [])]);
        },
      },
      () => NOW,
      (posts) => {
        lost += posts;
      },
    );
    recorder.record('u', ['a', 'b']);
    await recorder.drain(1000);
    expect(recorder.unconfirmed('u')).toEqual(packHashes(['a', 'b']));
    down = false;
    recorder.record('u', ['c']);
    recorder.record('u', ['d']);
    await recorder.drain(1000);
    expect(written).toEqual([['a', 'b', 'c', 'd']]);
    expect(recorder.unconfirmed('u').length).toBe(0);
    expect(lost).toBe(0);
  });

  it('gives up the oldest, and counts it, when the store stays away for long', async () => {
    let lost = 0;
    const recorder = new SeenRecorder(
      { putState: () => Promise.reject(new Error('down')) },
      () => NOW,
      (posts) => {
        lost += posts;
      },
    );
    for (let page = 0; page < 3; page++) {
      recorder.record(
        'u',
        Array.from({ length: 400 }, (_, i) => `p${page}-${i}`),
      );
    }
    await recorder.drain(1000);
    expect(lost).toBe(1000);
  });

  it('forgets a user once the writes in flight are over', async () => {
    const gate = later();
    const recorder = new SeenRecorder(
      { putState: () => gate.promise },
      () => NOW,
      () => {},
    );
    recorder.record('u', ['a']);
    let done = false;
    const forgotten = recorder.forget('u').then(() => {
      done = true;
    });
    await Promise.resolve();
    expect(done).toBe(false);
    gate.resolve();
    await forgotten;
    expect(recorder.unconfirmed('u').length).toBe(0);
  });
});

describe('the ingest gate', () => {
  it('runs no more at once than it may and everything in order', async () => {
    const gate = new IngestGate(2, 100);
    let running = 0;
    let most = 0;
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        gate.run(soon(), async () => {
          most = Math.max(most, ++running);
          order.push(i);
          await new Promise((resolve) => setImmediate(resolve));
          running--;
        }),
      ),
    );
    expect(most).toBe(2);
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('gives up waiting at the deadline and lets the next one through', async () => {
    const gate = new IngestGate(1, 10);
    const first = later();
    const running = gate.run(soon(), () => first.promise);
    await expect(gate.run(deadlineIn(10), async () => 'late')).rejects.toMatchObject({
      code: 'overloaded',
      retryAfterSeconds: 1,
    });
    first.resolve();
    await running;
    expect(await gate.run(soon(), async () => 'next')).toBe('next');
  });

  it('frees its place when the work fails', async () => {
    const gate = new IngestGate(1, 0);
    await expect(gate.run(soon(), () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await gate.run(soon(), async () => 'next')).toBe('next');
  });
});
