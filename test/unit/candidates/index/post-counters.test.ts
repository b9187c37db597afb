import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newPostOf, PostTable } from '../../../../src/candidates/index/post-table.ts';
import { hash64 } from '../../../../src/hashing.ts';
import {
  AUTHOR_FIELD,
  AUTHOR_WORDS,
  FAST_HALF_LIFE_HOURS,
  FIELD,
  RECORD_WORDS,
  SLOW_HALF_LIFE_HOURS,
} from '../../../../src/post-record.ts';
import { EVENT_TYPES, type EventType } from '../../../../src/vocabulary.ts';
import { postOf, START_MS, tableOf, vectorsOf } from './seeded-posts.ts';

const HOUR = 3_600_000;
const vectors = vectorsOf(60);
const NOW = START_MS + 1000 * HOUR;

function counter(table: PostTable, row: number, field: number): number {
  return table.records.f32[row * RECORD_WORDS + field];
}

function author(table: PostTable, row: number, field: number): number {
  return table.authors[table.records.u32[row * RECORD_WORDS + FIELD.authorSlot] * AUTHOR_WORDS + field];
}

/** A decayed counter as of `atMs`. */
function asOf(table: PostTable, row: number, field: number, halfLifeHours: number, atMs: number): number {
  const at = table.records.u32[row * RECORD_WORDS + FIELD.countersAtSec];
  return counter(table, row, field) * 2 ** (-(atMs / 1000 - at) / (halfLifeHours * 3600));
}

describe('engagement counters', () => {
  it('adds each event type to the totals of the post and of its author', () => {
    const table = tableOf(vectors);
    const add = (row: number, type: EventType, dwellMs = 0) =>
      table.addEngagement(row, type, dwellMs, START_MS + HOUR, NOW);
    for (const type of ['impression', 'impression', 'click', 'like', 'reply', 'share'] as const) add(3, type);
    for (const type of ['hide', 'not_interested', 'report'] as const) add(3, type);
    add(3, 'dwell', 12_000);
    add(3, 'dwell', 2000);
    add(53, 'click');
    expect(
      [
        FIELD.impressions,
        FIELD.clicks,
        FIELD.likes,
        FIELD.replies,
        FIELD.shares,
        FIELD.longDwells,
        FIELD.negatives,
        FIELD.dwellSeconds,
      ].map((field) => counter(table, 3, field)),
    ).toEqual([2, 1, 1, 1, 1, 1, 3, 14]);
    expect(author(table, 3, AUTHOR_FIELD.posts)).toBe(2);
    expect(author(table, 3, AUTHOR_FIELD.clicks)).toBe(2);
    expect(author(table, 3, AUTHOR_FIELD.impressions)).toBe(2);
    expect(author(table, 3, AUTHOR_FIELD.negatives)).toBe(3);
    expect(author(table, 4, AUTHOR_FIELD.clicks)).toBe(0);
  });

  it('halves the decayed counters after their half-lives', () => {
    const table = tableOf(vectors);
    table.addEngagement(0, 'share', 0, START_MS, NOW);
    const later = START_MS + 24 * HOUR;
    table.addEngagement(0, 'click', 0, later, NOW);
    expect(counter(table, 0, FIELD.slowEngagement)).toBeCloseTo(4 / 2 + 1, 5);
    expect(counter(table, 0, FIELD.fastEngagement)).toBeCloseTo(4 / 2 ** 12 + 1, 5);
    expect(author(table, 0, AUTHOR_FIELD.slowEngagement)).toBeCloseTo(3, 5);
  });

  it('takes a like back on unlike and never falls below zero', () => {
    const table = tableOf(vectors);
    table.addEngagement(0, 'like', 0, START_MS + HOUR, NOW);
    table.addEngagement(0, 'unlike', 0, START_MS + HOUR, NOW);
    table.addEngagement(0, 'unlike', 0, START_MS + HOUR, NOW);
    expect(counter(table, 0, FIELD.likes)).toBe(0);
    expect(counter(table, 0, FIELD.fastEngagement)).toBe(0);
  });

  it('counts an event from the future as of now, so that a wrong clock erases nothing', () => {
    const table = tableOf(vectors);
    table.addEngagement(0, 'like', 0, NOW, NOW);
    table.addEngagement(0, 'click', 0, NOW + 10 * 365 * 24 * HOUR, NOW);
    expect(counter(table, 0, FIELD.fastEngagement)).toBeCloseTo(3, 5);
    expect(table.records.u32[FIELD.countersAtSec]).toBe(NOW / 1000);
  });

  it('comes to the same counters in any order of arrival', () => {
    const event = fc.record({
      type: fc.constantFrom(...EVENT_TYPES.filter((type) => type !== 'unlike')),
      hours: fc.integer({ min: 0, max: 100 }),
      dwellMs: fc.constantFrom(0, 500, 20_000),
    });
    const orders = fc.array(event, { minLength: 2, maxLength: 12 }).chain((events) =>
      fc.record({
        events: fc.constant(events),
        shuffled: fc.shuffledSubarray(events, { minLength: events.length }),
      }),
    );
    const tables = [tableOf(vectors.slice(0, 1)), tableOf(vectors.slice(0, 1))];
    fc.assert(
      fc.property(orders, ({ events, shuffled }) => {
        const sums = [events, shuffled].map((list, i) => {
          const table = tables[i];
          table.records.f32.fill(0, FIELD.impressions, FIELD.countersAtSec);
          table.records.u32[FIELD.countersAtSec] = START_MS / 1000;
          for (const { type, hours, dwellMs } of list) {
            table.addEngagement(0, type, dwellMs, START_MS + hours * HOUR, NOW);
          }
          const end = START_MS + 100 * HOUR;
          return [
            asOf(table, 0, FIELD.fastEngagement, FAST_HALF_LIFE_HOURS, end),
            asOf(table, 0, FIELD.slowEngagement, SLOW_HALF_LIFE_HOURS, end),
            asOf(table, 0, FIELD.slowImpressions, SLOW_HALF_LIFE_HOURS, end),
            counter(table, 0, FIELD.dwellSeconds),
            counter(table, 0, FIELD.longDwells),
          ];
        });
        sums[0].forEach((value, i) => {
          expect(sums[1][i]).toBeCloseTo(value, 4);
        });
      }),
      { numRuns: 100 },
    );
  });

  it('counts followers of authors that have posts', () => {
    const table = tableOf(vectors);
    table.addFollowers('author-4', 3);
    table.addFollowers('author-4', -1);
    expect(author(table, 4, AUTHOR_FIELD.followers)).toBe(2);
    table.addFollowers('author-4', -9);
    expect(author(table, 4, AUTHOR_FIELD.followers)).toBe(0);
  });

  it('keeps the followers of an author whose first post is still to come', () => {
    const table = PostTable.create({ generation: 'g', baseRows: 0, capacity: 8, keyBytes: 1000 });
    table.addFollowers('newcomer', 2);
    table.addFollowers('newcomer', -1);
    const key = hash64('newcomer');
    expect(table.newestByAuthor(key.lo, key.hi)).toBe(-1);
    const row = table.append(newPostOf({ ...postOf(0), authorId: 'newcomer' }), vectors[0]);
    expect(table.newestByAuthor(key.lo, key.hi)).toBe(row);
    expect(author(table, row, AUTHOR_FIELD.followers)).toBe(1);
    expect(author(table, row, AUTHOR_FIELD.posts)).toBe(1);
  });

  it('leaves an author for every row to come, however many without posts are followed', () => {
    const table = PostTable.create({ generation: 'g', baseRows: 0, capacity: 8, keyBytes: 1000 });
    for (let i = 0; i < 100; i++) table.addFollowers(`reader-${i}`, 1);
    expect(table.authorTable.size).toBe(4);
    for (let i = 0; i < 8; i++) {
      const row = table.append(newPostOf(postOf(i)), vectors[i]);
      expect(author(table, row, AUTHOR_FIELD.posts)).toBe(1);
    }
    expect(table.authorTable.size).toBe(12);
  });
});
