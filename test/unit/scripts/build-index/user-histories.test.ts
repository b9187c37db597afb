import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type PostNames, UserHistories } from '../../../../scripts/build-index/user-histories.ts';
import type { EngagementEvent, HistoryEntry } from '../../../../src/contracts.ts';
import { hash32 } from '../../../../src/hashing.ts';
import { historyFrom } from '../../../../src/hydrate.ts';
import { EVENT_TYPES, HISTORY_LIMIT, SEEN_LIMIT, SEEN_TTL_MS } from '../../../../src/vocabulary.ts';

const NOW = 1_750_000_000_000;
const names: PostNames = {
  postId: (row) => `p${row}`,
  authorId: (row) => `a${row % 3}`,
  topic: (row) => hash32(`t${row % 2}`),
};

function event(some: Partial<EngagementEvent> & { row: number }): EngagementEvent {
  const { row, ...rest } = some;
  return { id: '', userId: 'u', postId: `p${row}`, type: 'click', at: NOW, ...rest };
}

describe('UserHistories', () => {
  it('keeps what a user’s state is rebuilt to from the events one by one', () => {
    const some = fc.record({
      row: fc.integer({ min: 0, max: 20 }),
      type: fc.constantFrom(...EVENT_TYPES),
      gap: fc.integer({ min: 1, max: 1e6 }),
      dwellMs: fc.constantFrom(undefined, 100, 60_000),
    });
    fc.assert(
      fc.property(fc.array(some, { maxLength: 120 }), (list) => {
        const histories = new UserHistories(NOW);
        let at = NOW - 1e9;
        const events = list.map(({ row, type, gap, dwellMs }) => {
          at += gap;
          return event({ row, type, at, dwellMs });
        });
        for (const one of events) histories.add(one, Number(one.postId.slice(1)));
        const newestFirst = events.toReversed();
        const posts = newestFirst.map(({ postId: id }) => {
          const row = Number(id.slice(1));
          return { id, authorId: names.authorId(row), topic: `t${row % 2}`, createdAt: 0 };
        });
        const { entries, rows } = histories.history('u', names);
        expect(entries).toEqual(historyFrom(newestFirst, posts));
        expect(rows.map((row) => `p${row}`)).toEqual(entries.map(({ postId }) => postId));
      }),
      { numRuns: 100 },
    );
  });

  it('keeps the newest of each limit, and only seen posts that have not expired', () => {
    const histories = new UserHistories(NOW);
    histories.add(event({ row: 5000, type: 'impression', at: NOW - SEEN_TTL_MS - 1 }), 5000);
    for (let row = 0; row < 1500; row++) {
      histories.add(
        event({ row, type: row % 2 ? 'like' : 'impression', at: NOW - (1500 - row) * 600_000 }),
        row,
      );
    }
    const history = histories.history('u', names).entries;
    expect(history).toHaveLength(HISTORY_LIMIT);
    expect(history[0]).toEqual({
      postId: 'p1499',
      authorId: 'a2',
      topic: hash32('t1'),
      type: 'like',
      at: NOW - 600_000,
      dwellMs: 0,
    } satisfies HistoryEntry);
    const groups = histories.seen('u');
    const rows = groups.flatMap((group) => group.rows);
    expect(rows).toEqual(Array.from({ length: SEEN_LIMIT }, (_, i) => 500 + i));
    expect(groups.length).toBeGreaterThan(1);
    groups.forEach(({ atMs, rows: some }, i) => {
      expect(atMs).toBe(NOW - (1500 - some.at(-1)!) * 600_000);
      if (i > 0) expect(atMs).toBeGreaterThan(groups[i - 1].atMs);
    });
    expect(histories.history('nobody', names)).toEqual({ entries: [], rows: [] });
    expect(histories.seen('nobody')).toEqual([]);
  });
});
