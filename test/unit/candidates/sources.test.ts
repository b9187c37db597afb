import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ageWindow, firstRowSince } from '../../../src/candidates/age-window.ts';
import { FollowingSource } from '../../../src/candidates/following-source.ts';
import { FreshSource } from '../../../src/candidates/fresh-source.ts';
import type { PostTable } from '../../../src/candidates/index/post-table.ts';
import { ItemGraph } from '../../../src/candidates/item-graph.ts';
import { NearestSource } from '../../../src/candidates/nearest-source.ts';
import { parseRetrievalConfig } from '../../../src/candidates/retrieval-config.ts';
import { SimilarSource } from '../../../src/candidates/similar-source.ts';
import { newHits } from '../../../src/candidates/source.ts';
import { TrendingBoard } from '../../../src/candidates/trending-board.ts';
import { TrendingSource } from '../../../src/candidates/trending-source.ts';
import type { Hits } from '../../../src/contracts.ts';
import { hash32, packHashes } from '../../../src/hashing.ts';
import { FIELD, RECORD_WORDS } from '../../../src/post-record.ts';
import { ENGAGEMENT_CODES, languageCode } from '../../../src/vocabulary.ts';
import { buildTable, feedQuery, HOUR, NOW, openIndex, randomUnit, type TestPost } from './test-world.ts';

const config = parseRetrievalConfig();
const window = (table: PostTable) => ageWindow(table, NOW, 720);
const rowsOf = (hits: Hits) => [...hits.rows.subarray(0, hits.size)];
const idsOf = (table: PostTable, hits: Hits) => rowsOf(hits).map((row) => table.keyOf(row));

describe('parseRetrievalConfig', () => {
  it('names the bad key', () => {
    expect(() => parseRetrievalConfig({ quotas: { nearest: -1 } })).toThrow(/^retrieval\.quotas\.nearest: /);
    expect(() => parseRetrievalConfig({ widen: { factr: 2 } })).toThrow(/^retrieval\.widen: .*factr/);
  });
});

describe('ageWindow', () => {
  it('starts at the first base row that is young enough, live rows aside', () => {
    const table = buildTable(
      [{ ageHours: 30 }, { ageHours: 20 }, { ageHours: 20 }, { ageHours: 10 }, { ageHours: 90 }],
      1,
    );
    expect(firstRowSince(table, NOW - 20 * HOUR)).toBe(1);
    expect(firstRowSince(table, NOW - 19 * HOUR)).toBe(3);
    expect(firstRowSince(table, NOW)).toBe(4);
    expect(ageWindow(table, NOW, null)).toMatchObject({ firstRow: 0, oldestMs: Number.NEGATIVE_INFINITY });
  });
});

describe('NearestSource', () => {
  const posts = Array.from({ length: 200 }, (_, i) => ({ ageHours: 400 - i }));

  it.each([
    [720, 0],
    [300, 100],
    [250, 150],
  ])('finds the nearest posts of the last %i hours', async (hours, firstRow) => {
    const table = buildTable(posts);
    const query = feedQuery();
    const hits = newHits(0);
    new NearestSource(await openIndex(table), config.nearest).retrieve(
      query,
      table,
      ageWindow(table, NOW, hours),
      10,
      hits,
    );
    const similarity = (row: number) =>
      query.user.embedding.reduce((sum, x, d) => sum + x * table.vectors[row * 64 + d], 0);
    const expected = posts
      .map((_, row) => row)
      .filter((row) => row >= firstRow)
      .sort((a, b) => similarity(b) - similarity(a));
    expect(
      rowsOf(hits)
        .filter((row) => row >= firstRow)
        .slice(0, 10),
    ).toEqual(expected.slice(0, 10));
  });
});

describe('FollowingSource', () => {
  it('returns the newest posts of all followed authors, newest first, for any history', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            authorId: fc.constantFrom('a', 'b', 'c', 'd'),
            ageHours: fc.integer({ min: 0, max: 1000 }),
            deleted: fc.boolean(),
          }),
          { maxLength: 50 },
        ),
        fc.nat(20),
        (posts, quota) => {
          const sorted = [...posts].sort((p, q) => q.ageHours - p.ageHours);
          const table = buildTable(sorted);
          const hits = newHits(0);
          const query = feedQuery({}, { follows: packHashes(['a', 'b', 'nobody']) });
          new FollowingSource({ maxAuthors: 10, perAuthor: 50 }).retrieve(
            query,
            table,
            window(table),
            quota,
            hits,
          );
          const expected = [...sorted.keys()]
            .filter(
              (row) =>
                'ab'.includes(sorted[row].authorId) && sorted[row].ageHours <= 720 && !sorted[row].deleted,
            )
            .sort((a, b) => sorted[a].ageHours - sorted[b].ageHours || b - a);
          expect(rowsOf(hits)).toEqual(expected.slice(0, quota));
        },
      ),
    );
  });

  it('leaves out a late arrival that is too old and looks at most perAuthor posts back', () => {
    const table = buildTable(
      [
        { authorId: 'a', ageHours: 9 },
        { authorId: 'a', ageHours: 5 },
        { id: 'late', authorId: 'a', ageHours: 3000 },
      ],
      1,
    );
    const hits = newHits(0);
    const query = feedQuery({}, { follows: packHashes(['a']) });
    new FollowingSource({ maxAuthors: 10, perAuthor: 3 }).retrieve(query, table, window(table), 5, hits);
    expect(rowsOf(hits)).toEqual([1, 0]);
    new FollowingSource({ maxAuthors: 10, perAuthor: 1 }).retrieve(query, table, window(table), 5, hits);
    expect(rowsOf(hits)).toEqual([1]);
  });

  it('samples by the seed when there are more follows than it looks at', () => {
    const table = buildTable(Array.from({ length: 40 }, (_, i) => ({ authorId: `a${i}`, ageHours: 50 - i })));
    const follows = packHashes(Array.from({ length: 40 }, (_, i) => `a${i}`));
    const source = new FollowingSource({ maxAuthors: 10, perAuthor: 2 });
    const found = new Set<number>();
    for (let seed = 0; seed < 40; seed++) {
      const hits = newHits(0);
      source.retrieve(feedQuery({ seed }, { follows }), table, window(table), 40, hits);
      expect(hits.size).toBe(10);
      for (const row of rowsOf(hits)) found.add(row);
    }
    expect(found.size).toBe(40);
  });
});

describe('FreshSource', () => {
  it('takes new posts with few impressions, near and recent ones first, from both tiers', () => {
    const near = randomUnit(7777);
    const table = buildTable(
      [
        { id: 'stale', ageHours: 100 },
        { id: 'near', ageHours: 40, vector: near },
        { id: 'famous', ageHours: 1, impressions: 5000 },
        { id: 'deleted', ageHours: 1, deleted: true },
        { id: 'new', ageHours: 0.1 },
        { id: 'future', ageHours: -5 },
        { id: 'late', ageHours: 500 },
      ],
      3,
    );
    const hits = newHits(0);
    new FreshSource(config.fresh).retrieve(feedQuery(), table, window(table), 5, hits);
    expect(idsOf(table, hits)).toEqual(['near', 'new']);
  });
});

describe('SimilarSource', () => {
  it('takes the neighbours of the last liked posts in turn, never those posts themselves', async () => {
    const [a, b] = [randomUnit(1), randomUnit(2)];
    const close = (to: Float32Array, by: number) => to.map((x, i) => x + (i === 0 ? by : 0));
    const table = buildTable([
      { id: 'oldest' },
      { id: 'likedA', vector: a },
      { id: 'a1', vector: close(a, 0.1) },
      { id: 'a2', vector: close(a, 0.2) },
      { id: 'likedB', vector: b },
      { id: 'b1', vector: close(b, 0.1) },
      { id: 'hidden', vector: randomUnit(3) },
    ]);
    const { like, share, negative } = ENGAGEMENT_CODES;
    const query = feedQuery(
      {},
      {
        historyKeys: packHashes(['likedA', 'hidden', 'gone', 'likedB', 'likedA']),
        historyTypes: Uint8Array.of(like, negative, like, share, share),
      },
    );
    const hits = newHits(0);
    new SimilarSource(await openIndex(table), config.similar).retrieve(query, table, window(table), 3, hits);
    expect(idsOf(table, hits)).toEqual(['a1', 'b1', 'a2']);
  });

  describe('with an item graph', () => {
    const liked = randomUnit(1);
    const close = (by: number) => liked.map((x, i) => x + (i === 0 ? by : 0));
    // Rows 1 and 2 were engaged with by those who engaged with row 3, row 2 more exclusively; row 6 is live.
    const posts = [
      { id: 'stale', ageHours: 900 },
      { id: 'shared', ageHours: 5, vector: randomUnit(2) },
      { id: 'niche', ageHours: 4, vector: randomUnit(3) },
      { id: 'liked', ageHours: 3, vector: liked },
      { id: 'near', ageHours: 2, vector: close(0.1) },
      { id: 'nearer', ageHours: 1, vector: close(0.05) },
      { id: 'live', ageHours: 0, vector: close(0.01) },
    ];
    const table = buildTable(posts, 1);
    const rows = [
      [0, 3],
      [1, 3],
      [1, 3],
      [1, 4],
      [2, 3],
      [2, 3],
    ];
    const graph = ItemGraph.build(
      {
        userCount: rows.length,
        itemCount: 6,
        start: Uint32Array.from({ length: rows.length + 1 }, (_, i) => 2 * i),
        items: Uint32Array.from(rows.flat()),
      },
      { neighbours: 10, user: 1, source: 0.5, target: 0.5, power: 1 },
    );
    const similarTo = async (post: string, quota: number, coEngaged: number) => {
      const types = Uint8Array.of(ENGAGEMENT_CODES.like);
      const query = feedQuery({}, { historyKeys: packHashes([post]), historyTypes: types });
      const hits = newHits(0);
      const settings = { ...config.similar, coEngaged };
      const source = new SimilarSource(await openIndex(table), settings, graph);
      source.retrieve(query, table, window(table), quota, hits);
      return idsOf(table, hits);
    };

    it('puts its neighbours before the nearest ones, up to their share, none from outside the window', async () => {
      expect(await similarTo('liked', 4, 1)).toEqual(['niche', 'shared', 'live', 'nearer']);
      expect(await similarTo('liked', 2, 0.5)).toEqual(['niche', 'live']);
    });

    it('takes the nearest alone where the share is 0 and for a post without edges or newer than the graph', async () => {
      expect(await similarTo('liked', 2, 0)).toEqual(['live', 'nearer']);
      expect(await similarTo('nearer', 2, 1)).toEqual(['live', 'near']);
      expect(await similarTo('live', 2, 1)).toEqual(['liked', 'nearer']);
    });
  });
});

describe('TrendingBoard', () => {
  const board = (overrides: object = {}) =>
    new TrendingBoard(parseRetrievalConfig({ trending: overrides }).trending);
  const listed = (table: PostTable, from: TrendingBoard, language: number | null = null) => {
    const list = from.list(language);
    return list ? idsOf(table, list.hits) : [];
  };

  it('orders by engagement decayed to now, all-time totals only where nothing happened lately', () => {
    const table = buildTable([
      { id: 'classic', ageHours: 90, clicks: 500 },
      { id: 'yesterday', ageHours: 30, slow: 40 },
      { id: 'quiet', ageHours: 5 },
      { id: 'hot', ageHours: 3, fast: 30, slow: 40 },
      { id: 'deleted', fast: 1000, deleted: true },
    ]);
    const yesterday = table.rowOfId('yesterday') * RECORD_WORDS;
    table.records.f32[yesterday + FIELD.fastEngagement] = 35;
    table.records.u32[yesterday + FIELD.countersAtSec] = NOW / 1000 - 86_400;
    const trending = board();
    trending.refresh(table, NOW);
    expect(listed(table, trending)).toEqual(['hot', 'yesterday', 'classic']);
  });

  it('reaches the same lists in slices as in one pass, and only shows a pass that is complete', () => {
    const table = buildTable(
      Array.from(
        { length: 5000 },
        (_, i): TestPost => ({ ageHours: 100, fast: (i * 7919) % 1009, language: i % 3 ? 'en' : 'de' }),
      ),
    );
    const sliced = board({ refreshMs: 1000, boardSize: 20, perLanguage: 10 });
    sliced.refresh(table, NOW);
    const before = listed(table, sliced);
    table.records.f32[4999 * RECORD_WORDS + FIELD.fastEngagement] = 1e6;
    sliced.advance(table, NOW + 300);
    expect(listed(table, sliced)).toEqual(before);
    for (let ms = 600; ms <= 1500; ms += 300) sliced.advance(table, NOW + ms);
    expect(listed(table, sliced)[0]).toBe('p4999');
    const whole = board({ refreshMs: 1000, boardSize: 20, perLanguage: 10 });
    whole.refresh(table, NOW + 300);
    for (const language of [null, languageCode('en'), languageCode('de')]) {
      expect(listed(table, sliced, language)).toEqual(listed(table, whole, language));
    }
  });

  it('starts over with another generation and lists old posts when the window has none', () => {
    const trending = board();
    const first = buildTable([{ id: 'a', fast: 1 }], 0, 'one');
    trending.advance(first, NOW);
    expect(listed(first, trending)).toEqual(['a']);
    const second = buildTable([{ id: 'b', clicks: 3, ageHours: 90_000 }], 0, 'two');
    trending.advance(second, NOW);
    expect(listed(second, trending)).toEqual(['b']);
  });

  it("is read in the user's languages with their topics first", () => {
    const table = buildTable([
      { id: 'en', language: 'en', fast: 9 },
      { id: 'de', language: 'de', fast: 8 },
      { id: 'unknown', fast: 7 },
      { id: 'topic', language: 'de', topic: 'chess', fast: 5 },
    ]);
    const source = new TrendingSource(board(), 2);
    const hits = newHits(0);
    const languages = Uint8Array.of(languageCode('de'));
    const interestTopics = Uint32Array.of(hash32('chess'));
    source.retrieve(feedQuery({}, { languages, interestTopics }), table, window(table), 3, hits);
    expect(idsOf(table, hits)).toEqual(['topic', 'de', 'unknown']);
    source.retrieve(feedQuery(), table, window(table), 2, hits);
    expect(idsOf(table, hits)).toEqual(['en', 'de']);
  });
});
