import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newPostOf, PostTable } from '../../../src/candidates/index/post-table.ts';
import type { EngagementEvent } from '../../../src/contracts.ts';
import { FeatureEncoder } from '../../../src/features/feature-encoder.ts';
import { compilePlan } from '../../../src/features/feature-schema.ts';
import { historyFrom } from '../../../src/hydrate.ts';
import { packUser } from '../../../src/pack-user.ts';
import { engagementCode, HEADS } from '../../../src/vocabulary.ts';
import {
  EDGES,
  HOUR,
  makeEvents,
  PLAN,
  POSTS,
  START,
  trainingSet,
  USERS,
  userKey,
  vectorOf,
} from './replay-world.ts';

/** The row that a request at the time of an impression would have encoded, from the world as it then was. */
function servedRow(events: EngagementEvent[], at: number): Float32Array {
  const encoder = new FeatureEncoder(PLAN);
  const expected = new Float32Array(PLAN.width);
  const shown = events.find((event) => event.type === 'impression' && event.at === at)!;
  const before = events.filter((event) => event.at < shown.at);
  const table = PostTable.create({ generation: 't', baseRows: 0, capacity: 64, keyBytes: 4096 });
  for (const post of POSTS) {
    if (post.createdAt <= shown.at) table.append(newPostOf(post), vectorOf(post.id));
  }
  for (const edge of EDGES) if (edge.createdAt <= shown.at) table.addFollowers(edge.target, 1);
  for (const { postId, type, dwellMs, at: eventAt } of before) {
    table.addEngagement(table.rowOfId(postId), type, dwellMs ?? 0, eventAt, eventAt);
  }
  const own = before.filter(({ userId }) => userId === shown.userId).reverse();
  const postsOf = (list: EngagementEvent[]) =>
    list.map(({ postId }) => POSTS.find(({ id }) => id === postId)!);
  const history = historyFrom(own, postsOf(own));
  // The vector is from the start of the hour.
  const hour = Math.floor(shown.at / HOUR) * HOUR;
  const earlier = own.filter((event) => event.at < hour);
  const known = historyFrom(earlier, postsOf(earlier));
  const positive = known.some(({ type }) => type !== 'hide');
  const codes = { click: 1, like: 2, dwell: 5, hide: 6 } as Record<string, number>;
  const embedding = positive
    ? vectorOf(userKey(known.slice(0, 30).map(({ type }) => codes[type])))
    : vectorOf('cold');
  const user = USERS.find(({ id }) => id === shown.userId)!;
  const edges = EDGES.filter(({ userId, createdAt }) => userId === user.id && createdAt <= shown.at);
  const state = { version: 0, embedding, history, seen: new Uint32Array(0), user, edges };
  const packed = packUser(user.id, state, embedding, positive ? 'stored' : 'cold');
  encoder.begin(packed, table, { nowMs: shown.at, position: shown.position });
  encoder.encode(table, Uint32Array.of(table.rowOfId(shown.postId)), 0, 1, expected);
  return expected;
}

describe('training set', () => {
  it('holds what serving would have encoded at the time of the impression, bit for bit', {
    timeout: 60_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 2 ** 31 - 1 }), async (seed) => {
        const events = makeEvents(seed);
        const { features, at, meta } = await trainingSet(events);
        expect(meta.rows).toBeGreaterThan(50);
        for (let row = 0; row < meta.rows; row += 3) {
          const encoded = features.slice(row * PLAN.width, (row + 1) * PLAN.width);
          expect(encoded).toEqual(servedRow(events, at[row]));
        }
      }),
      { numRuns: 8, seed: 1 },
    );
  });

  it('does not change a row when the future changes', async () => {
    const events = makeEvents();
    const cut = START + 14 * HOUR;
    const { features, at } = await trainingSet(events);
    const changed = events.map((event) =>
      event.at >= cut && event.type === 'click' ? { ...event, type: 'hide' as const } : event,
    );
    const after = await trainingSet(changed);
    const rows = at.filter((time) => time < cut).length;
    expect(rows).toBeGreaterThan(20);
    expect(after.features.slice(0, rows * PLAN.width)).toEqual(features.slice(0, rows * PLAN.width));
    expect(after.features).not.toEqual(features);
  });

  it('leaves out what the towers have learned from, but counts it', async () => {
    const events = makeEvents();
    const all = await trainingSet(events);
    const fromMs = START + 16 * HOUR;
    const late = await trainingSet(events, { fromMs });
    const first = all.at.findIndex((time) => time >= fromMs);
    expect(late.at[0]).toBe(all.at[first]);
    expect(late.meta.rows).toBe(all.meta.rows - first);
    // All but the vectors are as in the whole set; those are made again at the first impression that is a row.
    const { columns } = compilePlan(['post_rates@1', 'post_totals@1', 'author_affinity@1', 'user_mix@1']);
    for (let row = 0; row < late.meta.rows; row++) {
      for (const column of columns) {
        expect(late.features[row * PLAN.width + column]).toBe(
          all.features[(row + first) * PLAN.width + column],
        );
      }
    }
  });

  it('labels an impression by what the same user did within a day', async () => {
    const at = START + 10 * HOUR;
    const event = (i: number, type: EngagementEvent['type'], offset: number, over = {}): EngagementEvent => ({
      id: `${i}`,
      userId: 'ann',
      postId: 'p1',
      type,
      at: at + offset,
      ...over,
    });
    const { meta, label } = await trainingSet([
      event(0, 'impression', 0),
      event(1, 'impression', 1000, { postId: 'p2' }),
      event(2, 'like', 2000),
      event(3, 'dwell', 3000, { dwellMs: 15_000, postId: 'p2' }),
      event(4, 'unlike', 4000),
      event(5, 'impression', 5000, { postId: 'p3' }),
      event(6, 'impression', 6000, { userId: 'bob' }),
      event(7, 'not_interested', 7000, { userId: 'bob' }),
      event(8, 'impression', 8000),
      event(9, 'share', 25 * HOUR, { postId: 'p3' }),
      event(10, 'impression', 60 * HOUR, { postId: 'p5' }),
    ]);
    // Seen again (8) makes no row, the last hour (10) neither.
    expect(meta.rows).toBe(4);
    const heads = (row: number) => HEADS.filter((head) => label(row, head) === 1);
    expect(heads(0)).toEqual(['click']);
    expect(heads(1)).toEqual(['click', 'dwell']);
    expect(heads(2)).toEqual([]);
    expect(heads(3)).toEqual(['negative']);
    expect(meta.positives).toEqual({ click: 2, like: 0, reply: 0, share: 0, dwell: 1, negative: 1 });
  });

  it('encodes a page with the user as its first post was shown', async () => {
    const at = START + 10 * HOUR;
    const show = (post: number, position: number, offset: number): EngagementEvent => ({
      id: `i${post}`,
      userId: 'ann',
      postId: `p${post}`,
      type: 'impression',
      at: at + offset,
      position,
    });
    const { features } = await trainingSet([
      show(1, 0, 0),
      { id: 'c', userId: 'ann', postId: 'p1', type: 'click', at: at + 1000 },
      show(2, 1, 2000),
      show(3, 0, 4000),
      show(4, 0, 90 * HOUR),
    ]);
    const size = (row: number) => features[row * PLAN.width];
    expect([size(0), size(1)]).toEqual([0, 0]);
    expect(size(2)).toBeGreaterThan(0);
  });

  it('keeps the history of a page as the page saw it, newest first', async () => {
    const events = makeEvents();
    const { dir: folder, meta, at, labelled } = await trainingSet(events);
    const pages = new Uint32Array((await readFile(join(folder, 'pages.u32'))).buffer.slice(0));
    expect(labelled).toBe(meta.rows);
    const history = new Int32Array((await readFile(join(folder, 'history.i32'))).buffer.slice(0));
    const types = await readFile(join(folder, 'history_types.u8'));
    const hours = new Float32Array((await readFile(join(folder, 'history_hours.f32'))).buffer.slice(0));
    const row = meta.rows - 1;
    const shown = events.find((event) => event.type === 'impression' && event.at === at[row])!;
    const own = events.filter((event) => event.userId === shown.userId && event.at < shown.at).reverse();
    const known = historyFrom(
      own,
      own.map(({ postId }) => POSTS.find(({ id }) => id === postId)!),
    );
    const from = pages[row] * meta.pageHistory;
    expect(known.length).toBeGreaterThan(5);
    known.slice(0, meta.pageHistory).forEach((entry, i) => {
      expect(history[from + i]).toBe(Number(entry.postId.slice(1)));
      expect(types[from + i]).toBe(engagementCode(entry.type, entry.dwellMs));
      expect(hours[from + i]).toBeCloseTo((shown.at - entry.at) / HOUR, 3);
    });
    const vectors = new Float32Array((await readFile(join(folder, 'vectors.f32'))).buffer.slice(0));
    expect(vectors.subarray(64, 128)).toEqual(vectorOf('p1'));
  });
});
