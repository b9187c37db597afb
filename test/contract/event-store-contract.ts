// What every EventStore must do. Run over each adapter by pglite.test.ts and postgres.test.ts.
import { describe, expect, it } from 'vitest';
import type { EngagementEvent, EventStore } from '../../src/contracts.ts';
import { collect, soon, unique } from '../setup/test-servers.ts';

function event(userId: string, id: string, change: Partial<EngagementEvent> = {}): EngagementEvent {
  return { id, userId, postId: `post of ${id}`, type: 'click', at: 1_000, ...change };
}

export function eventStoreContract(store: () => EventStore): void {
  describe('events', () => {
    it('stores an event once per (user, id), across calls and within one', async () => {
      const [a, b] = [unique('a'), unique('b')];
      expect(await store().appendEvents([event(a, '1'), event(b, '1'), event(a, '1')], soon())).toEqual([
        true,
        true,
        false,
      ]);
      const second = [event(a, '1', { type: 'like' }), event(a, '2')];
      expect(await store().appendEvents(second, soon())).toEqual([false, true]);
      const kept = await store().recentEvents(a, 10, soon());
      expect(kept.map((each) => [each.id, each.type])).toEqual(
        expect.arrayContaining([
          ['1', 'click'],
          ['2', 'click'],
        ]),
      );
      expect(kept).toHaveLength(2);
    });

    it('stores each of several copies sent at the same time once', async () => {
      const userId = unique('user');
      const batch = Array.from({ length: 50 }, (_, i) => event(userId, `e${i}`));
      const answers = await Promise.all([
        store().appendEvents(batch, soon()),
        store().appendEvents(batch.toReversed(), soon()),
        store().appendEvents(batch, soon()),
      ]);
      expect(answers.flat().filter(Boolean)).toHaveLength(50);
      expect(await store().recentEvents(userId, 100, soon())).toHaveLength(50);
    });

    it('gives back every field as stored', async () => {
      const userId = unique('user/😀');
      const full = event(userId, 'id "x"', { type: 'dwell', dwellMs: 1234.5, token: 'token', position: 0 });
      await store().appendEvents([full], soon());
      expect(await store().recentEvents(userId, 1, soon())).toEqual([full]);
    });

    it('answers the newest engagements first, without impressions, up to the limit', async () => {
      const userId = unique('user');
      const events = Array.from({ length: 10 }, (_, i) =>
        event(userId, `e${i}`, { at: 1_000 + i, type: i % 2 === 0 ? 'impression' : 'like' }),
      );
      await store().appendEvents(events, soon());
      expect((await store().recentEvents(userId, 3, soon())).map((each) => each.at)).toEqual([
        1009, 1007, 1005,
      ]);
      expect(await store().recentEvents(unique('nobody'), 3, soon())).toEqual([]);
    });

    it('answers one of each post and type, the newest, however often a reader came back to a post', async () => {
      const userId = unique('user');
      const old = [event(userId, 'first', { at: 1 }), event(userId, 'second', { at: 2 })];
      const again = Array.from({ length: 300 }, (_, i) =>
        event(userId, `a${i}`, { postId: 'one', at: 10 + i }),
      );
      const liked = event(userId, 'liked', { postId: 'one', type: 'like', at: 50 });
      await store().appendEvents([...old, ...again, liked], soon());
      const recent = await store().recentEvents(userId, 100, soon());
      expect(recent.map(({ id }) => id)).toEqual(['a299', 'liked', 'second', 'first']);
    });

    it('scans every event by (at, id), whatever the batch size', async () => {
      const [a, b] = [unique('a'), unique('b')];
      const events = Array.from({ length: 21 }, (_, i) =>
        event(i % 2 ? a : b, `e${String(i).padStart(2, '0')}`, { at: 5_000 + Math.floor(i / 7) }),
      );
      await store().appendEvents([...events.toReversed(), event(a, 'e00', { at: 5_000 })], soon());
      for (const batchSize of [1, 4, 1_000]) {
        const found = (await collect(store().scanEvents(batchSize))).filter((each) =>
          [a, b].includes(each.userId),
        );
        expect(found).toHaveLength(22);
        const keys = found.map((each) => `${each.at} ${each.id}`);
        expect(keys).toEqual(keys.toSorted());
      }
    });

    it('stores 12,000 events in one call', async () => {
      const userId = unique('user');
      const events = Array.from({ length: 12_000 }, (_, i) => event(userId, `e${i}`));
      expect((await store().appendEvents(events, soon())).every(Boolean)).toBe(true);
    });

    it('refuses bad events by field, and stores nothing of the batch', async () => {
      const userId = unique('user');
      const bad: [Partial<EngagementEvent>, string][] = [
        [{ type: 'love' as 'like' }, 'events[1].type'],
        [{ at: Number.NaN }, 'events[1].at'],
        [{ dwellMs: -1 }, 'events[1].dwellMs'],
        [{ dwellMs: Number.POSITIVE_INFINITY }, 'events[1].dwellMs'],
        [{ position: 1.5 }, 'events[1].position'],
        [{ position: 1e12 }, 'events[1].position'],
        [{ postId: '' }, 'events[1].postId'],
        [{ token: '\0' }, 'events[1].token'],
      ];
      for (const [change, field] of bad) {
        const batch = [event(userId, 'good'), event(userId, 'bad', change)];
        await expect(store().appendEvents(batch, soon())).rejects.toMatchObject({
          code: 'invalid_input',
          fields: [{ field }],
        });
      }
      expect(await store().recentEvents(userId, 10, soon())).toEqual([]);
    });
  });
}
