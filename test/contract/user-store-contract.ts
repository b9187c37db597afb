// What every UserStore must do. Run over each adapter by pglite.test.ts and postgres.test.ts.
import { describe, expect, it } from 'vitest';
import type { Edge, EventStore, ServingLog, UserStore } from '../../src/contracts.ts';
import { UNDATED } from '../../src/vocabulary.ts';
import { collect, soon, unique } from '../setup/test-servers.ts';
import { record } from './serving-log-contract.ts';

export function userStoreContract(store: () => UserStore & EventStore & ServingLog): void {
  describe('users', () => {
    it('knows nothing of an unknown user', async () => {
      expect(await store().getUser(unique('nobody'), soon())).toBeNull();
    });

    it('gives back the profile as stored and replaces it whole', async () => {
      const id = unique('user/😀');
      const full = {
        id,
        createdAt: 5,
        languages: ['en', 'de'],
        country: 'DE',
        topics: ['a', '"b"'],
        showSensitive: false,
      };
      await store().putUsers([full], soon());
      expect(await store().getUser(id, soon())).toEqual({ user: full, edges: [] });
      await store().putUsers([{ id, createdAt: 6 }], soon());
      expect(await store().getUser(id, soon())).toEqual({ user: { id, createdAt: 6 }, edges: [] });
    });

    it('adds and removes edges, both idempotent, of users without a profile too', async () => {
      const userId = unique('user');
      const edges: Edge[] = [
        { userId, kind: 'follow', target: 'author', createdAt: 1 },
        { userId, kind: 'block', target: 'author', createdAt: 2 },
        { userId, kind: 'mute_word', target: 'spoiler, "quoted"', createdAt: 3 },
      ];
      await store().setEdges([...edges, edges[0]], true, soon());
      await store().setEdges([{ ...edges[0], createdAt: 99 }], true, soon());
      expect(await store().getUser(userId, soon())).toEqual({ user: null, edges });
      await store().setEdges([edges[1]], false, soon());
      await store().setEdges([edges[1]], false, soon());
      expect((await store().getUser(userId, soon()))?.edges).toEqual([edges[0], edges[2]]);
      await store().setEdges([{ ...edges[1], createdAt: 9 }], true, soon());
      expect((await store().getUser(userId, soon()))?.edges).toContainEqual({ ...edges[1], createdAt: 9 });
    });

    it('erases everything of one user and nothing of another', async () => {
      const [gone, stays] = [unique('gone'), unique('stays')];
      for (const userId of [gone, stays]) {
        await store().putUsers([{ id: userId, createdAt: 1 }], soon());
        await store().setEdges([{ userId, kind: 'follow', target: gone, createdAt: 1 }], true, soon());
        const event = { id: 'e', userId, postId: 'p', type: 'like' as const, at: 1 };
        await store().appendEvents([event], soon());
        await store().append([record(unique('request'), { userId })], soon());
      }
      expect(await store().eraseUser(gone, soon())).toBe(true);
      expect(await store().eraseUser(gone, soon())).toBe(false);
      expect(await store().getUser(gone, soon())).toBeNull();
      expect(await store().recentEvents(gone, 10, soon())).toEqual([]);
      expect((await collect(store().scan(100))).map((each) => each.userId)).not.toContain(gone);
      expect((await store().getUser(stays, soon()))?.edges).toHaveLength(1);
      expect(await store().recentEvents(stays, 10, soon())).toHaveLength(1);
      expect((await collect(store().scan(100))).map((each) => each.userId)).toContain(stays);
    });

    it('does not let a late serving-log record of before the erasure back in', async () => {
      const userId = unique('user');
      await store().putUsers([{ id: userId, createdAt: 1 }], soon());
      const late = record(unique('request'), { userId, at: Date.now() - 1000 });
      await store().eraseUser(userId, soon());
      await store().append([late], soon());
      const kept = (await collect(store().scan(100))).map((each) => each.requestId);
      expect(kept).not.toContain(late.requestId);
    });

    it('scans every user with edges once, by id, whatever the batch size', async () => {
      const prefix = unique('scan');
      const ids = Array.from({ length: 7 }, (_, i) => `${prefix}-${i}`);
      // 0–4 have profiles, 3–6 have edges; 5 and 6 are known by edges alone.
      await store().putUsers(
        ids.slice(0, 5).map((id) => ({ id, createdAt: 1 })),
        soon(),
      );
      const edges = ids
        .slice(3)
        .map((userId): Edge => ({ userId, kind: 'follow', target: 'x', createdAt: 7 }));
      await store().setEdges(edges, true, soon());
      for (const batchSize of [1, 3, 1000]) {
        const all = await collect(store().scanUsers(batchSize));
        const found = all.filter(({ user }) => user.id.startsWith(prefix));
        expect(found).toEqual(
          ids.map((id, i) => ({
            user: { id, createdAt: i < 5 ? 1 : UNDATED },
            edges: edges.filter((edge) => edge.userId === id),
          })),
        );
      }
    });

    it('refuses bad profiles and edges by field', async () => {
      const bad = (field: string) => ({ code: 'invalid_input', fields: [{ field }] });
      const user = { id: 'u', createdAt: 1 };
      await expect(store().getUser('a\0b', soon())).rejects.toMatchObject(bad('id'));
      await expect(store().putUsers([{ ...user, id: '' }], soon())).rejects.toMatchObject(bad('users[0].id'));
      await expect(store().putUsers([{ ...user, topics: ['\ud800'] }], soon())).rejects.toMatchObject(
        bad('users[0].topics[0]'),
      );
      const edge = { userId: 'u', kind: 'follow' as const, target: 'x', createdAt: 1 };
      await expect(
        store().setEdges([{ ...edge, kind: 'like' as 'follow' }], true, soon()),
      ).rejects.toMatchObject(bad('edges[0].kind'));
      await expect(store().setEdges([{ ...edge, target: '' }], false, soon())).rejects.toMatchObject(
        bad('edges[0].target'),
      );
    });
  });
}
