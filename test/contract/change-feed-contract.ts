// What every ChangeFeed must do. Run over each adapter by pglite.test.ts and postgres.test.ts.
import { describe, expect, it } from 'vitest';
import type { Change, ChangeFeed, EventStore, Position, PostStore, UserStore } from '../../src/contracts.ts';
import type { Deadline } from '../../src/deadline.ts';
import { soon, unique } from '../setup/test-servers.ts';

type Store = PostStore &
  UserStore &
  EventStore &
  ChangeFeed & { trimChanges(olderThanMs: number, deadline: Deadline): Promise<number> };

/**
 * Every change after a position up to now. Transactions elsewhere on the server hold the feed back a moment, so a post
 * written now marks the end.
 */
async function readAll(
  store: Store,
  after: Position,
  limit = 100,
): Promise<{ changes: Change[]; position: Position }> {
  const mark = unique('mark');
  await store.putPosts([{ id: mark, authorId: 'mark', createdAt: 1 }], soon());
  const changes: Change[] = [];
  let position = after;
  while (true) {
    const batch = await store.read(position, limit, soon());
    position = batch.position;
    let marked = false;
    for (const change of batch.changes) {
      if (change.kind !== 'post' || change.post.authorId !== 'mark') changes.push(change);
      else marked ||= change.post.id === mark;
    }
    if (marked) return { changes, position };
    if (batch.changes.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** After everything that is committed by now. */
async function settledPosition(store: Store): Promise<Position> {
  return (await readAll(store, await store.position(soon()))).position;
}

export function changeFeedContract(store: () => Store): void {
  describe('change feed', () => {
    it('reports every kind of change after a position, in order, and each once', async () => {
      const start = await settledPosition(store());
      const [postId, goneId, userId] = [unique('post'), unique('gone'), unique('user')];
      const post = { id: postId, authorId: 'a', createdAt: 1, title: 'title' };
      const user = { id: userId, createdAt: 2, topics: ['t'] };
      const edge = { userId, kind: 'follow' as const, target: 'a', createdAt: 3 };
      const off = { userId, kind: 'block' as const, target: 'b', createdAt: 3 };
      const event = { id: 'e', userId, postId, type: 'like' as const, at: 4, position: 2 };
      await store().putPosts([{ ...post, id: goneId }], soon());
      await store().putPosts([post], soon());
      await store().putUsers([user], soon());
      await store().setEdges([edge, off], true, soon());
      await store().setEdges([off], false, soon());
      await store().appendEvents([event], soon());
      await store().deletePost(goneId, soon());
      const expected: Change[] = [
        { kind: 'post', post },
        { kind: 'user', user },
        { kind: 'edge', edge, on: true },
        { kind: 'followers', authorId: 'a', delta: 1, seq: expect.any(Number) },
        { kind: 'edge', edge: off, on: false },
        { kind: 'event', event, seq: expect.any(Number) },
        { kind: 'post_deleted', postId: goneId },
      ];
      for (const limit of [1, 2, 100]) {
        expect((await readAll(store(), start, limit)).changes).toEqual(expected);
      }
      const { position } = await readAll(store(), start);
      expect((await readAll(store(), position)).changes).toEqual([]);
      expect(position > start).toBe(true);
      expect((await store().position(soon())) >= position).toBe(true);
    });

    it('reports nothing for writes that changed nothing', async () => {
      const [id, userId] = [unique('post'), unique('user')];
      const post = { id, authorId: 'a', createdAt: 1 };
      const edge = { userId, kind: 'follow' as const, target: 'a', createdAt: 3 };
      const event = { id: 'e', userId, postId: id, type: 'like' as const, at: 4 };
      const write = async () => {
        await store().putPosts([post], soon());
        await store().putUsers([{ id: userId, createdAt: 1, languages: ['en'] }], soon());
        await store().setEdges([edge], true, soon());
        await store().appendEvents([event], soon());
      };
      await write();
      const start = await settledPosition(store());
      await write();
      await store().setEdges([{ ...edge, target: 'never' }], false, soon());
      expect((await readAll(store(), start)).changes).toEqual([]);
    });

    it('reports a post that changed several times once, as it is now', async () => {
      const start = await settledPosition(store());
      const post = { id: unique('post'), authorId: 'a', createdAt: 1 };
      for (const title of ['one', 'two', 'three']) await store().putPosts([{ ...post, title }], soon());
      expect((await readAll(store(), start)).changes).toEqual([
        { kind: 'post', post: { ...post, title: 'three' } },
      ]);
    });

    it('gives every turn of a follow once, also where the edge is given only as it is now', async () => {
      const start = await settledPosition(store());
      const edge = {
        userId: unique('user'),
        kind: 'follow' as const,
        target: unique('author'),
        createdAt: 3,
      };
      await store().setEdges([edge], true, soon());
      await store().setEdges([edge], true, soon());
      const between = await settledPosition(store());
      await store().setEdges([edge], false, soon());
      await store().setEdges([edge], true, soon());
      const turns = (changes: Change[]) =>
        changes.filter((one) => one.kind === 'followers').map((one) => one.delta);
      expect(turns((await readAll(store(), start)).changes)).toEqual([1, -1, 1]);
      expect(turns((await readAll(store(), between)).changes)).toEqual([-1, 1]);
      expect((await readAll(store(), start)).changes.filter((one) => one.kind === 'edge')).toHaveLength(1);
    });

    it('reports an erasure before what the user does afterwards, and nothing from before it', async () => {
      const start = await settledPosition(store());
      const id = unique('user');
      const event = { id: 'e', userId: id, postId: 'p', type: 'like' as const, at: 4 };
      await store().putUsers([{ id, createdAt: 1 }], soon());
      await store().appendEvents([event], soon());
      await store().eraseUser(id, soon());
      await store().putUsers([{ id, createdAt: 9 }], soon());
      expect((await readAll(store(), start)).changes).toEqual([
        { kind: 'user_erased', userId: id },
        { kind: 'user', user: { id, createdAt: 9 } },
      ]);
    });

    it('loses no event of many concurrent writers, and repeats none, while it is read', async () => {
      const start = await settledPosition(store());
      const tag = unique('writer');
      let writing = true;
      const writers = Promise.all(
        Array.from({ length: 8 }, async (_, writer) => {
          for (let round = 0; round < 25; round++) {
            const events = Array.from({ length: 1 + ((writer + round) % 7) }, (_, i) => ({
              id: `${round}-${i}`,
              userId: `${tag}-${writer}`,
              postId: 'p',
              type: 'click' as const,
              at: round,
            }));
            await store().appendEvents(events, soon());
          }
        }),
      ).finally(() => {
        writing = false;
      });
      const seen: string[] = [];
      let position = start;
      let done = false;
      while (!done) {
        done = !writing;
        const batch = await readAll(store(), position, 13);
        position = batch.position;
        for (const change of batch.changes) {
          if (change.kind === 'event' && change.event.userId.startsWith(tag)) {
            seen.push(`${change.event.userId} ${change.event.id}`);
          }
        }
      }
      await writers;
      let expected = 0;
      for (let writer = 0; writer < 8; writer++) {
        for (let round = 0; round < 25; round++) expected += 1 + ((writer + round) % 7);
      }
      expect(new Set(seen).size).toBe(expected);
      expect(seen).toHaveLength(expected);
    });

    it('refuses foreign positions and limits', async () => {
      for (const position of [
        'x',
        '1',
        '0-0',
        `${'f'.repeat(16)}-${'f'.repeat(16)}`,
        "'; drop table posts",
      ]) {
        await expect(store().read(position, 1, soon())).rejects.toMatchObject({ code: 'invalid_input' });
      }
      for (const limit of [0, -1, 1.5, Number.NaN]) {
        await expect(store().read('', limit, soon())).rejects.toMatchObject({ code: 'invalid_input' });
      }
    });

    it('tells a reader that fell behind trimmed deletes to start over, and no other', async () => {
      const before = await settledPosition(store());
      const id = unique('post');
      await store().putPosts([{ id, authorId: 'a', createdAt: 1 }], soon());
      await store().deletePost(id, soon());
      const { position } = await readAll(store(), before);
      expect(await store().trimChanges(0, soon())).toBe(0);
      expect(await store().trimChanges(Date.now() + 1000, soon())).toBeGreaterThan(0);
      await expect(store().read(before, 10, soon())).rejects.toMatchObject({ code: 'expired_cursor' });
      expect((await store().read(position, 10, soon())).changes).toEqual([]);
      expect(await store().getPosts([id], soon())).toEqual([null]);
    });
  });
}
