import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ageWindow } from '../../../../src/candidates/age-window.ts';
import { loadGeneration } from '../../../../src/candidates/index/artifact.ts';
import { measureFile } from '../../../../src/candidates/index/artifact-files.ts';
import { buildIndex } from '../../../../src/candidates/index/build.ts';
import { ExactIndex } from '../../../../src/candidates/index/exact-index.ts';
import { InvertedIndex } from '../../../../src/candidates/index/inverted-index.ts';
import { buildInvertedLists, listCount } from '../../../../src/candidates/index/inverted-lists.ts';
import { packLists } from '../../../../src/candidates/index/packed-lists.ts';
import { PostTable } from '../../../../src/candidates/index/post-table.ts';
import { newHits } from '../../../../src/candidates/index/search-table.ts';
import { calibrateShortSearches, type ListProbes } from '../../../../src/candidates/index/short-searches.ts';
import { openIndex, TwoTierIndex } from '../../../../src/candidates/index/two-tier-index.ts';
import { parseRetrievalConfig } from '../../../../src/candidates/retrieval-config.ts';
import { SimilarSource } from '../../../../src/candidates/similar-source.ts';
import { packHashes } from '../../../../src/hashing.ts';
import { DIM } from '../../../../src/vocabulary.ts';
import { feedQuery } from '../test-world.ts';
import { batchesOf, postOf, randomOf, tableOf, unitVector, vectorsOf } from './seeded-posts.ts';

const ROWS = 25_000;
const vectors = vectorsOf(ROWS, 3, 200, 0.6);
const table = withLists(tableOf(vectors));
await fillLists(table, 256);
const scan = await ExactIndex.open(table);

/** The same posts in a table with room for lists. */
function withLists(from: PostTable, count = 256): PostTable {
  const { rows } = from;
  const lists = { count, rows };
  const to = PostTable.create({
    generation: 'lists',
    baseRows: rows,
    capacity: rows + 100,
    keyBytes: 4e6,
    lists,
  });
  vectors.slice(0, rows).forEach((vector, i) => {
    to.append({ ...postOf(i), topic: '', language: 0, flags: 0, text: '' }, vector);
  });
  return to;
}

/** The same number of lists whatever is asked for. */
function probing(all: number): ListProbes {
  return { all, short: [] };
}

async function fillLists(into: PostTable, lists: number): Promise<void> {
  const built = await buildInvertedLists(into, { lists });
  into.lists?.centroids.set(built.centroids);
  into.lists?.offsets.set(built.offsets);
  into.lists?.rows.set(built.rows);
  if (into.lists) await packLists(into.lists, into.codes);
}

describe('inverted lists', () => {
  it('hold every row once, in the list of the centroid that is nearest', () => {
    const { offsets, rows, centroids } = table.lists!;
    expect([...rows].sort((a, b) => a - b)).toEqual(Array.from({ length: ROWS }, (_, i) => i));
    const dot = (row: number, list: number) => {
      let sum = 0;
      for (let d = 0; d < DIM; d++) sum += vectors[row][d] * centroids[list * DIM + d];
      return sum;
    };
    let behind = 0;
    for (let list = 0; list < 256; list += 16) {
      expect(Math.hypot(...centroids.subarray(list * DIM, (list + 1) * DIM))).toBeCloseTo(1, 4);
      for (let at = offsets[list]; at < offsets[list + 1]; at++) {
        if (at > offsets[list]) expect(rows[at]).toBeGreaterThan(rows[at - 1]);
        const own = dot(rows[at], list);
        for (let other = 0; other < 256; other++) behind = Math.max(behind, dot(rows[at], other) - own);
      }
    }
    // The codes of both sides are rounded to 1/126.
    expect(behind).toBeLessThan(0.03);
  });

  it('are the same in every build, and in a number that grows with the root of the rows', async () => {
    const small = tableOf(vectors.slice(0, 2000));
    expect(await buildInvertedLists(small)).toEqual(await buildInvertedLists(small));
    expect([100, 25_000, 1_000_000, 1e9].map(listCount)).toEqual([32, 512, 4096, 16_384]);
  });

  it('find what the whole scan finds when all are probed, and most of it with a tenth of them', () => {
    const hits = newHits(500);
    const truth = newHits(500);
    const ivf = new InvertedIndex(scan, probing(1));
    let found = 0;
    const property = fc.property(fc.integer({ min: 1, max: 1e9 }), (seed) => {
      const query = vectors[seed % ROWS];
      scan.search(query, 500, truth);
      ivf.setProbes(probing(256));
      ivf.search(query, 500, hits);
      expect(new Set(hits.rows)).toEqual(new Set(truth.rows));
      expect(hits.similarity).toEqual(truth.similarity);
      ivf.setProbes(probing(25));
      ivf.search(query, 500, hits);
      const wanted = new Set(truth.rows);
      for (let i = 0; i < hits.size; i++) {
        if (wanted.has(hits.rows[i])) found++;
        if (i > 0) expect(hits.similarity[i]).toBeLessThanOrEqual(hits.similarity[i - 1]);
      }
    });
    fc.assert(property, { numRuns: 30 });
    expect(found / (30 * 500)).toBeGreaterThan(0.9);
  });

  it('leave deleted rows out, and the serving search fills up by the scan what small lists lack', async () => {
    const few = withLists(tableOf(vectors));
    await fillLists(few, 256);
    const { index } = await openIndex(few, null, probing(1));
    expect(index.kind).toBe('ivf+exact');
    const hits = newHits(1000);
    const query = unitVector(randomOf(5));
    index.search(query, 1000, hits);
    expect(hits.size).toBe(1000);
    const first = hits.rows[0];
    few.markDeleted(first);
    index.search(query, 1000, hits);
    expect(hits.rows).not.toContain(first);
    const recall = index.recallOf(vectors[9], 100);
    expect(recall).toBeGreaterThan(0);
    expect(recall).toBeLessThanOrEqual(1);
    expect((await openIndex(few, null)).index.recallOf(vectors[9], 100)).toBeNull();
    few.append({ ...postOf(ROWS), topic: '', language: 0, flags: 0, text: '' }, query);
    index.search(query, 10, hits);
    expect(hits.rows[0]).toBe(ROWS);
  });

  it('find the same in the order of the lists and, where the memory has no room for that, of the rows', async () => {
    const handle = table.handle();
    const lists = { ...handle.layout.lists!, codesAt: null };
    const scattered = await ExactIndex.open(
      PostTable.open({ ...handle, layout: { ...handle.layout, lists } }),
    );
    expect(table.lists?.codes).not.toBeNull();
    const property = fc.property(
      fc.integer({ min: 1, max: 1e9 }),
      fc.integer({ min: 1, max: 1200 }),
      fc.integer({ min: 1, max: 256 }),
      fc.integer({ min: 0, max: ROWS - 1 }),
      (seed, k, probes, fromRow) => {
        const query = unitVector(randomOf(seed));
        const [packed, other] = [newHits(k), newHits(k)];
        scan.searchLists(query, k, packed, probes, fromRow);
        scattered.searchLists(query, k, other, probes, fromRow);
        expect(packed).toEqual(other);
      },
    );
    fc.assert(property, { numRuns: 40 });
  });

  it('hold the codes of a post whose vector changed', async () => {
    const edited = withLists(tableOf(vectors));
    await fillLists(edited, 256);
    const post = { ...postOf(4321), topic: '', language: 0, flags: 0, text: 'edited' };
    edited.updatePost(4321, post, unitVector(randomOf(99)));
    const { rows, codes } = edited.lists!;
    for (let at = 0; at < ROWS; at += rows[at + 1] === 4321 ? 1 : 7) {
      const from = rows[at] * DIM;
      expect(codes!.subarray(at * DIM, (at + 1) * DIM)).toEqual(edited.codes.subarray(from, from + DIM));
    }
    const at = rows.indexOf(4321);
    expect(codes!.subarray(at * DIM, (at + 1) * DIM)).not.toEqual(
      table.codes.subarray(4321 * DIM, 4322 * DIM),
    );
  });

  it('are read in smaller number for few neighbours, as many as were measured to find them', () => {
    const lists = new InvertedIndex(scan, probing(64));
    const readers = Array.from({ length: 40 }, (_, i) => vectors[i * 600]);
    const input = { scan, lists, readers, vectors: table.vectors, rows: ROWS, k: 500, targetRecall: 0.9 };
    const short = calibrateShortSearches({ ...input, most: 64 });
    expect(short.map((one) => one.k)).toEqual([32, 128]);
    for (const { recall, probes } of short) {
      expect(recall).toBeGreaterThanOrEqual(0.95);
      expect(probes).toBeLessThan(64);
    }
    expect(short[0].probes).toBeLessThanOrEqual(short[1].probes);
    expect(calibrateShortSearches({ ...input, most: 1 })).toEqual([]);
    expect(calibrateShortSearches({ ...input, most: 64, k: 20 })).toEqual([]);

    lists.setProbes({ all: 64, short });
    const share = (probes: number) => Math.ceil((ROWS * probes) / 256);
    expect([20, 100, 500].map((k) => lists.probedRows(k))).toEqual(
      [short[0].probes, short[1].probes, 64].map(share),
    );
    // A part of the rows is looked for as deep as that many more of all.
    expect(lists.probedRows(20, ROWS / 2)).toBe(share(short[1].probes));
    const [found, exact] = [newHits(20), newHits(20)];
    lists.search(vectors[5], 20, found);
    scan.searchLists(vectors[5], 20, exact, short[0].probes);
    expect(found).toEqual(exact);
  });

  it('refuses a number of lists or probes that cannot be, by name', async () => {
    const small = tableOf(vectors.slice(0, 40));
    await expect(buildInvertedLists(small, { lists: 44 })).rejects.toThrow(/lists/);
    await expect(buildInvertedLists(small, { lists: 6 })).rejects.toThrow(/lists/);
    expect(() => scan.searchLists(vectors[0], 10, newHits(10), 257)).toThrow(/probes/);
    const none = await ExactIndex.open(small);
    expect(() => none.searchLists(vectors[0], 10, newHits(10), 1)).toThrow(/lists/);
  });

  it('are built, published, calibrated and served by; a lists file of wrong rows is refused', async () => {
    const indexDir = await mkdtemp(join(tmpdir(), 'lists-'));
    const posts = vectors.map((_, i) => postOf(i));
    let at = 0;
    const manifest = await buildIndex({
      indexDir,
      tower: 'post-tower@1',
      position: '1',
      posts: batchesOf(posts),
      embed: async (batch) => {
        const out = new Float32Array(batch.length * DIM);
        for (let i = 0; i < batch.length; i++) out.set(vectors[at++], i * DIM);
        return out;
      },
      search: 'ivf',
      k: 500,
      targetRecall: 0.9,
    });
    expect(manifest.graph).toBeNull();
    expect(manifest.graphAbsent).toMatch(/inverted lists were asked for/);
    expect(manifest.search).toMatchObject({ kind: 'ivf', ef: null, probes: expect.any(Number) });
    const loaded = await loadGeneration(indexDir);
    expect(loaded!.probes).toEqual({ all: manifest.search.probes, short: manifest.calibration.short });
    const { index } = await openIndex(loaded!.table, loaded!.graph, loaded!.probes);
    expect(index.kind).toBe('ivf+exact');
    const hits = newHits(5);
    index.search(vectors[777], 5, hits);
    expect(hits.rows[0]).toBe(777);

    const folder = join(indexDir, manifest.version);
    const bytes = await readFile(join(folder, 'lists.bin'));
    bytes.writeUInt32LE(ROWS, bytes.length - 4);
    await writeFile(join(folder, 'lists.bin'), bytes);
    await expect(loadGeneration(indexDir)).rejects.toThrow(/lists.bin/);
    manifest.files['lists.bin'] = await measureFile(join(folder, 'lists.bin'));
    await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
    await expect(loadGeneration(indexDir)).rejects.toThrow(/row 25000 is not in the base/);
  });

  it('search only the rows from a given one on, as the scan does when every list is probed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: ROWS - 1 }), fc.integer({ min: 1, max: 300 }), (fromRow, k) => {
        const query = unitVector(randomOf(fromRow + k));
        const exact = newHits(k);
        const found = newHits(k);
        scan.search(query, k, exact, fromRow);
        scan.searchLists(query, k, found, 256, fromRow);
        expect(found.size).toBe(Math.min(k, ROWS - fromRow));
        expect(found.rows.subarray(0, found.size)).toEqual(exact.rows.subarray(0, exact.size));
      }),
      { numRuns: 25 },
    );
  });

  it('let the similar source look at the whole window, where a scan has a budget for the newest rows only', () => {
    const similar = { ...parseRetrievalConfig().similar, seeds: 1, coEngaged: 0, scanBudgetRows: 4000 };
    const liked = 100;
    const history = { historyKeys: packHashes([table.keyOf(liked)]), historyTypes: Uint8Array.of(2) };
    const query = feedQuery({}, history);
    const window = ageWindow(table, query.nowMs, null);
    const found = (index: TwoTierIndex) => {
      const hits = newHits(0);
      new SimilarSource(index, similar).retrieve(query, table, window, 20, hits);
      return [...hits.rows.subarray(0, hits.size)];
    };
    const scanned = found(new TwoTierIndex(table, scan, null));
    expect(Math.min(...scanned)).toBeGreaterThanOrEqual(ROWS - 4000);
    const truth = newHits(21);
    scan.search(vectors[liked], 21, truth);
    const exact = [...truth.rows].filter((row) => row !== liked);
    const probed = found(new TwoTierIndex(table, scan, new InvertedIndex(scan, probing(32))));
    expect(probed).toHaveLength(20);
    expect(probed.filter((row) => exact.includes(row)).length).toBeGreaterThanOrEqual(17);
  });

  it('answer for a part of the rows while that is no deeper than they were calibrated for', () => {
    const lists = new InvertedIndex(scan, probing(8));
    expect(lists.fits(500, 0)).toBe(true);
    expect(lists.fits(500, ROWS / 2)).toBe(true);
    expect(lists.fits(600, ROWS / 2 + 1000)).toBe(false);
    expect(lists.fits(1, ROWS)).toBe(false);
  });
});
