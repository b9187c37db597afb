import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TrainingSource, writeTrainingSet } from '../../../scripts/train/training-set.ts';
import { newPostOf, PostTable } from '../../../src/candidates/index/post-table.ts';
import type { Edge, EngagementEvent, Post, User } from '../../../src/contracts.ts';
import { FeatureEncoder } from '../../../src/features/feature-encoder.ts';
import { compilePlan, FEATURES, type FeatureId } from '../../../src/features/feature-schema.ts';
import { hash64 } from '../../../src/hashing.ts';
import { historyFrom } from '../../../src/hydrate.ts';
import { packUser } from '../../../src/pack-user.ts';
import { HEADS, type Head } from '../../../src/vocabulary.ts';
import { randomOf, unitVector } from '../features/catalogue.ts';

const HOUR = 3_600_000;
const START = Date.UTC(2026, 3, 6);
const IDS: FeatureId[] = FEATURES.map(({ id }) => id);
const PLAN = compilePlan(IDS);

function vectorOf(key: string): Float32Array {
  return unitVector(randomOf(hash64(key).lo));
}

function pack(vectors: Float32Array[]): Float32Array {
  return Float32Array.from(vectors.flatMap((vector) => [...vector]));
}

const POSTS: Post[] = Array.from({ length: 40 }, (_, i) => ({
  id: `p${i}`,
  authorId: `a${i % 6}`,
  createdAt: START + i * HOUR * 0.5,
  title: `post number ${i} about thing ${i % 7}`,
  topic: i % 4 === 0 ? undefined : `t${i % 3}`,
  language: 'en',
}));
const USERS: User[] = ['ann', 'bob', 'cy'].map((id) => ({
  id,
  createdAt: START - 50 * 24 * HOUR,
  languages: ['en'],
}));
const EDGES: Edge[] = [
  { userId: 'ann', kind: 'follow', target: 'a1', createdAt: START - HOUR },
  { userId: 'bob', kind: 'follow', target: 'a1', createdAt: START + 15 * HOUR },
];

/** Every ten minutes from hour 4 on somebody is shown a post; some engage, at random but the same each time. */
function makeEvents(): EngagementEvent[] {
  const random = randomOf(42);
  const events: EngagementEvent[] = [];
  const add = (
    userId: string,
    postId: string,
    type: EngagementEvent['type'],
    at: number,
    dwellMs?: number,
  ) => {
    events.push({ id: `${events.length}`, userId, postId, type, at, ...(dwellMs ? { dwellMs } : {}) });
  };
  for (let i = 0; i < 150; i++) {
    const at = START + 4 * HOUR + i * 600_000;
    const userId = USERS[i % 3].id;
    const postId = `p${Math.floor(random() * Math.min(40, (at - START) / (HOUR * 0.5)))}`;
    add(userId, postId, 'impression', at);
    if (random() < 0.4) add(userId, postId, 'click', at + 2000);
    if (random() < 0.2) add(userId, postId, 'like', at + 3000);
    if (random() < 0.2) add(userId, postId, 'dwell', at + 15_000, 12_000);
    if (random() < 0.1) add(userId, postId, 'hide', at + 4000);
  }
  return events.sort((a, b) => a.at - b.at);
}

async function* once<T>(items: T[]): AsyncGenerator<T[]> {
  for (let i = 0; i < items.length; i += 17) yield items.slice(i, i + 17);
}

function sourceOf(events: EngagementEvent[]): TrainingSource {
  return {
    posts: () => once(POSTS),
    users: () =>
      once(USERS.map((user) => ({ user, edges: EDGES.filter(({ userId }) => userId === user.id) }))),
    events: () => once(events),
  };
}

/** The vector of a user says which engagements it was made from. */
function userKey(types: number[]): string {
  return `history ${types.join()}`;
}

let dir: string;
let sets = 0;

async function trainingSet(events: EngagementEvent[], over: { fromMs?: number } = {}) {
  const outDir = join(dir, `${sets++}`);
  const meta = await writeTrainingSet({
    source: sourceOf(events),
    outDir,
    features: IDS,
    seed: 1,
    warmUpShare: 0,
    ...over,
    towers: {
      postTower: 'post-tower@9',
      userTower: 'user-tower@9',
      embedPosts: async (posts) => pack(posts.map(({ id }) => vectorOf(id))),
      embedUsers: async (users) => pack(users.map(({ types }) => vectorOf(userKey(types)))),
      coldStart: async () => vectorOf('cold'),
    },
  });
  const bytes = await readFile(join(outDir, 'features.f32'));
  const labels = await readFile(join(outDir, 'labels.u8'));
  const times = await readFile(join(outDir, 'times.f64'));
  const features = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const at = new Float64Array(times.buffer.slice(times.byteOffset, times.byteOffset + times.length));
  const label = (row: number, head: Head) => labels[row * HEADS.length + HEADS.indexOf(head)];
  return { meta, features, at, label };
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-training-'));
});

afterAll(() => rm(dir, { recursive: true }));

describe('training set', () => {
  it('holds what serving would have encoded at the time of the impression, bit for bit', async () => {
    const events = makeEvents();
    const { features, at, meta } = await trainingSet(events);
    expect(meta.rows).toBeGreaterThan(60);
    const encoder = new FeatureEncoder(PLAN);
    const expected = new Float32Array(PLAN.width);
    for (const row of [0, 1, 20, 41, meta.rows - 1]) {
      const shown = events.find((event) => event.type === 'impression' && event.at === at[row])!;
      const before = events.filter((event) => event.at < shown.at);
      const table = PostTable.create({ generation: 't', baseRows: 0, capacity: 64, keyBytes: 4096 });
      for (const post of POSTS) {
        if (post.createdAt <= shown.at) table.append(newPostOf(post), vectorOf(post.id));
      }
      for (const edge of EDGES) if (edge.createdAt <= shown.at) table.addFollowers(edge.target, 1);
      for (const { postId, type, dwellMs, at: eventAt } of before) {
        table.addEngagement(table.rowOfId(postId), type, dwellMs ?? 0, eventAt, eventAt);
      }
      const own = before.filter(({ userId }) => userId === shown.userId).reverse();
      const postsOf = (list: EngagementEvent[]) =>
        list.map(({ postId }) => POSTS.find(({ id }) => id === postId)!);
      const history = historyFrom(own, postsOf(own));
      // The vector is from the start of the hour.
      const hour = Math.floor(shown.at / HOUR) * HOUR;
      const earlier = own.filter((event) => event.at < hour);
      const known = historyFrom(earlier, postsOf(earlier));
      const positive = known.some(({ type }) => type !== 'hide');
      const codes = { click: 1, like: 2, dwell: 5, hide: 6 } as Record<string, number>;
      const embedding = positive
        ? vectorOf(userKey(known.slice(0, 30).map(({ type }) => codes[type])))
        : vectorOf('cold');
      const user = USERS.find(({ id }) => id === shown.userId)!;
      const edges = EDGES.filter(({ userId, createdAt }) => userId === user.id && createdAt <= shown.at);
      const state = { version: 0, embedding, history, seen: new Uint32Array(0), user, edges };
      const packed = packUser(user.id, state, embedding, positive ? 'stored' : 'cold');
      encoder.begin(packed, table, { nowMs: shown.at, position: shown.position });
      encoder.encode(table, Uint32Array.of(table.rowOfId(shown.postId)), 0, 1, expected);
      expect(features.slice(row * PLAN.width, (row + 1) * PLAN.width)).toEqual(expected);
    }
  });

  it('does not change a row when the future changes', async () => {
    const events = makeEvents();
    const cut = START + 14 * HOUR;
    const { features, at } = await trainingSet(events);
    const changed = events.map((event) =>
      event.at >= cut && event.type === 'click' ? { ...event, type: 'hide' as const } : event,
    );
    const after = await trainingSet(changed);
    const rows = at.filter((time) => time < cut).length;
    expect(rows).toBeGreaterThan(20);
    expect(after.features.slice(0, rows * PLAN.width)).toEqual(features.slice(0, rows * PLAN.width));
    expect(after.features).not.toEqual(features);
  });

  it('leaves out what the towers have learned from, but counts it', async () => {
    const events = makeEvents();
    const all = await trainingSet(events);
    const fromMs = START + 16 * HOUR;
    const late = await trainingSet(events, { fromMs });
    const first = all.at.findIndex((time) => time >= fromMs);
    expect(late.at[0]).toBe(all.at[first]);
    expect(late.meta.rows).toBe(all.meta.rows - first);
    // All but the vectors are as in the whole set; those are made again at the first impression that is a row.
    const { columns } = compilePlan(['post_rates@1', 'post_totals@1', 'author_affinity@1', 'user_mix@1']);
    for (let row = 0; row < late.meta.rows; row++) {
      for (const column of columns) {
        expect(late.features[row * PLAN.width + column]).toBe(
          all.features[(row + first) * PLAN.width + column],
        );
      }
    }
  });

  it('labels an impression by what the same user did within a day', async () => {
    const at = START + 10 * HOUR;
    const event = (i: number, type: EngagementEvent['type'], offset: number, over = {}): EngagementEvent => ({
      id: `${i}`,
      userId: 'ann',
      postId: 'p1',
      type,
      at: at + offset,
      ...over,
    });
    const { meta, label } = await trainingSet([
      event(0, 'impression', 0),
      event(1, 'impression', 1000, { postId: 'p2' }),
      event(2, 'like', 2000),
      event(3, 'dwell', 3000, { dwellMs: 15_000, postId: 'p2' }),
      event(4, 'unlike', 4000),
      event(5, 'impression', 5000, { postId: 'p3' }),
      event(6, 'impression', 6000, { userId: 'bob' }),
      event(7, 'not_interested', 7000, { userId: 'bob' }),
      event(8, 'impression', 8000),
      event(9, 'share', 25 * HOUR, { postId: 'p3' }),
      event(10, 'impression', 60 * HOUR, { postId: 'p5' }),
    ]);
    // Seen again (8) makes no row, the last hour (10) neither.
    expect(meta.rows).toBe(4);
    const heads = (row: number) => HEADS.filter((head) => label(row, head) === 1);
    expect(heads(0)).toEqual(['click']);
    expect(heads(1)).toEqual(['click', 'dwell']);
    expect(heads(2)).toEqual([]);
    expect(heads(3)).toEqual(['negative']);
    expect(meta.positives).toEqual({ click: 2, like: 0, reply: 0, share: 0, dwell: 1, negative: 1 });
  });

  it('encodes a page with the user as its first post was shown', async () => {
    const at = START + 10 * HOUR;
    const show = (post: number, position: number, offset: number): EngagementEvent => ({
      id: `i${post}`,
      userId: 'ann',
      postId: `p${post}`,
      type: 'impression',
      at: at + offset,
      position,
    });
    const { features } = await trainingSet([
      show(1, 0, 0),
      { id: 'c', userId: 'ann', postId: 'p1', type: 'click', at: at + 1000 },
      show(2, 1, 2000),
      show(3, 0, 4000),
      show(4, 0, 90 * HOUR),
    ]);
    const size = (row: number) => features[row * PLAN.width];
    expect([size(0), size(1)]).toEqual([0, 0]);
    expect(size(2)).toBeGreaterThan(0);
  });

  it('refuses events without impressions', async () => {
    const events = makeEvents().filter(({ type }) => type !== 'impression');
    await expect(trainingSet(events)).rejects.toThrow('no impressions');
  });

  it('counts events of posts that do not exist, and goes on', async () => {
    const events = makeEvents();
    events[3] = { ...events[3], postId: 'gone' };
    const { meta } = await trainingSet(events);
    expect(meta.unknownPosts).toBe(1);
    expect(meta.tower).toBe('post-tower@9');
  });
});
