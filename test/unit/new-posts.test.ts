import { describe, expect, it } from 'vitest';
import { packHashes } from '../../src/hashing.ts';
import { NEW_POSTS_LIMIT, NewPosts } from '../../src/new-posts.ts';
import { buildTable, HOUR, NOW, packedUser, type TestPost } from './candidates/test-world.ts';

/** Base rows oldest first, then live rows as they came. */
const POSTS: TestPost[] = [
  { id: 'ancient', ageHours: 50 },
  { id: 'base-new', ageHours: 2, authorId: 'friend' },
  { id: 'live-old', ageHours: 30 },
  { id: 'live-a', ageHours: 1, authorId: 'friend' },
  { id: 'live-b', ageHours: 0.5, authorId: 'foe' },
  { id: 'live-c', ageHours: 0.2, text: 'about taxes' },
  { id: 'gone', ageHours: 0.1, deleted: true },
  { id: 'mine', ageHours: 0.1, authorId: 'me' },
];

function count(user: Parameters<typeof packedUser>[0] = {}, sinceHours = 3, exclude: string[] = []) {
  const query = {
    user: packedUser(user),
    exclude: packHashes(exclude),
    sinceMs: NOW - sinceHours * HOUR,
    nowMs: NOW,
  };
  return new NewPosts().count(buildTable(POSTS, 6), query);
}

describe('new posts', () => {
  it('are those made since, in the base and in the live tier, not deleted and of others', () => {
    expect(count()).toEqual({ count: 4, following: 0, more: false });
    expect(count({}, 0.4)).toEqual({ count: 1, following: 0, more: false });
    expect(count({}, 100).count).toBe(6);
    // The very moment is not after itself.
    expect(count({}, 0.2).count).toBe(0);
  });

  it('are counted as the feed would let them through, and those of followed authors apart', () => {
    const follows = packHashes(['friend']);
    expect(count({ follows })).toMatchObject({ count: 4, following: 2 });
    expect(count({ follows, seen: packHashes(['live-a']) })).toMatchObject({ count: 3, following: 1 });
    expect(count({ follows }, 3, ['live-c', 'base-new'])).toMatchObject({ count: 2, following: 1 });
    expect(count({ blockedAuthors: packHashes(['foe']) }).count).toBe(3);
  });

  it('are counted up to a limit', () => {
    const many = Array.from({ length: NEW_POSTS_LIMIT + 5 }, () => ({ ageHours: 1 }));
    const query = { user: packedUser(), exclude: new Uint32Array(0), sinceMs: NOW - 2 * HOUR, nowMs: NOW };
    expect(new NewPosts().count(buildTable(many, many.length), query)).toEqual({
      count: NEW_POSTS_LIMIT,
      following: 0,
      more: true,
    });
    const exactly = buildTable(many.slice(5), 3);
    expect(new NewPosts().count(exactly, query)).toMatchObject({ count: NEW_POSTS_LIMIT, more: false });
  });
});
