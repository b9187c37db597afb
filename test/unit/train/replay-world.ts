// Three users, forty posts, a day of events: what the tests of the training set replay.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { type TrainingSource, writeTrainingSet } from '../../../scripts/train/training-set.ts';
import type { Edge, EngagementEvent, Post, User } from '../../../src/contracts.ts';
import { compilePlan, FEATURES, type FeatureId } from '../../../src/features/feature-schema.ts';
import { hash64 } from '../../../src/hashing.ts';
import { HEADS, type Head } from '../../../src/vocabulary.ts';
import { randomOf, unitVector } from '../features/catalogue.ts';

export const HOUR = 3_600_000;
export const START = Date.UTC(2026, 3, 6);
const IDS: FeatureId[] = FEATURES.map(({ id }) => id);
export const PLAN = compilePlan(IDS);

export function vectorOf(key: string): Float32Array {
  return unitVector(randomOf(hash64(key).lo));
}

function pack(vectors: Float32Array[]): Float32Array {
  return Float32Array.from(vectors.flatMap((vector) => [...vector]));
}

export const POSTS: Post[] = Array.from({ length: 40 }, (_, i) => ({
  id: `p${i}`,
  authorId: `a${i % 6}`,
  createdAt: START + i * HOUR * 0.5,
  title: `post number ${i} about thing ${i % 7}`,
  topic: i % 4 === 0 ? undefined : `t${i % 3}`,
  language: 'en',
}));
export const USERS: User[] = ['ann', 'bob', 'cy'].map((id) => ({
  id,
  createdAt: START - 50 * 24 * HOUR,
  languages: ['en'],
}));
export const EDGES: Edge[] = [
  { userId: 'ann', kind: 'follow', target: 'a1', createdAt: START - HOUR },
  { userId: 'bob', kind: 'follow', target: 'a1', createdAt: START + 15 * HOUR },
];

/** Every ten minutes from hour 4 on somebody is shown a post; some engage, at random but the same each time. */
export function makeEvents(seed = 42): EngagementEvent[] {
  const random = randomOf(seed);
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

export function sourceOf(events: EngagementEvent[]): TrainingSource {
  return {
    posts: () => once(POSTS),
    users: () =>
      once(USERS.map((user) => ({ user, edges: EDGES.filter(({ userId }) => userId === user.id) }))),
    events: () => once(events),
  };
}

/** The vector of a user says which engagements it was made from. */
export function userKey(types: number[]): string {
  return `history ${types.join()}`;
}

let dir: string | null = null;
let sets = 0;

afterAll(async () => {
  if (dir !== null) await rm(dir, { recursive: true });
});

/** Writes the set of these events and reads it again. */
export async function trainingSet(
  events: EngagementEvent[],
  over: { fromMs?: number; source?: TrainingSource } = {},
) {
  dir ??= await mkdtemp(join(tmpdir(), 'feedrank-training-'));
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
  return { dir: outDir, meta, features, at, label, labelled: labels.length / HEADS.length };
}
