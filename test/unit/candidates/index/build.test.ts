import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it, vi } from 'vitest';
import {
  currentVersion,
  emptyGeneration,
  listVersions,
  loadGeneration,
} from '../../../../src/candidates/index/artifact.ts';
import { writeFileSynced } from '../../../../src/candidates/index/artifact-files.ts';
import { type BuildOptions, buildIndex } from '../../../../src/candidates/index/build.ts';
import { hnswUnavailable } from '../../../../src/candidates/index/hnsw-index.ts';
import { newPostOf } from '../../../../src/candidates/index/post-table.ts';
import { newHits } from '../../../../src/candidates/index/search-table.ts';
import { openIndex } from '../../../../src/candidates/index/two-tier-index.ts';
import type { Edge, EngagementEvent, Post } from '../../../../src/contracts.ts';
import { hash64 } from '../../../../src/hashing.ts';
import { AUTHOR_FIELD, AUTHOR_WORDS, FIELD, RECORD_WORDS } from '../../../../src/post-record.ts';
import { batchesOf, postOf, START_MS, vectorsOf } from './seeded-posts.ts';

// Worker threads, child processes and compilation take seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const root = await mkdtemp(join(tmpdir(), 'feedrank-build-'));
afterAll(() => rm(root, { recursive: true, force: true }));
const noGraph = await hnswUnavailable();
const vectors = vectorsOf(3000, 11);
const posts = vectors.map((_, i) => postOf(i));

async function embed(batch: readonly Post[]): Promise<Float32Array> {
  const out = new Float32Array(batch.length * 64);
  batch.forEach((post, i) => {
    out.set(vectors[Number(post.id.slice(5))], i * 64);
  });
  return out;
}

function options(name: string, some: Partial<BuildOptions> = {}): BuildOptions {
  return {
    indexDir: join(root, name),
    tower: 'post-tower@1',
    position: '41',
    posts: batchesOf(posts),
    embed,
    graphFromRows: 1000,
    m: 8,
    efConstruction: 40,
    k: 100,
    ...some,
  };
}

describe('buildIndex', () => {
  it('publishes what it was given: posts, counters, followers, position, counts, calibration', async () => {
    const events: EngagementEvent[] = [
      { id: '1', userId: 'u', postId: 'post-7', type: 'like', at: START_MS + 1e6 },
      { id: '2', userId: 'u', postId: 'gone', type: 'like', at: START_MS + 1e6 },
      { id: '3', userId: 'u', postId: 'post-7', type: 'impression', at: START_MS + 2e6 },
    ];
    const edges: Edge[] = [
      { userId: 'u', kind: 'follow', target: 'author-7', createdAt: 1 },
      { userId: 'v', kind: 'follow', target: 'author-7', createdAt: 1 },
      { userId: 'v', kind: 'block', target: 'author-7', createdAt: 1 },
    ];
    const stages = new Set<string>();
    const manifest = await buildIndex(
      options('whole', {
        events: batchesOf(events),
        edges: batchesOf(edges),
        queries: async () => vectorsOf(40, 5),
        onProgress: ({ stage }) => stages.add(stage),
      }),
    );
    expect(manifest).toMatchObject({
      rows: 3000,
      authors: 50,
      events: 2,
      position: '41',
      dim: 64,
      skipped: 0,
    });
    expect(manifest.calibration).toMatchObject({ k: 100, queries: 40, queriesFrom: 'users' });
    expect([...stages]).toEqual(expect.arrayContaining(['embed', 'events', 'edges', 'verify', 'calibrate']));
    if (noGraph === null) {
      expect(manifest.graph).toMatchObject({ m: 8, efConstruction: 40 });
      const graphs = manifest.calibration.measured.filter((one) => one.kind === 'hnsw');
      expect(graphs.map((one) => one.ef)).toEqual([100, 125, 150, 200, 300, 400]);
      expect(graphs[5].recall).toBeGreaterThan(graphs[0].recall);
    }
    const lists = manifest.calibration.measured.filter((one) => one.kind === 'ivf');
    expect(manifest.lists?.count).toBe(256);
    expect(lists.map((one) => one.probes)).toEqual([1, 2, 4, 6, 8, 12, 16, 23, 32, 64]);
    expect(lists[9].recall).toBeGreaterThan(lists[0].recall);
    const loaded = await loadGeneration(join(root, 'whole'), undefined, { liveCapacity: 10 });
    const { table } = loaded!;
    expect(table.generation).toBe(manifest.version);
    expect([table.rows, table.baseRows, table.capacity]).toEqual([3000, 3000, 3010]);
    for (const row of [0, 7, 1500, 2999]) {
      expect(table.keyOf(row)).toBe(`post-${row}`);
      expect(table.rowOfId(`post-${row}`)).toBe(row);
    }
    expect(table.records.f32[7 * RECORD_WORDS + FIELD.likes]).toBe(1);
    expect(table.records.f32[7 * RECORD_WORDS + FIELD.impressions]).toBe(1);
    const { lo, hi } = hash64('author-7');
    expect(table.keyOf(table.newestByAuthor(lo, hi))).toBe('post-2957');
    const slot = table.authorTable.find(lo, hi) * AUTHOR_WORDS;
    expect(table.authors[slot + AUTHOR_FIELD.followers]).toBe(2);
    expect(table.authors[slot + AUTHOR_FIELD.posts]).toBe(60);
    expect(table.append(newPostOf(postOf(3000)), vectors[0])).toBe(3000);
    const { index } = await openIndex(table, loaded!.graph);
    const hits = newHits(2);
    index.search(vectors[1234], 2, hits);
    expect(hits.rows[0]).toBe(1234);
  });

  it('serves from the graph when that is asked for', async () => {
    if (noGraph !== null) return console.warn(`not checked: ${noGraph}`);
    const manifest = await buildIndex(options('forced', { search: 'hnsw', targetRecall: 0.9 }));
    expect(manifest.search.kind).toBe('hnsw');
    expect(manifest.calibration.queriesFrom).toBe('posts');
    const loaded = await loadGeneration(join(root, 'forced'));
    expect(loaded!.graph).toMatchObject({
      ef: manifest.search.ef,
      shards: [{ file: manifest.files['hnsw.bin'], firstRow: 0, rows: 3000 }],
    });
    expect(manifest.lists).toBeNull();
    const scanned = await buildIndex(options('forced', { posts: batchesOf(posts), search: 'exact' }));
    expect(scanned.lists).toBeNull();
    expect(scanned.graph).toBeNull();
    expect(scanned.graphAbsent).toMatch(/asked for/);
  });

  it('keeps the followers of authors whose first post comes after the build, also of more than it has posts', async () => {
    const edges = Array.from({ length: 90 }, (_, i): Edge => {
      return { userId: `u${i}`, kind: 'follow', target: `newcomer-${i % 30}`, createdAt: 1 };
    });
    await buildIndex(
      options('newcomers', {
        posts: batchesOf(posts.slice(0, 20)),
        edges: batchesOf(edges),
        search: 'exact',
      }),
    );
    const { table } = (await loadGeneration(join(root, 'newcomers'), undefined, { liveCapacity: 5 }))!;
    for (let i = 0; i < 5; i++) {
      const row = table.append(newPostOf({ ...postOf(20 + i), authorId: `newcomer-${i}` }), vectors[20 + i]);
      const slot = table.records.u32[row * RECORD_WORDS + FIELD.authorSlot] * AUTHOR_WORDS;
      expect(table.authors[slot + AUTHOR_FIELD.followers]).toBe(3);
      expect(table.authors[slot + AUTHOR_FIELD.posts]).toBe(1);
    }
  });

  it('builds from nothing, and an index directory that is not there is a start without an index', async () => {
    expect(await loadGeneration(join(root, 'absent'))).toBeNull();
    const manifest = await buildIndex(options('empty', { posts: batchesOf<Post>([]) }));
    expect(manifest.rows).toBe(0);
    expect(manifest.graphAbsent).toMatch(/0 rows/);
    const { table } = (await loadGeneration(join(root, 'empty'), undefined, { liveCapacity: 5 }))!;
    expect(table.append(newPostOf(postOf(0)), vectors[0])).toBe(0);
    const fresh = emptyGeneration(10);
    expect([fresh.rows, fresh.baseRows]).toEqual([0, 0]);
    expect(fresh.append(newPostOf(postOf(0)), vectors[0])).toBe(0);
    expect(emptyGeneration(20_000_000).capacity).toBeLessThan(15_000_000);
  });

  it('takes a post once that the scan met twice', async () => {
    const twice = [...posts.slice(0, 300), { ...posts[10], createdAt: START_MS + 1e9 }];
    const manifest = await buildIndex(options('twice', { posts: batchesOf(twice) }));
    expect([manifest.rows, manifest.skipped]).toEqual([300, 1]);
  });

  it('publishes nothing when posts are out of order, or the embedding is broken', async () => {
    await buildIndex(options('bad', { posts: batchesOf(posts.slice(0, 100)) }));
    const before = await currentVersion(join(root, 'bad'));
    const broken: [Partial<BuildOptions>, RegExp][] = [
      [{ posts: batchesOf([posts[5], posts[4]]) }, /not in createdAt order at post-4/],
      [{ embed: async (batch) => (await embed(batch)).subarray(1) }, /gave 12799 numbers for 200 posts/],
      [{ embed: async (batch) => (await embed(batch)).fill(Number.NaN, 64, 65) }, /post-1: vector\[0\]/],
      [{ embed: () => Promise.reject(new Error('the tower is gone')) }, /the tower is gone/],
      [{ queries: () => Promise.reject(new Error('no users')) }, /no users/],
    ];
    for (const [change, message] of broken) {
      await expect(buildIndex(options('bad', change))).rejects.toThrow(message);
      expect(await currentVersion(join(root, 'bad'))).toBe(before);
      expect(await readdir(join(root, 'bad'))).toEqual(['current', before].sort());
    }
  });

  it('keeps the last N versions and clears what a killed build left', async () => {
    const dir = join(root, 'kept');
    await mkdir(join(dir, '.building-v20200101T000000Z-abcdef'), { recursive: true });
    const versions: string[] = [];
    for (let i = 0; i < 4; i++) {
      const some = { posts: batchesOf(posts.slice(0, 50)), keep: 2 };
      versions.push((await buildIndex(options('kept', some))).version);
    }
    expect(new Set(await listVersions(dir)).size).toBe(2);
    expect(await currentVersion(dir)).toBe(versions[3]);
    expect((await readdir(dir)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('says plainly that the disk is full', async () => {
    if (!existsSync('/dev/full')) return console.warn('not checked: no /dev/full here');
    await expect(writeFileSynced('/dev/full', [Buffer.alloc(100)])).rejects.toMatchObject({
      code: 'storage_full',
      message: expect.stringMatching(/no space left to write full/),
    });
  });
});

describe('a published index', () => {
  const dir = join(root, 'published');
  const damage = async (name: string, change: (folder: string, version: string) => Promise<unknown>) => {
    if (!(await currentVersion(dir))) await buildIndex(options('published'));
    const copy = join(root, name);
    await cp(dir, copy, { recursive: true });
    const version = (await currentVersion(copy))!;
    await change(join(copy, version), version);
    return loadGeneration(copy);
  };
  const rewrite = async (folder: string, change: (manifest: Record<string, unknown>) => void) => {
    const path = join(folder, 'manifest.json');
    const manifest = JSON.parse(await readFile(path, 'utf8'));
    change(manifest);
    await writeFile(path, JSON.stringify(manifest));
  };
  const flip = async (path: string) => {
    const bytes = await readFile(path);
    bytes[bytes.length >> 1] ^= 4;
    await writeFile(path, bytes);
  };
  const files = [
    'vectors.f32',
    'records.bin',
    'keys.bin',
    'authors.bin',
    ...(noGraph === null ? ['hnsw.bin'] : []),
  ];

  it.each(files)('is refused, naming the file, when %s is torn, changed or missing', async (file) => {
    const refused = { code: 'corrupt_artifact', message: expect.stringContaining(file) };
    await expect(
      damage(`torn-${file}`, (folder) => truncate(join(folder, file), 1000)),
    ).rejects.toMatchObject(refused);
    await expect(damage(`flip-${file}`, (folder) => flip(join(folder, file)))).rejects.toMatchObject(refused);
    await expect(damage(`gone-${file}`, (folder) => rm(join(folder, file)))).rejects.toMatchObject(refused);
  });

  it('is refused when its manifest is torn, foreign or of another folder', async () => {
    const cases: [string, (folder: string) => Promise<unknown>, RegExp][] = [
      ['no-manifest', (folder) => rm(join(folder, 'manifest.json')), /manifest\.json: cannot be read/],
      [
        'torn-manifest',
        (folder) => truncate(join(folder, 'manifest.json'), 40),
        /manifest\.json: cannot be read/,
      ],
      ['dim', (folder) => rewrite(folder, (m) => Object.assign(m, { dim: 128 })), /manifest\.json: dim: /],
      [
        'format',
        (folder) => rewrite(folder, (m) => Object.assign(m, { format: 2 })),
        /manifest\.json: format: /,
      ],
      [
        'rows',
        (folder) => rewrite(folder, (m) => Object.assign(m, { rows: 2999 })),
        /vectors\.f32: .*counts say/,
      ],
      ['other', (folder) => rewrite(folder, (m) => Object.assign(m, { version: 'v1' })), /belongs to v1/],
      [
        'unlisted',
        (folder) => rewrite(folder, (m) => Object.assign(m, { files: {} })),
        /does not list vectors\.f32/,
      ],
      [
        'current',
        (folder) => writeFile(join(folder, '..', 'current'), '../../etc'),
        /does not name an index version/,
      ],
    ];
    for (const [name, change, reason] of cases) {
      await expect(damage(`manifest-${name}`, change), name).rejects.toThrow(reason);
    }
  });
});

describe('builds in several processes', () => {
  const script = fileURLToPath(new URL('./build-process.ts', import.meta.url));
  const start = (name: string, holdAt: string): ChildProcess =>
    spawn(process.execPath, [script, join(root, name), holdAt], { stdio: ['ignore', 'pipe', 'inherit'] });
  const reached = async (child: ChildProcess) => {
    for await (const line of createInterface({ input: child.stdout! })) if (line === 'held') return;
    throw new Error('the build ended before it was held');
  };
  const kill = async (child: ChildProcess) => {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };

  it('refuses a second build while one runs, and takes over once it is dead', async () => {
    const child = start('locked', 'embed');
    try {
      await reached(child);
      await expect(buildIndex(options('locked'))).rejects.toMatchObject({
        code: 'locked',
        message: expect.stringContaining(`pid ${child.pid}`),
      });
    } finally {
      await kill(child);
    }
    await buildIndex(options('locked', { posts: batchesOf(posts.slice(0, 50)) }));
    expect(await readdir(join(root, 'locked'))).toHaveLength(2);
  });

  it('takes over a lock without a heartbeat and one that is garbage, not one of another living host', async () => {
    const dir = join(root, 'stale');
    await mkdir(dir);
    const build = () => buildIndex(options('stale', { posts: batchesOf(posts.slice(0, 5)) }));
    await writeFile(join(dir, 'build.lock'), 'garbage');
    await build();
    await writeFile(join(dir, 'build.lock'), JSON.stringify({ pid: 1, host: `not-${hostname()}` }));
    await expect(build()).rejects.toThrow(/another build is running \(pid 1 on not-/);
    const { utimes } = await import('node:fs/promises');
    await utimes(join(dir, 'build.lock'), new Date(0), new Date(0));
    await build();
    const two = await Promise.allSettled([build(), build()]);
    expect(two.map((one) => one.status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it.each(['embed', 'write', 'verify', 'calibrate'])(
    'leaves the published version intact when it is killed at the stage: %s',
    async (stage) => {
      const name = `killed-${stage}`;
      const before = (await buildIndex(options(name, { posts: batchesOf(posts.slice(0, 100)) }))).version;
      const child = start(name, stage);
      await reached(child);
      await kill(child);
      expect(await currentVersion(join(root, name))).toBe(before);
      expect((await loadGeneration(join(root, name)))!.table.rows).toBe(100);
      const after = await buildIndex(options(name, { posts: batchesOf(posts.slice(0, 60)) }));
      expect((await loadGeneration(join(root, name)))!.manifest.version).toBe(after.version);
      const left = (await readdir(join(root, name))).filter((entry) => entry !== 'current').sort();
      expect(left).toEqual([before, after.version].sort());
    },
  );
});
