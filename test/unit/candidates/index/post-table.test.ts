import { Worker } from 'node:worker_threads';
import { describe, expect, it, vi } from 'vitest';
import { newPostOf, type PostTable } from '../../../../src/candidates/index/post-table.ts';
import { enlarge } from '../../../../src/candidates/index/table-bytes.ts';
import { largestCapacity, memoryLayout } from '../../../../src/candidates/index/table-layout.ts';
import { hash32, hash64 } from '../../../../src/hashing.ts';
import { createdAtMs, FIELD, FLAG, RECORD_WORDS, wordHash } from '../../../../src/post-record.ts';
import { postOf, START_MS, tableOf, vectorsOf } from './seeded-posts.ts';

// Worker threads, child processes and compilation take seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const vectors = vectorsOf(300);

function word(table: PostTable, row: number, field: number): number {
  return table.records.u32[row * RECORD_WORDS + field];
}

function chainOf(table: PostTable, authorId: string): string[] {
  const { lo, hi } = hash64(authorId);
  const ids: string[] = [];
  let row = table.newestByAuthor(lo, hi);
  while (row >= 0) {
    ids.push(table.keyOf(row));
    row = word(table, row, FIELD.previousByAuthor) - 1;
  }
  return ids;
}

describe('PostTable', () => {
  it('finds every post by key and gives its id back, any characters included', () => {
    const table = tableOf([]);
    const ids = ['a', 'ключ', '日本/語', '👩‍🚀', 'x'.repeat(250), 'with\u0000nul', ''];
    ids.forEach((id, i) => {
      expect(table.append({ ...newPostOf(postOf(i)), id }, vectors[i])).toBe(i);
    });
    for (const [i, id] of ids.entries()) {
      expect(table.rowOfId(id)).toBe(i);
      expect(table.keyOf(i)).toBe(id);
    }
    expect(table.rowOfId('absent')).toBe(-1);
    expect(table.newestByAuthor(1, 2)).toBe(-1);
  });

  it('keeps what filters and features read: time, author, topic, flags, language, words, unit vector', () => {
    const table = tableOf([]);
    const post = newPostOf({
      id: 'p',
      authorId: 'a',
      createdAt: START_MS + 0.5,
      title: 'Hello HELLO world',
      text: 'straße x 42',
      topic: 'news',
      language: 'de-AT',
      mediaType: 'image',
      sensitive: true,
      replyTo: 'q',
    });
    table.append(
      post,
      vectors[0].map((value) => value * 3),
    );
    expect(createdAtMs(table.records, 0)).toBe(START_MS + 0.5);
    expect(word(table, 0, FIELD.topic)).toBe(hash32('news'));
    const flags = word(table, 0, FIELD.flags);
    expect(flags & 0xff).toBe(FLAG.media | FLAG.sensitive | FLAG.reply | FLAG.text);
    expect((flags >>> 8) & 0xff).toBe(post.language);
    expect(flags >>> 16).toBe('Hello HELLO world\nstraße x 42'.length);
    const words = [...table.records.u16.subarray(FIELD.words * 2, FIELD.words * 2 + 16)];
    expect(words.filter(Boolean)).toEqual(['hello', 'world', 'straße', '42'].map(wordHash));
    expect(Math.hypot(...table.vectors.subarray(0, 64))).toBeCloseTo(1, 5);
  });

  it('links an author’s posts newest first, also when an older one arrives late', () => {
    const table = tableOf([]);
    const times = [100, 300, 200, 50, 300, 250];
    times.forEach((at, i) => {
      table.append({ ...newPostOf(postOf(i)), authorId: 'one', createdAt: at }, vectors[i]);
    });
    const order = chainOf(table, 'one').map((id) => times[Number(id.slice(5))]);
    expect(order).toEqual([300, 300, 250, 200, 100, 50]);
  });

  it('refuses an id that is there, and a post beyond its capacity, without changing anything', () => {
    const table = tableOf(vectors.slice(0, 3), 3, 1);
    expect(() => table.append(newPostOf(postOf(1)), vectors[9])).toThrow(/already in the catalogue/);
    expect(table.append(newPostOf(postOf(3)), vectors[3])).toBe(3);
    expect(() => table.append(newPostOf(postOf(4)), vectors[4])).toThrow(
      expect.objectContaining({ code: 'overloaded' }),
    );
    expect(table.rows).toBe(4);
    expect(table.rowOfId('post-4')).toBe(-1);
    expect(chainOf(table, 'author-4')).toEqual([]);
  });

  it('refuses vectors that are no direction: NaN, Infinity, holes, wrong length, empty, zero', () => {
    const table = tableOf(vectors.slice(0, 2));
    const bad: ArrayLike<number>[] = [
      vectors[2].map((value, i) => (i === 7 ? Number.NaN : value)),
      vectors[2].map((value, i) => (i === 0 ? Number.POSITIVE_INFINITY : value)),
      [...vectors[2].slice(0, 63), undefined] as number[],
      [...vectors[2].slice(0, 63), null] as unknown as number[],
      vectors[2].slice(0, 63),
      new Float32Array(65).fill(1),
      new Float32Array(0),
      new Float32Array(64),
    ];
    for (const vector of bad) {
      expect(() => table.append(newPostOf(postOf(2)), vector as Float32Array)).toThrow(
        expect.objectContaining({ code: 'invalid_input' }),
      );
      expect(() => table.updatePost(0, newPostOf(postOf(0)), vector as Float32Array)).toThrow(
        expect.objectContaining({ code: 'invalid_input' }),
      );
    }
    expect(table.rows).toBe(2);
  });

  it('marks rows deleted and restores them, in bitmap, flags and counts', () => {
    const table = tableOf(vectors.slice(0, 40), 30);
    expect(table.markDeleted(33)).toBe(true);
    expect(table.markDeleted(5)).toBe(true);
    expect(table.markDeleted(5)).toBe(false);
    expect(table.deletedRows).toEqual({ all: 2, base: 1 });
    expect(table.isDeleted(33)).toBe(true);
    expect(table.isDeleted(34)).toBe(false);
    expect(word(table, 5, FIELD.flags) & FLAG.deleted).toBe(FLAG.deleted);
    table.updatePost(5, newPostOf({ ...postOf(5), topic: 'other' }), vectors[200]);
    expect(word(table, 5, FIELD.flags) & FLAG.deleted).toBe(FLAG.deleted);
    expect(word(table, 5, FIELD.topic)).toBe(hash32('other'));
    expect(table.vectors[5 * 64]).toBeCloseTo(vectors[200][0], 6);
    expect(table.restore(5)).toBe(true);
    expect(table.deletedRows).toEqual({ all: 1, base: 0 });
    for (const row of [-1, 40, 1.5, Number.NaN]) expect(() => table.markDeleted(row)).toThrow(/is not a row/);
  });

  it('answers an age window with a range of base rows', () => {
    const table = tableOf(vectors.slice(0, 100));
    expect(table.baseRange(START_MS + 10_000, START_MS + 20_500)).toEqual([10, 21]);
    expect(table.baseRange(0, START_MS)).toEqual([0, 0]);
    expect(table.baseRange(0, Number.MAX_SAFE_INTEGER)).toEqual([0, 100]);
  });

  it('keeps every row when it moves to a larger memory', async () => {
    const table = tableOf(vectors.slice(0, 100), 100, 0);
    table.addEngagement(7, 'like', 0, START_MS + 1e6);
    const larger = await enlarge(table, 250);
    for (let row = 0; row < 100; row++) {
      expect(larger.keyOf(row)).toBe(table.keyOf(row));
      expect(larger.rowOfId(table.keyOf(row))).toBe(row);
    }
    expect(larger.vectors.subarray(0, 6400)).toEqual(table.vectors.subarray(0, 6400));
    expect(larger.codes.subarray(0, 6400)).toEqual(table.codes.subarray(0, 6400));
    expect(larger.append(newPostOf(postOf(100)), vectors[100])).toBe(100);
    expect(chainOf(larger, 'author-0')).toEqual(['post-100', 'post-50', 'post-0']);
    expect(larger.records.f32[7 * RECORD_WORDS + FIELD.likes]).toBe(1);
  });

  it('refuses a capacity beyond one WebAssembly memory, naming the limit', () => {
    expect(() => memoryLayout(14_000_000)).toThrow(/at most 4294967296/);
    const lists = { count: 16_384, rows: 10_000_000 };
    expect(memoryLayout(12_500_000, lists).pages).toBeLessThanOrEqual(65_536);
    expect(largestCapacity(20_000_000, lists)).toBeGreaterThan(13_000_000);
    expect(() => memoryLayout(largestCapacity(20_000_000, lists), lists)).not.toThrow();
    // Ten millions have room for the codes in the order of the lists, and for a tenth more of live posts.
    const packed = largestCapacity(20_000_000, lists, true);
    expect(packed).toBeGreaterThan(11_000_000);
    expect(memoryLayout(packed, lists).lists?.codesAt).not.toBeNull();
    expect(memoryLayout(packed + 1000, lists).lists?.codesAt).toBeNull();
  });

  it('shows a worker thread only complete rows while it appends, and lets it write nothing', async () => {
    const table = tableOf([], 0, 20_000);
    const worker = new Worker(new URL('./watch-table.ts', import.meta.url), { workerData: table.handle() });
    try {
      const next = () => new Promise<Record<string, unknown>>((resolve) => worker.once('message', resolve));
      expect(await next()).toEqual({ ready: true, writeRefused: 'internal' });
      const result = next();
      for (let i = 0; i < 20_000; i++) table.append(newPostOf(postOf(i)), vectors[i % 300]);
      const { checked, problems, watchedGrowth } = await result;
      expect(problems).toEqual([]);
      expect(checked).toBe(20_000);
      expect(watchedGrowth).toBe(true);
    } finally {
      await worker.terminate();
    }
  });
});
