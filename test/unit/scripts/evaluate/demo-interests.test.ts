import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  compareUsers,
  configWithInterests,
  separateInterests,
} from '../../../../scripts/evaluate/demo-interests.ts';
import { generateWorld } from '../../../../scripts/generate/world.ts';
import { readConfig } from '../../../../src/config.ts';

/** A world of users with the given interests, in which sub-topics of the same ten are alike. */
function worldOf(interests: { subTopic: number; weight: number }[][]) {
  return {
    profile: (user: number) => ({ interests: interests[user] }) as never,
    similarity: (a: number, b: number) => (Math.floor(a / 10) === Math.floor(b / 10) ? 0.6 : 0.1),
  };
}

const CLOSE = [
  { subTopic: 1, weight: 0.6 },
  { subTopic: 2, weight: 0.4 },
];
const APART = [
  { subTopic: 1, weight: 0.6 },
  { subTopic: 12, weight: 0.4 },
];
const SLIGHT = [
  { subTopic: 1, weight: 0.9 },
  { subTopic: 12, weight: 0.1 },
];
const THREE = [1, 12, 25].map((subTopic) => ({ subTopic, weight: 1 / 3 }));

test('interests that are alike, or slight, count as one', () => {
  const world = worldOf([CLOSE, APART, SLIGHT, THREE]);
  expect([0, 1, 2, 3].map((user) => separateInterests(world, user))).toEqual([1, 2, 1, 3]);
  const generated = generateWorld({ posts: 200, users: 40, seed: 3 });
  const counts = Array.from({ length: 40 }, (_, user) => separateInterests(generated, user));
  expect(Math.min(...counts)).toBe(1);
  expect(Math.max(...counts)).toBeGreaterThan(1);
});

describe('compareUsers', () => {
  const world = worldOf([CLOSE, APART, APART, THREE]);

  test('pairs the two services user by user, and tells users with separate interests apart', () => {
    const compared = new Map([0.5, 0.4, 0.6, 0.2].map((slate, user) => [user, { slate }]));
    const configured = new Map([0.5, 0.5, 0.8, 0.5].map((slate, user) => [user, { slate }]));
    const { groups } = compareUsers(world, compared, configured);
    expect(Object.entries(groups).map(([name, { users }]) => [name, users])).toEqual([
      ['all', 4],
      ['one interest', 1],
      ['two separate', 2],
      ['three or more', 1],
    ]);
    expect(groups.all.slate!.gain).toBeCloseTo(0.15, 6);
    expect(groups['two separate'].slate!.gain).toBeCloseTo(0.15, 6);
    expect(groups['two separate'].slate!.standardError).toBeCloseTo(0.05, 6);
    expect(groups['two separate'].slate!.configured).toBeCloseTo(0.65, 6);
    expect(groups['one interest'].slate!.gain).toBe(0);
    expect(groups.all.ranked).toBeUndefined();
  });

  test('leaves out users for whom one of the two has no figure', () => {
    const { groups } = compareUsers(world, new Map([[0, {}]]), new Map([[0, { candidateRecall: 1 }]]));
    expect(groups.all).toEqual({ users: 1 });
  });
});

test('the compared config keeps what the retrieval file says otherwise', () => {
  const folder = mkdtempSync(join(tmpdir(), 'demo-interests-'));
  try {
    const file = join(folder, 'retrieval.json');
    writeFileSync(file, JSON.stringify({ maxAgeHours: 24, nearest: { userShare: 0.7 } }));
    const config = readConfig({ DATA_DIR: folder, RETRIEVAL_FILE: file });
    const other = configWithInterests(config, folder, 3);
    expect(JSON.parse(readFileSync(other.RETRIEVAL_FILE!, 'utf8'))).toEqual({
      maxAgeHours: 24,
      nearest: { userShare: 0.7, interests: 3 },
    });
    expect(config.RETRIEVAL_FILE).toBe(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
