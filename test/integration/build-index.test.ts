import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Embedder, runBuildIndex } from '../../scripts/build-index/run.ts';
import { loadGeneration } from '../../src/candidates/index/artifact.ts';
import { hnswUnavailable } from '../../src/candidates/index/hnsw-index.ts';
import type { EngagementEvent, Post } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { openSqlStore, type SqlStore } from '../../src/features/store/postgres-store.ts';
import { type OnlineStore, openStateStore } from '../../src/features/store/state-store.ts';
import { hash32 } from '../../src/hashing.ts';
import { FIELD, RECORD_WORDS } from '../../src/post-record.ts';
import { DIM } from '../../src/vocabulary.ts';

const HOUR = 3_600_000;
const TOWER = 'post-tower@1';

/** A vector by topic and id; users are the mean of what they engaged with, as the tower's simplest case. */
function unit(parts: Float32Array[]): Float32Array {
  const sum = new Float32Array(DIM);
  for (const part of parts) for (let i = 0; i < DIM; i++) sum[i] += part[i];
  const norm = Math.hypot(...sum);
  return sum.map((value) => value / norm);
}
function direction(key: string): Float32Array {
  return Float32Array.from({ length: DIM }, (_, i) => (hash32(`${key} ${i}`) / 2 ** 32) * 2 - 1);
}
function joined(vectors: Float32Array[]): Float32Array {
  const out = new Float32Array(vectors.length * DIM);
  vectors.forEach((vector, i) => {
    out.set(vector, i * DIM);
  });
  return out;
}
const embedder: Embedder = {
  dim: DIM,
  postTower: TOWER,
  embedPosts: async (posts) =>
    joined(posts.map((post) => unit([direction(post.topic ?? ''), direction(post.id)]))),
  embedUsers: async (users) => joined(users.map((user) => unit(user.vectors))),
};

describe('runBuildIndex on the embedded stores', () => {
  let dataDir = '';
  let sqlStore: SqlStore;
  let stateStore: OnlineStore;
  const now = Date.now();
  const deadline = () => deadlineIn(30_000);
  const posts: Post[] = Array.from({ length: 400 }, (_, i) => ({
    id: `p${i}`,
    authorId: `author${i % 20}`,
    createdAt: now - (400 - i) * HOUR,
    title: `About topic ${i % 4}`,
    topic: `topic${i % 4}`,
  }));
  let next = 0;
  const event = (userId: string, postId: string, type: EngagementEvent['type'], hoursAgo: number) => ({
    id: `e${next++}`,
    userId,
    postId,
    type,
    at: now - hoursAgo * HOUR,
  });

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'feedrank-run-build-'));
    sqlStore = await openSqlStore({ dataDir });
    stateStore = await openStateStore({ dataDir });
    await sqlStore.putPosts(posts, deadline());
    await sqlStore.putUsers([{ id: 'reader', createdAt: now - 500 * HOUR, languages: ['en'] }], deadline());
    await sqlStore.setEdges(
      [{ userId: 'reader', kind: 'follow', target: 'author3', createdAt: now - HOUR }],
      true,
      deadline(),
    );
    await sqlStore.appendEvents(
      [
        event('reader', 'p300', 'impression', 30),
        event('reader', 'p300', 'click', 20),
        event('reader', 'p304', 'like', 10),
        event('reader', 'p308', 'like', 9),
        event('reader', 'p308', 'unlike', 8),
        event('reader', 'p399', 'click', 7),
        event('passer-by', 'p301', 'share', 6),
      ],
      deadline(),
    );
    await sqlStore.deletePost('p399', deadline());
  }, 60_000);

  afterAll(async () => {
    await stateStore?.close();
    await sqlStore?.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  it('indexes what is stored and writes every user’s state with a vector of the new index', async () => {
    const indexDir = join(dataDir, 'index');
    const stages = new Set<string>();
    const position = await sqlStore.position(deadline());
    const summary = await runBuildIndex({
      indexDir,
      sqlStore,
      stateStore,
      embedder,
      onProgress: ({ stage }) => stages.add(stage),
    });
    expect(summary.manifest).toMatchObject({ rows: 399, tower: TOWER, position, events: 6 });
    expect(summary.usersWritten).toBe(2);
    expect(stages).toContain('users');

    const { table } = (await loadGeneration(indexDir))!;
    expect(table.rowOfId('p399')).toBe(-1);
    expect(table.records.f32[table.rowOfId('p304') * RECORD_WORDS + FIELD.likes]).toBe(1);
    expect(table.records.f32[table.rowOfId('p308') * RECORD_WORDS + FIELD.likes]).toBe(0);

    const reader = (await stateStore.getState('reader', TOWER, deadline()))!;
    expect(reader.history.map(({ postId, type }) => `${type} ${postId}`)).toEqual([
      'like p304',
      'click p300',
    ]);
    expect(reader.history[0]).toMatchObject({
      authorId: 'author4',
      topic: hash32('topic0'),
      at: now - 10 * HOUR,
    });
    expect(reader.user).toMatchObject({ id: 'reader', languages: ['en'] });
    expect(reader.edges.map(({ target }) => target)).toEqual(['author3']);
    expect(reader.seen).toHaveLength(3 * 2);
    const vectors = ['p304', 'p300'].map((id) => {
      const row = table.rowOfId(id);
      return table.vectors.slice(row * DIM, (row + 1) * DIM);
    });
    unit(vectors).forEach((value, i) => {
      expect(reader.embedding![i]).toBeCloseTo(value, 2);
    });

    const other = (await stateStore.getState('passer-by', TOWER, deadline()))!;
    expect(other.history.map(({ postId }) => postId)).toEqual(['p301']);
    expect(other.user).not.toBeNull();
    expect(other.embedding).not.toBeNull();
  }, 60_000);

  it('undoes no block and no erasure that came while it wrote the users', async () => {
    const blocked = { userId: 'reader', kind: 'block' as const, target: 'author9', createdAt: Date.now() };
    let interfered = false;
    const meddling: Embedder = {
      ...embedder,
      embedUsers: async (users) => {
        if (!interfered) {
          // After the batch was read, before it is written: what a running service would do.
          interfered = true;
          await sqlStore.setEdges([blocked], true, deadline());
          await sqlStore.eraseUser('passer-by', deadline());
          await stateStore.eraseState('passer-by', deadline());
        }
        return embedder.embedUsers(users);
      },
    };
    const indexDir = join(dataDir, 'index');
    await runBuildIndex({ indexDir, sqlStore, stateStore, embedder: meddling });
    expect(interfered).toBe(true);
    const reader = (await stateStore.getState('reader', TOWER, deadline()))!;
    expect(reader.edges.map(({ kind, target }) => `${kind} ${target}`).sort()).toEqual([
      'block author9',
      'follow author3',
    ]);
    expect(await stateStore.getState('passer-by', TOWER, deadline())).toBeNull();
  }, 60_000);

  it('sees later posts in the next build and leaves users alone when asked to', async () => {
    await sqlStore.putPosts([{ id: 'new', authorId: 'author1', createdAt: now, title: 'New' }], deadline());
    const indexDir = join(dataDir, 'index');
    const { manifest, usersWritten } = await runBuildIndex({
      indexDir,
      sqlStore,
      stateStore: null,
      embedder,
    });
    expect([manifest.rows, usersWritten]).toEqual([400, 0]);
    const loaded = (await loadGeneration(indexDir))!;
    expect(loaded.manifest.version).toBe(manifest.version);
    expect(loaded.table.keyOf(399)).toBe('new');
  }, 60_000);

  it('cuts the graph into as many shards as asked for', async ({ skip }) => {
    const missing = await hnswUnavailable();
    if (missing !== null) skip(missing);
    const indexDir = join(dataDir, 'index');
    const some = { indexDir, sqlStore, stateStore: null, embedder, graphFromRows: 100, k: 50 };
    const { manifest } = await runBuildIndex({ ...some, shards: 2, search: 'hnsw' });
    expect(manifest.graph?.shards).toBe(2);
    const { graph } = (await loadGeneration(indexDir))!;
    expect(graph?.shards.map(({ rows }) => rows)).toEqual([200, 200]);
  }, 60_000);
});

describe('the command line', () => {
  const script = fileURLToPath(new URL('../../scripts/build-index.ts', import.meta.url));

  it.each(['0', '17', '1.5', 'abc', ''])('refuses --shards %j in one line', async (value) => {
    const run = promisify(execFile)(process.execPath, [script, `--shards=${value}`]);
    const { code, stderr } = await run.then(
      () => ({ code: 0, stderr: '' }),
      (error: { code: number; stderr: string }) => error,
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/^build-index: --shards: expected .*\n$/);
    expect(stderr).toContain(`'${value}'`);
  });
});
