// From one post tower to the next without mixing their spaces: users' vectors of the new one are filled beside the old
// ones, a running replica keeps to its own index and vectors, and one that starts takes the new ones.
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runBuildIndex } from '../../scripts/build-index/run.ts';
import { promoteModel } from '../../scripts/models/promote.ts';
import { loadGeneration } from '../../src/candidates/index/artifact.ts';
import type { PostTable } from '../../src/candidates/index/post-table.ts';
import { composeService, type Service } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import type { ServingRecord } from '../../src/contracts.ts';
import { EmbedPool } from '../../src/features/embed-pool.ts';
import { FEATURES } from '../../src/features/feature-schema.ts';
import { hash64 } from '../../src/hashing.ts';
import { promotedFolder } from '../../src/ranking/model-registry.ts';
import { DIM } from '../../src/vocabulary.ts';
import {
  collect,
  DATABASE_URL,
  freshFolder,
  REDIS_URL,
  soon,
  titleOf,
  unique,
} from '../setup/test-servers.ts';
import { dot } from '../unit/features/towers.ts';
import { UpdaterWorld } from './updater/updater-world.ts';

const MODELS = fileURLToPath(new URL('../../models', import.meta.url));
const OLD = 'post-tower@1';
const NEW = 'post-tower@2';
/** A vector is kept in 16 bits, and its products with posts in the codes of the index. */
const ROUNDING = 0.02;
const available = DATABASE_URL !== undefined && REDIS_URL !== undefined;
const title = titleOf(titleOf('a new tower', DATABASE_URL, 'TEST_DATABASE'), REDIS_URL, 'TEST_REDIS');

/** The committed models, and a second version of both towers whose word rows are others: a space of its own. */
function modelsWithSecondTowers(dir: string): void {
  for (const name of ['post-tower', 'user-tower']) {
    mkdirSync(join(dir, name), { recursive: true });
    symlinkSync(join(MODELS, name, '1'), join(dir, name, '1'));
    cpSync(join(MODELS, name, '1'), join(dir, name, '2'), { recursive: true });
    const path = join(dir, name, '2', 'manifest.json');
    const manifest = JSON.parse(readFileSync(path, 'utf8'));
    manifest.version = '2';
    if (name === 'post-tower') manifest.hash.wordRows /= 2;
    else manifest.tower = NEW;
    writeFileSync(path, JSON.stringify(manifest));
    writeFileSync(join(dir, name, 'current'), '1\n');
  }
  symlinkSync(join(MODELS, 'ranker'), join(dir, 'ranker'));
}

describe.skipIf(!available)(title, { timeout: 60_000 }, () => {
  const folder = freshFolder();
  const modelsDir = join(folder.path, 'models');
  const dataDir = join(folder.path, 'data');
  const indexDir = join(dataDir, 'index');
  const prefix = unique('tower');
  const users = Array.from({ length: 12 }, (_, i) => `${prefix}-u${i}`);
  const posts = Array.from({ length: 800 }, (_, i) => `${prefix}-p${i}`);
  const [likesOnA, likesOnB, idle] = users;
  const tables = new Map<string, PostTable>();
  let world: UpdaterWorld;
  let a: Service;
  let b: Service;
  let first = '';
  let second = '';

  const start = () =>
    composeService(
      readConfig({
        DATA_DIR: dataDir,
        MODELS_DIR: modelsDir,
        DATABASE_URL: world.databaseUrl,
        REDIS_URL,
        REPLICATION_SLOT: world.slot,
        FEED_WORKERS: '1',
        CHANGES_POLL_MS: '20',
        INDEX_POLL_MS: '100',
        FEED_DEADLINE_MS: '10000',
        FEATURE_LOG_SHARE: '1',
        EXPLORE_SHARE: '0',
        SLATE_CACHE_MS: '0',
        CURSOR_SECRET: 'the same on both replicas',
        LOG_LEVEL: 'silent',
      }),
      pino({ level: 'silent' }),
    );

  async function build(): Promise<string> {
    const embedder = await EmbedPool.start({
      postTowerDir: await promotedFolder(modelsDir, 'post-tower'),
      userTowerDir: await promotedFolder(modelsDir, 'user-tower'),
      workers: 1,
    });
    try {
      const { manifest, usersWritten } = await runBuildIndex({
        indexDir,
        sqlStore: world.sql,
        stateStore: world.state,
        embedder,
        search: 'exact',
      });
      expect([manifest.tower, usersWritten]).toEqual([embedder.postTower, users.length]);
      const loaded = await loadGeneration(indexDir, manifest.version);
      tables.set(manifest.version, loaded?.table as PostTable);
      return manifest.version;
    } finally {
      await embedder.close();
    }
  }

  async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    for (let i = 0; i < 600; i++) {
      if (await condition()) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`not within 15 s: ${what}`);
  }

  async function ready(service: Service) {
    const response = await service.app.inject({ method: 'GET', url: '/health/ready' });
    expect(response.statusCode).toBe(200);
    return response.json();
  }

  const vectorOf = async (userId: string, tower: string) =>
    (await world.state.getState(userId, tower, soon()))?.embedding ?? null;

  /** A full first page, with nothing amiss. */
  async function feed(service: Service, userId: string, limit = 10): Promise<void> {
    const response = await service.app.inject({ method: 'GET', url: `/feed/${userId}?limit=${limit}` });
    const { posts: shown, degraded } = response.json();
    expect({ status: response.statusCode, shown: shown?.length, degraded }).toEqual({
      status: 200,
      shown: limit,
      degraded: [],
    });
  }

  const served = async (): Promise<ServingRecord[]> =>
    (await collect(world.sql.scan(500))).filter((record) => record.features !== undefined);

  /** The vector that a replica ranks the user's next page with. */
  async function rankedWith(service: Service, userId: string): Promise<Float32Array> {
    const since = (await served()).length;
    await feed(service, userId);
    let records: ServingRecord[] = [];
    await until('the page is in the serving log', async () => {
      records = await served();
      return records.length > since;
    });
    const newest = records.filter((record) => record.userId === userId).sort((x, y) => y.at - x.at)[0];
    return floats(newest.features?.userVector ?? '');
  }

  async function like(service: Service, userId: string, postId: string): Promise<void> {
    const events = [{ userId, postId, type: 'like', at: Date.now() }];
    const response = await service.app.inject({ method: 'POST', url: '/events', payload: { events } });
    expect(response.statusCode).toBe(200);
  }

  beforeAll(async () => {
    modelsWithSecondTowers(modelsDir);
    world = await UpdaterWorld.open();
    const now = Date.now();
    const subjects = ['guitar chords', 'sourdough bread', 'mountain trails', 'space telescopes'];
    await world.sql.putPosts(
      posts.map((id, i) => ({
        id,
        authorId: `author-${i % 30}`,
        createdAt: now - i * 60_000,
        title: `${subjects[i % 4]} for beginners, part ${i}`,
        topic: `topic-${i % 4}`,
      })),
      soon(),
    );
    await world.sql.appendEvents(
      users.flatMap((userId, u) =>
        [0, 1, 2].map((n) => ({
          id: `${userId}-${n}`,
          userId,
          postId: posts[(u % 4) + 4 * (u + n)],
          type: 'like' as const,
          at: now - (n + 1) * 60_000,
        })),
      ),
      soon(),
    );
    first = await build();
    // An updater on the old tower, as in the middle of a roll-out: it alone never writes a vector of the new one.
    const updater = await world.start({ MODELS_DIR: modelsDir, EMBED_WORKERS: '1' });
    await updater.leads;
    a = await start();
    await until('the replica follows the stream', () => a.generations.current.follower.source === 'stream');
  }, 60_000);

  afterAll(async () => {
    await a?.close();
    await b?.close();
    await world?.close();
    folder.remove();
  });

  it('is filled beside the one that serves, which serves on from its own index and vectors', async () => {
    const before = await Promise.all(users.map((userId) => vectorOf(userId, OLD)));
    for (const name of ['post-tower', 'user-tower']) await promoteModel(modelsDir, { name, version: '2' });
    let building = true;
    const reading = (async () => {
      for (let i = 0; building; i++) {
        await feed(a, users[i % users.length]);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();
    second = await build().finally(() => {
      building = false;
    });
    await reading;
    for (const [i, userId] of users.entries()) {
      const old = await vectorOf(userId, OLD);
      expect(old).toEqual(before[i]);
      expect(dot(old as Float32Array, (await vectorOf(userId, NEW)) as Float32Array)).toBeLessThan(0.9);
    }
  });

  it('is refused by the replica of the old one, with the reason, and the replica goes on', async () => {
    await until('the new index is seen', () => a.generations.refusal !== null);
    const { degraded, index, models } = await ready(a);
    expect(degraded).toContain(
      `index ${second}: index ${second} was built with ${NEW}, the service runs ${OLD}`,
    );
    expect([index.generation, models['post-tower']]).toEqual([first, OLD]);
    expect(await rankedWith(a, idle)).toEqual(await vectorOf(idle, OLD));
  });

  it('serves on a replica that starts, whole from the first request', async () => {
    b = await start();
    const { index, models } = await ready(b);
    expect([index.generation, models['post-tower']]).toEqual([second, NEW]);
    expect(await rankedWith(b, idle)).toEqual(await vectorOf(idle, NEW));
    expect(await rankedWith(a, idle)).toEqual(await vectorOf(idle, OLD));
    await until('the replica follows the stream', () => b.generations.current.follower.source === 'stream');
  });

  it('moves a user in both spaces by a like on either replica', async () => {
    const likes = [
      { userId: likesOnA, postId: posts[203], replica: a },
      { userId: likesOnB, postId: posts[202], replica: b },
    ];
    const spaces = [
      { replica: a, tower: OLD, table: tables.get(first) as PostTable },
      { replica: b, tower: NEW, table: tables.get(second) as PostTable },
    ];
    const before = await Promise.all(
      likes.map(({ userId }) => Promise.all(spaces.map(({ tower }) => vectorOf(userId, tower)))),
    );
    for (const { userId, postId, replica } of likes) await like(replica, userId, postId);
    await world.settled();
    for (const [i, { userId, postId }] of likes.entries()) {
      for (const [j, { replica, tower, table }] of spaces.entries()) {
        await until(`${tower} has the like`, async () => {
          await feed(replica, userId, 1);
          const state = await world.state.getState(userId, tower, soon());
          return state?.history[0].postId === postId && state.embeddingLags !== true;
        });
        const after = (await vectorOf(userId, tower)) as Float32Array;
        const liked = postVector(table, postId);
        expect(dot(after, liked)).toBeGreaterThan(dot(before[i][j] as Float32Array, liked) + ROUNDING);
        expect(await rankedWith(replica, userId)).toEqual(after);
      }
    }
  });

  it('serves on every replica after a restart', async () => {
    await a.close();
    a = await start();
    const { index, models, degraded } = await ready(a);
    expect([index.generation, models['post-tower']]).toEqual([second, NEW]);
    expect(degraded.join()).not.toContain('index');
    expect(await rankedWith(a, likesOnA)).toEqual(await vectorOf(likesOnA, NEW));
  });

  it('has never met the other in one answer', async () => {
    const records = await served();
    const counts = new Map<string, number>();
    let apart = 0;
    for (const { index, features } of records) {
      counts.set(index, (counts.get(index) ?? 0) + 1);
      const vector = floats(features?.userVector ?? '');
      const [own, other] = index === first ? [first, second] : [second, first];
      for (const [postId, similarity] of similarities(features as NonNullable<typeof features>)) {
        expect(
          Math.abs(dot(vector, postVector(tables.get(own) as PostTable, postId)) - similarity),
        ).toBeLessThan(ROUNDING);
        if (Math.abs(dot(vector, postVector(tables.get(other) as PostTable, postId)) - similarity) > ROUNDING)
          apart++;
      }
    }
    // The check can tell the spaces apart, and saw both.
    expect([...counts.keys()].sort()).toEqual([first, second].sort());
    expect(apart).toBeGreaterThan(records.length * 5);
  });
});

function floats(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64');
  return new Float32Array(new Uint8Array(bytes).buffer);
}

function postVector(table: PostTable, postId: string): Float32Array {
  const { lo, hi } = hash64(postId);
  const row = table.rowOf(lo, hi);
  return table.vectors.subarray(row * DIM, (row + 1) * DIM);
}

/** By post, the similarity to the user's vector that the ranker read. */
function similarities({
  features,
  postIds,
  values,
}: NonNullable<ServingRecord['features']>): [string, number][] {
  const widths = features.map((id) => FEATURES.find((feature) => feature.id === id)?.width ?? 0);
  const width = widths.reduce((sum, one) => sum + one, 0);
  const at = widths.slice(0, features.indexOf('user_similarity@1')).reduce((sum, one) => sum + one, 0);
  const read = floats(values);
  return postIds.map((postId, i) => [postId, read[i * width + at]]);
}
