// The users' part of committed changes, on a real state store: bounded, and the same whatever the order and repetition.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Applier, type ApplierSource, type LiveTable } from '../../src/applier.ts';
import type { Change, EngagementEvent, Post } from '../../src/contracts.ts';
import { type OnlineStore, openStateStore } from '../../src/features/store/state-store.ts';
import { SequenceWindow } from '../../src/sequence-window.ts';
import { DIM, HISTORY_LIMIT, SEEN_LIMIT } from '../../src/vocabulary.ts';
import { freshFolder, soon, unique } from '../setup/test-servers.ts';

let state: OnlineStore;
let folder: ReturnType<typeof freshFolder>;

beforeAll(async () => {
  folder = freshFolder();
  state = await openStateStore({ dataDir: folder.path });
});
afterAll(async () => {
  await state.close();
  folder.remove();
});

/** A source in which everything that will ever happen has happened already: what a reader that is late finds. */
function sourceOf(events: readonly EngagementEvent[]): ApplierSource {
  const newest = (userId: string, postId: string, type: string) => {
    const times = events
      .filter((one) => one.userId === userId && one.postId === postId && one.type === type)
      .map((one) => one.at);
    return times.length > 0 ? Math.max(...times) : null;
  };
  return {
    getPosts: async (ids) =>
      ids.map((id): Post => ({ id, authorId: `author of ${id}`, createdAt: 1, topic: 't' })),
    recentEventsOf: async (userIds, limit) =>
      new Map(
        userIds.map((userId) => [
          userId,
          events
            .filter((one) => one.userId === userId && one.type !== 'impression')
            .sort((a, b) => b.at - a.at)
            .slice(0, limit),
        ]),
      ),
    getUsers: async (ids) => ids.map(() => null),
    likesOf: async (pairs) =>
      pairs.map(({ userId, postId }) => ({
        likedAt: newest(userId, postId, 'like'),
        unlikedAt: newest(userId, postId, 'unlike'),
      })),
  };
}

function applierOver(events: readonly EngagementEvent[]): Applier {
  return new Applier({
    source: sourceOf(events),
    state,
    embedder: { refresh: async () => null },
    embedPosts: async (posts) => new Float32Array(posts.length * DIM),
    dim: DIM,
    onChange: () => {},
  });
}

const changesOf = (events: readonly EngagementEvent[]): Change[] =>
  events.map((event, seq) => ({ kind: 'event', event, seq }));

describe('the applier', () => {
  it('gives one history for any order, repetition and cut of likes, un-likes and clicks', async () => {
    const act = fc.record({
      post: fc.integer({ min: 0, max: 4 }),
      type: fc.constantFrom('like' as const, 'unlike' as const, 'click' as const, 'impression' as const),
      at: fc.integer({ min: 1, max: 1000 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(act, { maxLength: 25, selector: (one) => one.at }),
        fc.array(fc.nat(), { minLength: 30, maxLength: 30 }),
        async (acts, order) => {
          const now = Date.now();
          const eventsOf = (userId: string) =>
            acts.map(
              ({ post, type, at }, i): EngagementEvent => ({
                id: `e${i}`,
                userId,
                postId: `p${post}`,
                type,
                at: now - 1000 + at,
              }),
            );
          const inOrder = eventsOf(unique('in-order'));
          await applierOver(inOrder).applyUsers(changesOf(inOrder.toSorted((a, b) => a.at - b.at)));
          const shuffled = eventsOf(unique('shuffled'));
          const applier = applierOver(shuffled);
          const mixed = shuffled.map((event, i) => ({ event, key: order[i % order.length] }));
          for (const { event } of mixed.toSorted((a, b) => a.key - b.key)) {
            await applier.applyUsers(changesOf([event]));
          }
          await applier.applyUsers(changesOf(shuffled.filter((_, i) => order[i % order.length] % 2 === 0)));
          if (acts.length === 0) return;
          const [a, b] = await Promise.all(
            [inOrder[0].userId, shuffled[0].userId].map((userId) => state.getState(userId, 'tower', soon())),
          );
          expect(b?.history).toEqual(a?.history);
          expect([...(b?.seen ?? [])].sort()).toEqual([...(a?.seen ?? [])].sort());
        },
      ),
      { numRuns: 40 },
    );
  });

  it('keeps a bounded state of a user with a million events within a second', async () => {
    const userId = unique('busy');
    const now = Date.now();
    const applier = applierOver([]);
    for (let batch = 0; batch < 20; batch++) {
      const events = Array.from({ length: 50_000 }, (_, i): EngagementEvent => {
        const n = batch * 50_000 + i;
        return {
          id: `e${n}`,
          userId,
          postId: `p${n % 5000}`,
          type: 'click',
          at: now - 1000 + Math.floor(n / 1000),
        };
      });
      await applier.applyUsers(changesOf(events));
    }
    const found = await state.getState(userId, 'tower', soon());
    expect(found?.history).toHaveLength(HISTORY_LIMIT);
    expect(found?.history[0].at).toBe(now - 1);
    expect(found?.seen).toHaveLength(SEEN_LIMIT * 2);
  }, 30_000);

  it('counts a change of two overlapping feeds once, and each turn of a follow', async () => {
    const counted: string[] = [];
    const table: LiveTable = {
      rowOf: () => 0,
      upsert: () => 0,
      markDeleted: () => {},
      addEngagement: (_row, event) => counted.push(event.type),
      setFollower: (author, delta) => counted.push(`${author} ${delta}`),
    };
    const window = new SequenceWindow();
    const events = changesOf([
      { id: 'a', userId: 'u', postId: 'p', type: 'click', at: 1 },
      { id: 'b', userId: 'u', postId: 'p', type: 'like', at: 2 },
    ]);
    const follows: Change[] = [
      { kind: 'followers', authorId: 'x', delta: 1, seq: 10 },
      { kind: 'followers', authorId: 'x', delta: -1, seq: 11 },
    ];
    const applier = applierOver([]);
    for (const part of [[...events, ...follows], events, follows.slice(1), [...follows, ...events]]) {
      await applier.applyFromFeed(part, table, window);
    }
    expect(counted).toEqual(['click', 'like', 'x 1', 'x -1']);
  });

  it('leaves the events of a bulk load to the change feed, and says so', async () => {
    const events = Array.from({ length: 100 }, (_, i): EngagementEvent => {
      return { id: `e${i}`, userId: unique('bulk'), postId: 'p', type: 'click', at: 1 };
    });
    const applier = applierOver([]);
    await expect(applier.applyNow(changesOf(events), [])).rejects.toMatchObject({ code: 'overloaded' });
    expect(await state.getState(events[0].userId, 'tower', soon())).toBeNull();
    await applier.applyNow(changesOf(events.slice(0, 3)), []);
    expect((await state.getState(events[0].userId, 'tower', soon()))?.history).toHaveLength(1);
  });
});
