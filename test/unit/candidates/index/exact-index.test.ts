import { readFile } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
// @ts-expect-error: the build is plain JavaScript, so that it runs before anything is typed
import { compileKernel, SCAN_KERNEL } from '../../../../scripts/setup/build-kernels.mjs';
import { ExactIndex } from '../../../../src/candidates/index/exact-index.ts';
import { PlainScan } from '../../../../src/candidates/index/plain-scan.ts';
import { PostTable } from '../../../../src/candidates/index/post-table.ts';
import { newHits } from '../../../../src/candidates/index/search-table.ts';
import { HEADER, SCRATCH_SLOTS } from '../../../../src/candidates/index/table-layout.ts';
import { encodeRow } from '../../../../src/candidates/index/vector-codes.ts';
import { DIM } from '../../../../src/vocabulary.ts';
import { randomOf, tableOf, unitVector, vectorsOf } from './seeded-posts.ts';

// Worker threads, child processes and compilation take seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const kernel = new URL('../../../../src/candidates/index/scan-kernel/scan.wasm', import.meta.url);
const vectors = vectorsOf(5000, 3);
const table = tableOf(vectors);
const exact = await ExactIndex.open(table);
const oracle = new PlainScan(table);

describe('exact scan', () => {
  it('is built from the committed source', async () => {
    const committed = await readFile(kernel);
    expect(Buffer.compare(await compileKernel(SCAN_KERNEL), committed)).toBe(0);
  });

  it('finds what plain float32 finds, in the same order, for any query, k and range', () => {
    const a = newHits(5000);
    const b = newHits(5000);
    const input = fc.record({
      seed: fc.integer({ min: 1, max: 1e9 }),
      k: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 65, max: 5000 })),
      from: fc.integer({ min: 0, max: 5000 }),
      length: fc.integer({ min: 0, max: 5000 }),
    });
    let found = 0;
    let wanted = 0;
    fc.assert(
      fc.property(input, ({ seed, k, from, length }) => {
        const to = Math.min(5000, from + length);
        const query = unitVector(randomOf(seed));
        exact.search(query, k, a, from, to);
        oracle.search(query, k, b, from, to);
        expect(a.size).toBe(Math.min(k, to - from));
        expect(b.size).toBe(a.size);
        const truth = new Set(b.rows.subarray(0, b.size));
        expect(new Set(a.rows.subarray(0, a.size)).size).toBe(a.size);
        for (let i = 0; i < a.size; i++) {
          expect(a.rows[i]).toBeGreaterThanOrEqual(from);
          expect(a.rows[i]).toBeLessThan(to);
          if (i > 0) expect(a.similarity[i]).toBeLessThanOrEqual(a.similarity[i - 1]);
          if (truth.has(a.rows[i])) found++;
          // Where both found the row at a place, they agree on its similarity.
          if (a.rows[i] === b.rows[i]) expect(a.similarity[i]).toBeCloseTo(b.similarity[i], 5);
        }
        wanted += b.size;
      }),
      { numRuns: 60 },
    );
    expect(found / wanted).toBeGreaterThan(0.999);
  });

  it('leaves deleted rows out until they are restored', () => {
    const own = tableOf(vectors.slice(0, 100));
    return ExactIndex.open(own).then((index) => {
      const hits = newHits(100);
      own.markDeleted(17);
      index.search(vectors[17], 100, hits);
      expect(hits.size).toBe(99);
      expect([...hits.rows.subarray(0, hits.size)]).not.toContain(17);
      own.restore(17);
      index.search(vectors[17], 1, hits);
      expect(hits.rows[0]).toBe(17);
      expect(hits.similarity[0]).toBeCloseTo(1, 5);
    });
  });

  it('puts the lower row first among equal posts, whatever the threshold was when it met them', async () => {
    const twins = tableOf(Array.from({ length: 3000 }, () => vectors[0]));
    const index = await ExactIndex.open(twins);
    const hits = newHits(50);
    index.search(vectors[0], 50, hits);
    expect([...hits.rows]).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  it('answers an empty table with no hits', async () => {
    const hits = newHits(10);
    (await ExactIndex.open(tableOf([]))).search(vectors[0], 10, hits);
    expect(hits.size).toBe(0);
  });

  it('refuses queries and sizes that it cannot answer', () => {
    const hits = newHits(10);
    const bad = [
      new Float32Array(63).fill(1),
      new Float32Array(0),
      new Float32Array(64),
      vectors[0].map(() => Number.NaN),
      vectors[0].map(() => Number.POSITIVE_INFINITY),
      [...vectors[0].slice(0, 63), null] as unknown as Float32Array,
    ];
    for (const index of [exact, oracle]) {
      for (const query of bad) {
        expect(() => index.search(query, 10, hits)).toThrow(
          expect.objectContaining({ code: 'invalid_input' }),
        );
      }
      for (const k of [0, -1, 1.5, Number.NaN, 11, 1e9]) {
        expect(() => index.search(vectors[0], k, hits)).toThrow(
          expect.objectContaining({ code: 'invalid_input' }),
        );
      }
    }
  });

  it('searches the same memory from several threads at once without disturbing one another', async () => {
    const queries = vectorsOf(40, 77);
    const hits = newHits(500);
    const expected = queries.map((query) => {
      exact.search(query, 500, hits);
      return hits.rows.reduce((sum, row, i) => (sum + row * (i + 1)) % 1e9, 0);
    });
    const workers = [1, 2, 3].map(
      () =>
        new Worker(new URL('./search-table-worker.ts', import.meta.url), {
          workerData: { handle: table.handle(), queries },
        }),
    );
    try {
      const answers = await Promise.all(
        workers.map(
          (worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject)),
        ),
      );
      for (const answer of answers) expect(answer).toEqual(expected);
    } finally {
      for (const worker of workers) await worker.terminate();
    }
  });

  it('puts the lower row first where any number of rows are equally near', async () => {
    const near = vectorsOf(3, 8);
    const many = await ExactIndex.open(tableOf(Array.from({ length: 3000 }, (_, i) => near[i % 3])));
    for (const k of [5, 150, 900, 1000, 1001, 2999, 3000]) {
      const hits = newHits(k);
      many.search(near[1], k, hits);
      const best = Array.from({ length: Math.min(k, 1000) }, (_, i) => 3 * i + 1);
      expect([...hits.rows.subarray(0, best.length)]).toEqual(best);
      for (let i = 1; i < hits.size; i++) {
        const falls = hits.similarity[i] < hits.similarity[i - 1];
        expect(falls || hits.rows[i] > hits.rows[i - 1]).toBe(true);
      }
    }
  });

  it('refuses more threads than it has scratch memory for', async () => {
    const own = tableOf(vectors.slice(0, 10));
    for (let i = 0; i < SCRATCH_SLOTS; i++) await ExactIndex.open(own);
    await expect(ExactIndex.open(own)).rejects.toMatchObject({ code: 'overloaded' });
  });
});

describe('a table beyond 2³¹ bytes of vectors', () => {
  it.each([
    ['without', 12_000_000],
    ['with', 10_500_000],
  ])(
    'is searched, scored and probed at its last rows, %s codes in the order of the lists',
    async (which, rows) => {
      const lists = { count: 4, rows };
      const table = PostTable.create({
        generation: 'large',
        baseRows: rows,
        capacity: rows + 8,
        keyBytes: 64,
        lists,
      });
      const first = rows - 8;
      const vectors = vectorsOf(8, 5);
      vectors.forEach((vector, i) => {
        table.vectors.set(vector, (first + i) * DIM);
        encodeRow(table.vectors, table.codes, first + i);
      });
      Atomics.store(table.header, HEADER.rows, rows);
      const { centroids, centroidCodes, codes, offsets, rows: listed } = table.lists!;
      expect(codes === null).toBe(which === 'without');
      centroids.set(vectors[3], 0);
      encodeRow(centroids, centroidCodes, 0);
      listed.set(
        vectors.map((_, i) => first + i),
        first,
      );
      codes?.set(table.codes.subarray(first * DIM, rows * DIM), first * DIM);
      offsets.set([first, rows, rows, rows, rows]);
      const scan = await ExactIndex.open(table);
      const hits = newHits(3);
      scan.search(vectors[3], 3, hits, first);
      expect(hits.rows[0]).toBe(first + 3);
      expect(hits.similarity[0]).toBeCloseTo(1, 5);
      const exact = [...hits.rows];
      scan.searchLists(vectors[3], 3, hits, 1, first);
      expect([...hits.rows]).toEqual(exact);
      const scores = new Float32Array(8);
      scan.similarities(vectors[3], first, scores);
      expect(scores[3]).toBeCloseTo(1, 5);
      expect(scores[exact[1] - first]).toBeCloseTo(hits.similarity[1], 5);
      const apart = new Float32Array(2);
      scan.similaritiesOf(vectors[3], Uint32Array.of(exact[1], first), apart);
      expect([...apart]).toEqual([scores[exact[1] - first], scores[0]]);
      expect(() => scan.similaritiesOf(vectors[3], Uint32Array.of(first, rows), apart)).toThrow(/rows/);
    },
  );
});
