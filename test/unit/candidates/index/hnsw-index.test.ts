import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { measureFile } from '../../../../src/candidates/index/artifact-files.ts';
import { ExactIndex } from '../../../../src/candidates/index/exact-index.ts';
import { checkGraphFile } from '../../../../src/candidates/index/graph-file.ts';
import { HnswBuilder, HnswIndex, hnswUnavailable } from '../../../../src/candidates/index/hnsw-index.ts';
import { newPostOf } from '../../../../src/candidates/index/post-table.ts';
import { newHits } from '../../../../src/candidates/index/search-table.ts';
import { openIndex, TwoTierIndex } from '../../../../src/candidates/index/two-tier-index.ts';
import { postOf, tableOf, vectorsOf } from './seeded-posts.ts';

// Worker threads, child processes and compilation take seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const missing = await hnswUnavailable();
const ROWS = 25_000;
const folder = await mkdtemp(join(tmpdir(), 'feedrank-hnsw-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(missing !== null)(`hnswlib graph${missing ? ` (skipped: ${missing})` : ''}`, async () => {
  if (missing !== null) return;
  const path = join(folder, 'graph.bin');
  const drawn = vectorsOf(ROWS + 20, 5);
  const vectors = drawn.slice(0, ROWS);
  const queries = drawn.slice(ROWS);
  const builder = await HnswBuilder.create(1000, { m: 8, efConstruction: 40 });
  const first = tableOf(vectors);
  builder.insert(first.vectors, 0, 1000);
  builder.resize(ROWS);
  builder.insert(first.vectors, 1000, ROWS);
  builder.write(path);
  const file = await measureFile(path);
  const graphAt = (at: string, ef: number, rows = ROWS) => ({
    ef,
    shards: [{ path: at, file, firstRow: 0, rows }],
  });
  const open = async (table = tableOf(vectors), ef = 600) => ({
    table,
    graph: await HnswIndex.load(graphAt(path, ef), table),
    exact: await ExactIndex.open(table),
  });

  it('finds nearly all that the exact scan finds, more with a larger ef', async () => {
    const { graph, exact } = await open();
    const a = newHits(200);
    const b = newHits(200);
    const recall = (ef: number) => {
      graph.setEf(ef);
      let found = 0;
      for (const query of queries) {
        graph.search(query, 200, a);
        exact.search(query, 200, b);
        const truth = new Set(b.rows);
        for (const row of a.rows) if (truth.has(row)) found++;
      }
      return found / (200 * queries.length);
    };
    const low = recall(200);
    const high = recall(1200);
    expect(high).toBeGreaterThan(0.95);
    expect(high).toBeGreaterThan(low);
    exact.search(queries[0], 200, b);
    graph.search(queries[0], 200, a);
    expect(a.similarity[0]).toBeCloseTo(b.similarity[0], 4);
    for (let i = 1; i < 200; i++) expect(a.similarity[i]).toBeLessThanOrEqual(a.similarity[i - 1]);
  });

  it('leaves deleted rows out and still returns k', async () => {
    const { table, graph } = await open();
    const hits = newHits(100);
    graph.search(queries[0], 100, hits);
    const gone = [...hits.rows.subarray(0, 10)];
    for (const row of gone) table.markDeleted(row);
    graph.search(queries[0], 100, hits);
    expect(hits.size).toBe(100);
    for (const row of gone) expect(hits.rows).not.toContain(row);
  });

  it('refuses what would kill the process: holes, NaN, wrong length, k out of range', async () => {
    const { graph } = await open();
    const hits = newHits(10);
    const bad = [
      [...queries[0].slice(0, 63), null],
      [...queries[0].slice(0, 63), undefined],
      queries[0].map(() => Number.NaN),
      queries[0].slice(1),
      [],
    ] as unknown as Float32Array[];
    for (const query of bad) expect(() => graph.search(query, 10, hits)).toThrow(/query/);
    for (const k of [0, -1, 11, 1e9]) expect(() => graph.search(queries[0], k, hits)).toThrow(/k:|hits:/);
    graph.search(queries[0], 10, hits);
    expect(hits.size).toBe(10);
  });

  it('refuses a torn, changed or foreign file before native code reads it, and scans instead', async () => {
    const table = tableOf(vectors);
    const bytes = await readFile(path);
    const bad = join(folder, 'bad.bin');
    await writeFile(bad, bytes.subarray(0, bytes.length - 100));
    await expect(HnswIndex.load(graphAt(bad, 100), table)).rejects.toThrow(/bytes/);
    await expect(checkGraphFile(bad, ROWS)).rejects.toThrow(/torn/);
    const flipped = Buffer.from(bytes);
    flipped[bytes.length >> 1] ^= 1;
    await writeFile(bad, flipped);
    await expect(HnswIndex.load(graphAt(bad, 100), table)).rejects.toThrow(/sha256/);
    await copyFile(path, bad);
    await expect(HnswIndex.load(graphAt(bad, 100, ROWS + 1), table)).rejects.toThrow(/holds 25000 rows/);
    const smaller = tableOf(vectors.slice(0, 100));
    await expect(HnswIndex.load(graphAt(bad, 100), smaller)).rejects.toThrow(/covers 25000 rows of 100/);
    await expect(checkGraphFile(bad, ROWS - 1)).rejects.toThrow(/holds 25000 rows/);
    await writeFile(bad, 'nothing');
    await expect(checkGraphFile(bad, ROWS)).rejects.toThrow(/header/);
    const { index, reason } = await openIndex(table, graphAt(bad, 100));
    expect(index.kind).toBe('exact');
    expect(reason).toMatch(/bad\.bin: has 7 bytes/);
    const hits = newHits(10);
    index.search(vectors[3], 10, hits);
    expect(hits.rows[0]).toBe(3);
  });

  it('merges base and live posts, best first, and names both ways of searching', async () => {
    const { table, graph, exact } = await open();
    const index = new TwoTierIndex(table, exact, graph);
    expect(index.kind).toBe('hnsw+exact');
    const hits = newHits(300);
    const truth = newHits(300);
    vectorsOf(500, 31).forEach((vector, i) => {
      table.append(newPostOf(postOf(ROWS + i)), vector);
    });
    table.append(newPostOf(postOf(ROWS + 500)), queries[0]);
    index.search(queries[0], 300, hits);
    exact.search(queries[0], 300, truth);
    expect(hits.rows[0]).toBe(ROWS + 500);
    for (let i = 1; i < 300; i++) expect(hits.similarity[i]).toBeLessThanOrEqual(hits.similarity[i - 1]);
    const live = (rows: Uint32Array) => [...rows].filter((row) => row >= ROWS).sort();
    expect(live(hits.rows)).toEqual(live(truth.rows));
    expect(new Set(hits.rows).size).toBe(300);
    index.search(queries[0], 50, hits, ROWS);
    for (const row of hits.rows.subarray(0, hits.size)) expect(row).toBeGreaterThanOrEqual(ROWS);
  });

  it('still finds k when most of the base, or all near the query, is deleted', async () => {
    const { table, graph, exact } = await open();
    const index = new TwoTierIndex(table, exact, graph);
    const hits = newHits(500);
    exact.search(queries[1], 500, hits);
    for (const row of hits.rows) table.markDeleted(row);
    index.search(queries[1], 500, hits);
    expect(hits.size).toBe(500);
    for (let row = 0; row < ROWS; row++) if (row % 50 !== 0) table.markDeleted(row);
    index.search(queries[1], 400, hits);
    expect(hits.size).toBe(400);
    for (const row of hits.rows.subarray(0, hits.size)) expect(row % 50).toBe(0);
  });
});
