import { cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { currentVersion, loadGeneration } from '../../../../src/candidates/index/artifact.ts';
import { measureFile } from '../../../../src/candidates/index/artifact-files.ts';
import { type BuildOptions, buildIndex } from '../../../../src/candidates/index/build.ts';
import { ExactIndex } from '../../../../src/candidates/index/exact-index.ts';
import { checkGraphFile } from '../../../../src/candidates/index/graph-file.ts';
import { MAX_SHARDS, shardFileNames, shardStart } from '../../../../src/candidates/index/graph-shards.ts';
import { GraphTask } from '../../../../src/candidates/index/graph-task.ts';
import { HnswBuilder, HnswIndex, hnswUnavailable } from '../../../../src/candidates/index/hnsw-index.ts';
import { newPostOf, type PostTable } from '../../../../src/candidates/index/post-table.ts';
import { newHits } from '../../../../src/candidates/index/search-table.ts';
import { enlarge } from '../../../../src/candidates/index/table-bytes.ts';
import { openIndex, TwoTierIndex } from '../../../../src/candidates/index/two-tier-index.ts';
import type { Post } from '../../../../src/contracts.ts';
import { batchesOf, postOf, tableOf, vectorsOf } from './seeded-posts.ts';

// Worker threads take seconds to start on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const missing = await hnswUnavailable();
const root = await mkdtemp(join(tmpdir(), 'feedrank-shards-'));
afterAll(() => rm(root, { recursive: true, force: true }));

const M = { m: 8, efConstruction: 40 };

async function shardsOf(name: string, table: PostTable, shards: number, ef: number) {
  const { baseRows, vectors } = table;
  const files = [];
  for (let i = 0; i < shards; i++) {
    const firstRow = shardStart(i, shards, baseRows);
    const end = shardStart(i + 1, shards, baseRows);
    const path = join(root, `${name}-${i}.bin`);
    const builder = await HnswBuilder.create(end - firstRow, M);
    builder.insert(vectors, firstRow, end);
    builder.write(path);
    files.push({ path, file: await measureFile(path), firstRow, rows: end - firstRow });
  }
  return { ef, shards: files };
}

describe('the cut into shards', () => {
  it('covers every row once, in nearly equal parts, and the first end never falls', () => {
    const rows = fc.integer({ min: 1, max: 9_000_000 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: MAX_SHARDS }), rows, rows, (shards, a, b) => {
        expect([shardStart(0, shards, a), shardStart(shards, shards, a)]).toEqual([0, a]);
        for (let i = 0; i < shards; i++) {
          const size = shardStart(i + 1, shards, a) - shardStart(i, shards, a);
          expect([Math.floor(a / shards), Math.ceil(a / shards)]).toContain(size);
        }
        const [less, more] = [Math.min(a, b), Math.max(a, b)];
        expect(shardStart(1, shards, less)).toBeLessThanOrEqual(shardStart(1, shards, more));
      }),
    );
    expect(shardFileNames(1)).toEqual(['hnsw.bin']);
    expect(shardFileNames(2)).toEqual(['hnsw-0.bin', 'hnsw-1.bin']);
  });
});

describe.skipIf(missing !== null)(`a sharded graph${missing ? ` (skipped: ${missing})` : ''}`, () => {
  it('finds nearly all that the exact scan finds, best first, each row once', async () => {
    const drawn = vectorsOf(4020, 9);
    const table = tableOf(drawn.slice(0, 4000));
    const graph = await HnswIndex.load(await shardsOf('recall', table, 3, 400), table);
    const exact = await ExactIndex.open(table);
    const a = newHits(200);
    const b = newHits(200);
    let found = 0;
    for (const query of drawn.slice(4000)) {
      graph.search(query, 200, a);
      exact.search(query, 200, b);
      expect(a.size).toBe(200);
      expect(new Set(a.rows).size).toBe(200);
      for (let i = 1; i < 200; i++) expect(a.similarity[i]).toBeLessThanOrEqual(a.similarity[i - 1]);
      const truth = new Set(b.rows);
      for (const row of a.rows) if (truth.has(row)) found++;
    }
    expect(found / (200 * 20)).toBeGreaterThanOrEqual(0.95);
  });

  it('never passes over a shard whose nearest posts are deleted', async () => {
    // The first shard is the query's own subject: what is left of it beats all the others.
    const subject = vectorsOf(10_001, 3, 1);
    const query = subject[10_000];
    const table = tableOf([...subject.slice(0, 10_000), ...vectorsOf(20_000, 4)]);
    const graph = await HnswIndex.load(await shardsOf('deleted', table, 3, 3000), table);
    const exact = await ExactIndex.open(table);
    const hits = newHits(2000);
    const truth = newHits(300);
    exact.search(query, 2000, hits);
    const near = [...hits.rows];
    const index = new TwoTierIndex(table, exact, graph);
    const sizes: number[] = [];
    // First two thirds of them, then all.
    for (const gone of [near.filter((_, i) => i % 3 > 0), near]) {
      for (const row of gone) table.markDeleted(row);
      exact.search(query, 300, truth);
      graph.search(query, 300, hits);
      sizes.push(hits.size);
      expect([...hits.rows.subarray(0, hits.size)]).toEqual([...truth.rows.subarray(0, hits.size)]);
      index.search(query, 300, hits);
      expect([...hits.rows.subarray(0, hits.size)]).toEqual([...truth.rows]);
    }
    expect(sizes[0]).toBeGreaterThan(50);
    expect(sizes[0]).toBeLessThan(300);
    expect(sizes[1]).toBe(0);
  });

  it('follows a table that grows and moves while the first shard is being inserted', async () => {
    const vectors = vectorsOf(3001, 6);
    let table = tableOf(vectors.slice(0, 600), 0, 400);
    const task = new GraphTask(table, M, 2);
    let inserted = 0;
    task.onProgress = (rows) => {
      inserted = rows;
    };
    table = await enlarge(table, 4000);
    task.moved(table);
    for (let i = 600; i < 3001; i++) table.append(newPostOf(postOf(i)), vectors[i]);
    task.startRest(table);
    const paths = [0, 1].map((i) => join(root, `grown-${i}.bin`));
    await task.finish(paths);
    expect(inserted).toBe(3001);
    const shards = [];
    for (const [i, [firstRow, rows]] of [[0, 1500] as const, [1500, 1501] as const].entries()) {
      await checkGraphFile(paths[i], rows);
      shards.push({ path: paths[i], file: await measureFile(paths[i]), firstRow, rows });
    }
    const whole = tableOf(vectors);
    const graph = await HnswIndex.load({ ef: 100, shards }, whole);
    const hits = newHits(1);
    const lost = vectors.filter((vector, row) => {
      graph.search(vector, 1, hits);
      return hits.rows[0] !== row;
    });
    expect(lost.length).toBeLessThan(30);
  });

  it('refuses shards that leave a gap or do not cover the base, naming the file', async () => {
    const table = tableOf(vectorsOf(900, 2));
    const graph = await shardsOf('gap', table, 3, 100);
    const [a, b, c] = graph.shards;
    await expect(HnswIndex.load({ ef: 100, shards: [a, c] }, table)).rejects.toThrow(
      /gap-2\.bin: begins at row 600, the shards before it end at 300/,
    );
    await expect(HnswIndex.load({ ef: 100, shards: [a, b] }, table)).rejects.toThrow(
      /covers 600 rows of 900/,
    );
    await rm(b.path);
    const { index, reason } = await openIndex(table, graph);
    expect([index.kind, reason]).toEqual(['exact', expect.stringContaining('gap-1.bin')]);
  });
});

describe.skipIf(missing !== null)(`buildIndex with shards${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const vectors = vectorsOf(21_001, 11);
  const posts = vectors.map((_, i) => postOf(i));
  const embed = async (batch: readonly Post[]) => {
    const out = new Float32Array(batch.length * 64);
    batch.forEach((post, i) => {
      out.set(vectors[Number(post.id.slice(5))], i * 64);
    });
    return out;
  };
  const options = (name: string, some: Partial<BuildOptions> = {}): BuildOptions => ({
    indexDir: join(root, name),
    tower: 'post-tower@1',
    position: '1',
    posts: batchesOf(posts),
    embed,
    search: 'hnsw',
    k: 100,
    ...M,
    ...some,
  });
  let built: Promise<unknown> | undefined;
  const buildOnce = () => (built ??= buildIndex(options('three', { shards: 3 })));

  it('builds, loads and searches all of them, with deletes and the live tier', async () => {
    let inserted = 0;
    const onProgress: BuildOptions['onProgress'] = ({ stage, done }) => {
      if (stage === 'graph') inserted = done;
    };
    built = buildIndex(options('three', { shards: 3, onProgress }));
    const manifest = await (built as ReturnType<typeof buildIndex>);
    expect(inserted).toBe(21_001);
    expect(manifest.graph).toMatchObject({ ...M, shards: 3 });
    expect(Object.keys(manifest.files)).toEqual(
      expect.arrayContaining(['hnsw-0.bin', 'hnsw-1.bin', 'hnsw-2.bin']),
    );
    expect(manifest.search.kind).toBe('hnsw');
    expect(manifest.calibration.measured.filter((one) => one.kind === 'hnsw')).toHaveLength(6);
    const { table, graph } = (await loadGeneration(join(root, 'three'), undefined, { liveCapacity: 100 }))!;
    expect(graph?.shards.map(({ firstRow, rows }) => [firstRow, rows])).toEqual([
      [0, 7000],
      [7000, 7000],
      [14_000, 7001],
    ]);
    const { index, reason } = await openIndex(table, graph);
    expect([index.kind, reason]).toEqual(['hnsw+exact', null]);
    const exact = await ExactIndex.open(table);
    const hits = newHits(100);
    const truth = newHits(100);
    for (const row of [3, 6999, 7000, 13_999, 14_000, 21_000]) {
      table.append(newPostOf(postOf(table.rows)), vectors[row]);
      const twin = table.rows - 1;
      index.search(vectors[row], 100, hits);
      expect([...hits.rows.subarray(0, 2)].sort((a, b) => a - b)).toEqual([row, twin]);
      table.markDeleted(row);
      index.search(vectors[row], 100, hits);
      exact.search(vectors[row], 100, truth);
      expect([hits.size, hits.rows[0]]).toEqual([100, twin]);
      expect(hits.rows).not.toContain(row);
      const wanted = new Set(truth.rows);
      expect([...hits.rows].filter((found) => wanted.has(found)).length).toBeGreaterThanOrEqual(85);
    }
  });

  it('is refused, naming the shard, when one is missing, changed or another one', async () => {
    await buildOnce();
    const damaged = async (name: string, change: (folder: string) => Promise<unknown>) => {
      const copy = join(root, name);
      await cp(join(root, 'three'), copy, { recursive: true });
      await change(join(copy, (await currentVersion(copy))!));
      return loadGeneration(copy);
    };
    const refused = (file: string) => ({
      code: 'corrupt_artifact',
      message: expect.stringContaining(`/${file}: `),
    });
    await expect(damaged('missing', (at) => rm(join(at, 'hnsw-1.bin')))).rejects.toMatchObject(
      refused('hnsw-1.bin'),
    );
    const flip = async (at: string) => {
      const bytes = await readFile(join(at, 'hnsw-2.bin'));
      bytes[bytes.length >> 1] ^= 1;
      await writeFile(join(at, 'hnsw-2.bin'), bytes);
    };
    await expect(damaged('flipped', flip)).rejects.toMatchObject(refused('hnsw-2.bin'));
    const swap = async (at: string) => {
      await rename(join(at, 'hnsw-0.bin'), join(at, 'kept'));
      await rename(join(at, 'hnsw-1.bin'), join(at, 'hnsw-0.bin'));
      await rename(join(at, 'kept'), join(at, 'hnsw-1.bin'));
    };
    await expect(damaged('swapped', swap)).rejects.toMatchObject(refused('hnsw-0.bin'));
  });

  it('keeps one graph in hnsw.bin without the flag, and loads a version from before there were shards', async () => {
    const some = { posts: batchesOf(posts.slice(0, 1000)), graphFromRows: 500 };
    const manifest = await buildIndex(options('one', some));
    expect(manifest.graph?.shards).toBe(1);
    const folder = join(root, 'one', manifest.version);
    expect((await readdir(folder)).filter((name) => name.startsWith('hnsw'))).toEqual(['hnsw.bin']);
    const { shards, ...graph } = manifest.graph!;
    expect(shards).toBe(1);
    await writeFile(join(folder, 'manifest.json'), JSON.stringify({ ...manifest, graph }));
    const loaded = (await loadGeneration(join(root, 'one')))!;
    expect(loaded.graph?.shards).toMatchObject([{ firstRow: 0, rows: 1000 }]);
  });

  it('builds no graph with fewer rows than shards, and refuses a number of shards out of range', async () => {
    const some = { posts: batchesOf(posts.slice(0, 10)), graphFromRows: 1, shards: 16 };
    expect((await buildIndex(options('few', some))).graph).toBeNull();
    const many = { posts: batchesOf(posts.slice(0, 40)), graphFromRows: 1, shards: 16 };
    expect((await buildIndex(options('few', many))).graph?.shards).toBe(16);
    for (const shards of [0, 17, 1.5, Number.NaN]) {
      await expect(buildIndex(options('few', { shards }))).rejects.toMatchObject({
        code: 'invalid_input',
        message: expect.stringContaining('shards'),
      });
    }
  });
});
