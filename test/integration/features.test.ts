// The feature store's two halves on embedded stores: what a composed service used for requests is what the SQL store
// gives as of their watermark, and a store that hides something is found out.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diffFeatures, type FeatureDiff } from '../../scripts/features/diff.ts';
import { columnNames, exportFeatures } from '../../scripts/features/export.ts';
import { type FeatureStore, featureStore } from '../../scripts/features/feature-store.ts';
import { poolTowers, storeSource } from '../../scripts/train/training-set-source.ts';
import { composeService, type Service } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import { EmbedPool } from '../../src/features/embed-pool.ts';
import { openSqlStore, type SqlStore } from '../../src/features/store/postgres-store.ts';
import { promotedFolder } from '../../src/ranking/model-registry.ts';

const TOPICS = ['cooking', 'astronomy', 'cycling'];
const WORDS = 'bread oven roast moon saturn rings comet wheel pedal gravel saddle butter orbit race'.split(
  ' ',
);
const POSTS = 90;
const HOUR = 3_600_000;
const LIKED = 'p4';

let dataDir: string;
let sql: SqlStore;
let pool: EmbedPool;

async function call(
  service: Service,
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  url: string,
  payload?: object,
) {
  const response = await service.app.inject({ method, url, ...(payload ? { payload } : {}) });
  expect(response.statusCode, response.body).toBeLessThan(300);
  return response.json();
}

/** Everything committed so far is applied: the watermark of the next request is after it. */
async function settled(service: Service): Promise<void> {
  const { follower } = service.generations.current;
  const before = Date.now();
  while (Date.now() - follower.ageMs <= before) await new Promise((resolve) => setTimeout(resolve, 10));
}

function events(userId: string, type: string, posts: readonly number[], dwellMs?: number) {
  const at = Date.now() - 5000;
  return {
    events: posts.map((post, i) => ({
      userId,
      postId: `p${post}`,
      type,
      at: at + i,
      ...(dwellMs ? { dwellMs } : {}),
    })),
  };
}

/** Reads feeds while posts are liked, hidden, written and deleted, authors followed and left. */
async function live(service: Service): Promise<void> {
  const feed = async (userId: string) => {
    await settled(service);
    const { posts } = await call(service, 'GET', `/feed/${userId}?limit=10`);
    expect(posts.length).toBeGreaterThan(0);
  };
  await call(service, 'POST', '/posts', {
    posts: Array.from({ length: POSTS }, (_, i) => ({
      id: `p${i}`,
      authorId: `a${i % 7}`,
      createdAt: Date.now() - i * HOUR,
      title: `${WORDS[i % 14]} ${WORDS[(i * 3) % 14]} ${WORDS[(i * 5 + 2) % 14]}`,
      ...(i % 5 === 0 ? {} : { topic: TOPICS[i % 3] }),
      language: 'en',
    })),
  });
  for (const id of ['ann', 'bob']) {
    const user = { createdAt: Date.now() - 100 * 24 * HOUR, languages: ['en'], topics: ['cycling'] };
    await call(service, 'PUT', `/users/${id}`, user);
  }
  await feed('ann');
  await feed('nobody-known');
  await call(service, 'PUT', '/users/ann/follows/a1');
  await call(service, 'PUT', '/users/ann/follows/a2');
  await call(service, 'POST', '/events', events('ann', 'impression', [1, 2, 3, 4, 5, 6]));
  await call(service, 'POST', '/events', events('ann', 'like', [4]));
  await call(service, 'POST', '/events', events('ann', 'click', [1, 8, 11, 14]));
  await feed('ann');
  await call(service, 'DELETE', '/users/ann/follows/a2');
  await call(service, 'POST', '/events', events('bob', 'dwell', [3, 6, 9], 25_000));
  await call(service, 'POST', '/events', events('bob', 'hide', [2, 12]));
  await call(service, 'POST', '/events', events('stranger', 'share', [20, 21, 22]));
  await feed('bob');
  await feed('stranger');
  await call(service, 'POST', '/posts', {
    posts: [{ id: 'late', authorId: 'a1', createdAt: Date.now(), title: 'a late comet', topic: 'astronomy' }],
  });
  await call(service, 'POST', '/events', events('ann', 'unlike', [4]));
  await feed('ann');
}

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'feedrank-features-'));
  const config = readConfig({
    DATA_DIR: dataDir,
    FEED_WORKERS: '1',
    CHANGES_POLL_MS: '10',
    FEED_DEADLINE_MS: '20000',
    FEATURE_LOG_SHARE: '1',
    RATE_LIMIT_PER_MINUTE: '0',
    USER_RATE_LIMIT_PER_MINUTE: '0',
    LOG_LEVEL: 'silent',
  });
  const service = await composeService(config, pino({ level: 'silent' }));
  try {
    await live(service);
  } finally {
    await service.close();
  }
  sql = await openSqlStore({ dataDir });
  pool = await EmbedPool.start({
    postTowerDir: await promotedFolder(config.MODELS_DIR, 'post-tower'),
    userTowerDir: await promotedFolder(config.MODELS_DIR, 'user-tower'),
    workers: 1,
  });
}, 120_000);

afterAll(async () => {
  await pool?.close();
  await sql?.close();
  rmSync(dataDir, { recursive: true, force: true });
});

function diff(over: Partial<FeatureStore> = {}): Promise<FeatureDiff> {
  return diffFeatures({
    store: { ...featureStore(sql), ...over },
    embedPosts: (posts) => pool.embedPosts(posts),
    embedUsers: (users) => pool.embedUsers(users),
    samples: 100,
  });
}

/** The store without the changes that `hidden` picks, as a reader sees it that loses them. */
function hiding(hidden: (change: { kind: string; event?: { postId: string; type: string } }) => boolean) {
  const store = featureStore(sql);
  return {
    readChanges: async (after: string, limit: number) => {
      const read = await store.readChanges(after, limit);
      return { ...read, changes: read.changes.filter((change) => !hidden(change as never)) };
    },
  };
}

describe('features used and features recomputed', () => {
  it('are equal for every post of every request', async () => {
    const found = await diff();
    expect(found.requests).toBe(6);
    const samples = await featureStore(sql).samples(100);
    const logged = samples.reduce((sum, { features }) => sum + features.postIds.length, 0);
    expect(found.rows + found.inFlight.rows).toBe(logged);
    expect(found.rows).toBeGreaterThan(logged / 2);
    expect(logged).toBeGreaterThanOrEqual(40);
    expect(found.leftOut).toBe(0);
    expect(found.skew.length).toBeGreaterThan(25);
    expect(found.skew.filter(({ unequal }) => unequal > 0)).toEqual([]);
    expect(found.unequal).toEqual([]);
    expect(found.userVectors.compared).toBeGreaterThanOrEqual(4);
    expect(found.userVectors.smallestCosine).toBeGreaterThan(0.99);
  });

  it('differ where an event of the user is hidden, and are named', async () => {
    const found = await diff(hiding(({ event }) => event?.type === 'hide'));
    expect(found.unequal).toContain('negative_similarity@1');
    expect(found.unequal).toContain('user_history_size@1');
    expect(found.unequal).not.toContain('post_age@1');
    expect(found.unequal).not.toContain('follows_author@1');
    expect(found.skew[0].unequal).toBeGreaterThan(0);
  });

  it('differ where a follow is hidden', async () => {
    const found = await diff(hiding(({ kind }) => kind === 'edge' || kind === 'followers'));
    expect(found.unequal).toEqual(
      expect.arrayContaining(['follows_author@1', 'user_follows@1', 'author_counters@1']),
    );
    expect(found.unequal).not.toContain('history_similarity@1');
  });

  it('take what was committed before the watermark, whatever its event time', async () => {
    // All is replayed up to the end instead of the watermark: later likes and clicks are then in the first request too.
    const store = featureStore(sql);
    const last = (await store.samples(100)).at(-1)!;
    const found = await diff({
      samples: async (limit) =>
        (await store.samples(limit)).map((sample) => ({ ...sample, watermark: last.watermark })),
      arrivedMeanwhile: async () => [],
    });
    expect(found.unequal).toContain('user_history_size@1');
  });
});

describe('the export', () => {
  it('has a row an impression with its ids, every feature and the labels, as Parquet', async () => {
    const outDir = join(dataDir, 'export');
    const fresh = Date.now() - 2 * HOUR;
    const source = storeSource(sql);
    const meta = await exportFeatures({
      source: {
        ...source,
        // An impression counts once an hour has passed: these are two hours old.
        events: async function* () {
          for await (const batch of source.events()) {
            yield batch
              .filter(({ userId }) => userId === 'ann')
              .map((event, i) => ({ ...event, at: fresh + i }));
          }
          yield [{ id: 'end', userId: 'bob', postId: LIKED, type: 'click' as const, at: Date.now() }];
        },
      },
      towers: poolTowers(pool),
      outDir,
      maxRows: 1000,
      seed: 1,
      warmUpShare: 0,
    });
    const file = await asyncBufferFromFile(join(outDir, 'features.parquet'));
    const rows = await parquetReadObjects({ file });
    expect(rows).toHaveLength(meta.rows);
    expect(meta.rows).toBeGreaterThan(0);
    for (const row of rows) {
      expect(row.user_id).toBe('ann');
      expect(row.at).toBeInstanceOf(Date);
      expect(Number.isFinite(row.post_age_v1)).toBe(true);
    }
    const liked = rows.find((row) => row.post_id === LIKED)!;
    expect(liked.label_click).toBe(true);
    const { schema } = await parquetMetadataAsync(file);
    const names = schema.slice(1).map(({ name }) => name);
    expect(names).toEqual([
      'user_id',
      'post_id',
      'at',
      ...meta.features.flatMap(columnNames),
      ...meta.heads.map((head) => `label_${head}`),
    ]);
  });
});
