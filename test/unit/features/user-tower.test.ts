import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { UserTowerInput } from '../../../src/features/packed-users.ts';
import { PostTower } from '../../../src/features/post-tower.ts';
import { UserTower } from '../../../src/features/user-tower.ts';
import { dot, largestDifference, POST_TOWER, row, USER_TOWER } from './towers.ts';

describe('user tower', () => {
  let posts: PostTower;
  let tower: UserTower;
  let guitar: Float32Array;
  let bread: Float32Array;
  beforeAll(async () => {
    posts = await PostTower.load(POST_TOWER);
    tower = await UserTower.load(USER_TOWER);
    const vectors = await posts.embed([
      { text: 'Learning chords and strumming on my first guitar' },
      { text: 'Best way to bake sourdough bread at home' },
    ]);
    [guitar, bread] = [row(vectors, 0), row(vectors, 1)];
  });
  afterAll(async () => {
    await posts.release();
    await tower.release();
  });

  const user = (entries: [Float32Array, number, number][]): UserTowerInput => ({
    vectors: entries.map(([vector]) => vector),
    types: entries.map(([, type]) => type),
    ageHours: entries.map(([, , age]) => age),
  });

  it('fits the committed post tower', () => {
    expect(tower.postTower).toBe(posts.version);
    expect(tower.version).toBe('user-tower@1');
  });

  it('gives the cold-start vector to a user without history', async () => {
    const cold = tower.coldStart();
    expect(dot(cold, cold)).toBeCloseTo(1, 5);
    const vectors = await tower.embed([user([]), user([[guitar, 0, 1]])]);
    expect(largestDifference(row(vectors, 0), cold)).toBeLessThan(1e-6);
    expect(largestDifference(row(vectors, 1), cold)).toBeLessThan(1e-6);
  });

  it('follows what the user engaged with, and the newest of it most', async () => {
    const vectors = await tower.embed([
      user([[guitar, 1, 1]]),
      user([
        [guitar, 1, 0.1],
        [bread, 1, 24 * 90],
      ]),
    ]);
    expect(dot(row(vectors, 0), guitar)).toBeGreaterThan(0.8);
    expect(dot(row(vectors, 1), guitar)).toBeGreaterThan(dot(row(vectors, 1), bread));
  });

  it('moves away from what the user hid', async () => {
    const liked = user([[guitar, 2, 1]]);
    const hidden = user([
      [guitar, 2, 1],
      [bread, 6, 1],
    ]);
    const vectors = await tower.embed([liked, hidden]);
    expect(dot(row(vectors, 1), bread)).toBeLessThan(dot(row(vectors, 0), bread));
  });

  it('stays finite and of unit norm for broken, hidden-only and overlong histories', async () => {
    const cold = tower.coldStart();
    const users = [
      user([[new Float32Array(64).fill(Number.NaN), 1, 1]]),
      user([[new Float32Array(64), 1, 1]]),
      user([[new Float32Array(3), 1, 1]]),
      user([[guitar, 1, Number.NaN]]),
      user([[guitar, 1, 1e12]]),
      user([[guitar, 99, 1]]),
      user([[cold, 6, 0]]),
      user([[guitar, 6, 0]]),
      user(Array.from({ length: 500 }, (_, i) => [i % 2 ? guitar : bread, 1 + (i % 6), i])),
      user([
        [guitar, 1, 1],
        [guitar.map((x) => -x), 1, 1],
      ]),
    ];
    const vectors = await tower.embed(users);
    for (let i = 0; i < users.length; i++)
      expect(dot(row(vectors, i), row(vectors, i)), `user ${i}`).toBeCloseTo(1, 5);
  });

  it('gives a user the same vector alone and in any batch', async () => {
    const users = Array.from({ length: 130 }, (_, i) =>
      user(Array.from({ length: i % 31 }, (_, h) => [h % 2 ? guitar : bread, 1 + (h % 6), h * i])),
    );
    const together = await tower.embed(users);
    for (const i of [0, 1, 30, 64, 129]) {
      const alone = await tower.embed([users[i]]);
      expect(largestDifference(alone, row(together, i))).toBeLessThan(1e-5);
    }
  });
});
