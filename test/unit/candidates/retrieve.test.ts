import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PostTable } from '../../../src/candidates/index/post-table.ts';
import { parseRetrievalConfig } from '../../../src/candidates/retrieval-config.ts';
import { Retriever, standardSources } from '../../../src/candidates/retrieve.ts';
import { TrendingBoard } from '../../../src/candidates/trending-board.ts';
import type { VectorIndex } from '../../../src/contracts.ts';
import { packHashes } from '../../../src/hashing.ts';
import { ENGAGEMENT_CODES, languageCode, SOURCES } from '../../../src/vocabulary.ts';
import { buildTable, feedQuery, openIndex, packedUser, randomUnit, type TestPost } from './test-world.ts';

const config = parseRetrievalConfig();

async function retrieverFor(table: PostTable, overrides: object = {}, index?: VectorIndex | null) {
  const parsed = parseRetrievalConfig({ ...config, ...overrides });
  const used = index === undefined ? await openIndex(table) : index;
  return new Retriever(standardSources(used, new TrendingBoard(parsed.trending), parsed), parsed);
}

function ids(table: PostTable, rows: Iterable<number>): string[] {
  return [...rows].map((row) => table.keyOf(row)).sort();
}

describe('Retriever', () => {
  it('returns every eligible post of a small corpus once and names why the others were left out', async () => {
    const table = buildTable([
      { id: 'old', ageHours: 5000 },
      { id: 'fine' },
      { id: 'deleted', deleted: true },
      { id: 'seen' },
      { id: 'own', authorId: 'me' },
      { id: 'sensitive', sensitive: true },
      { id: 'french', language: 'fr' },
      { id: 'blocked', authorId: 'troll' },
      { id: 'future', ageHours: -2 },
    ]);
    const retriever = await retrieverFor(table);
    const query = feedQuery(
      { explain: 2 },
      {
        seen: packHashes(['seen']),
        languages: Uint8Array.of(languageCode('en')),
        blockedAuthors: packHashes(['troll']),
      },
    );
    const result = retriever.retrieve(query, table);
    expect(ids(table, result.candidates.rows)).toEqual(['fine', 'old']);
    expect(result.widened).toBeGreaterThan(0);
    const reasons = Object.fromEntries(result.removed.map(({ row, reason }) => [table.keyOf(row), reason]));
    expect(reasons).toMatchObject({
      seen: 'seen',
      own: 'own_post',
      sensitive: 'sensitive',
      french: 'language',
      blocked: 'blocked_author',
      future: 'from_future',
    });
    expect(result.kept + result.removed.length).toBe(result.retrieved);
  });

  it('keeps the age limit while enough young posts exist and drops it when they do not', async () => {
    const posts: TestPost[] = Array.from({ length: 200 }, (_, i) => ({
      ageHours: i < 100 ? 1000 - i : 200 - i,
    }));
    const table = buildTable(posts);
    const retriever = await retrieverFor(table);
    const young = retriever.retrieve(feedQuery({ candidates: 50 }), table);
    expect(young.widened).toBe(0);
    expect(Math.min(...young.candidates.rows)).toBeGreaterThanOrEqual(100);
    const seen = packHashes(Array.from({ length: 100 }, (_, i) => `p${100 + i}`));
    const all = retriever.retrieve(feedQuery({ candidates: 200 }, { seen }), table);
    expect(all.candidates.size).toBe(100);
    expect(Math.max(...all.candidates.rows)).toBeLessThan(100);
  });

  it('finds the one eligible post among many that are not, whatever its place', async () => {
    const table = buildTable(
      Array.from({ length: 600 }, (_, i) => ({ authorId: i === 5 ? 'friend' : 'troll', ageHours: 3000 - i })),
    );
    const retriever = await retrieverFor(table, { widen: { scanRows: 10 } });
    const query = feedQuery({ candidates: 20, slateSize: 10 }, { blockedAuthors: packHashes(['troll']) });
    const result = retriever.retrieve(query, table);
    expect(ids(table, result.candidates.rows)).toEqual(['p5']);
  });

  it('serves from the other sources and says so when the index is absent, and when a search fails', async () => {
    const table = buildTable(Array.from({ length: 50 }, (_, i) => ({ ageHours: 60 - i, fast: i })));
    const absent = await retrieverFor(table, {}, null);
    const without = absent.retrieve(feedQuery({ candidates: 30 }), table);
    expect(without.degraded).toEqual(['index_unavailable']);
    expect(without.candidates.size).toBe(30);
    const retriever = await retrieverFor(table);
    const embedding = new Float32Array(64).fill(Number.NaN);
    const failed = retriever.retrieve(feedQuery({ candidates: 30 }, { embedding }), table);
    expect(failed.degraded).toEqual(['nearest_failed']);
    expect(failed.failures[0].message).toMatch(/finite|number/);
    expect(failed.candidates.size).toBeGreaterThan(0);
    expect([...failed.candidates.similarity].every(Number.isFinite)).toBe(true);
  });

  it('answers an empty catalogue with no candidates', async () => {
    const table = buildTable([]);
    const retriever = await retrieverFor(table);
    expect(retriever.retrieve(feedQuery(), table).candidates.size).toBe(0);
  });

  it('shows a repeated text once, and not again after the user had it, unless nothing else is left', async () => {
    const copy: [number, number] = [0x12345678, 0x9abcdef0];
    const table = buildTable([
      { id: 'a', simhash: copy },
      { id: 'b', simhash: [copy[0] ^ 0b10000001, copy[1] ^ 1] },
      { id: 'other', simhash: [1, 2] },
    ]);
    const retriever = await retrieverFor(table);
    const first = retriever.retrieve(feedQuery({ explain: 2 }), table);
    expect(first.candidates.size).toBe(2);
    expect(first.removed.map(({ reason }) => reason)).toEqual(['near_duplicate']);
    const second = retriever.retrieve(feedQuery({}, { seen: packHashes(['a']) }), table);
    expect(ids(table, second.candidates.rows)).toEqual(['other']);
    const last = retriever.retrieve(feedQuery({}, { seen: packHashes(['a', 'other']) }), table);
    expect(ids(table, last.candidates.rows)).toEqual(['b']);
  });

  it('widens when near-duplicates eat the candidates', async () => {
    const table = buildTable(
      Array.from({ length: 400 }, (_, i) => ({
        ageHours: 500 - i,
        simhash: (i < 100 ? [i * 7919 + 1, (i * 104729) ^ 0x5bd1e995] : [77, 77]) as [number, number],
      })),
    );
    const retriever = await retrieverFor(table, { quotas: { nearest: 0, similar: 0, trending: 0 } });
    const result = retriever.retrieve(feedQuery({ candidates: 40, slateSize: 20 }), table);
    expect(result.kept).toBeGreaterThanOrEqual(20);
  });

  it('takes pinned posts in, but not past the filters', async () => {
    const table = buildTable(Array.from({ length: 500 }, (_, i) => ({ ageHours: 600 - i })));
    const retriever = await retrieverFor(table);
    const include = packHashes(['p3', 'p4', 'missing']);
    const query = feedQuery({ candidates: 10, slateSize: 5 }, { seen: packHashes(['p4']) });
    const rows = ids(table, retriever.retrieve(query, table, include).candidates.rows);
    expect(rows).toContain('p3');
    expect(rows).not.toContain('p4');
    expect(rows).toHaveLength(10);
  });

  it('reports each source with its rank and the exact similarity', async () => {
    const target = randomUnit(500);
    const table = buildTable([
      ...Array.from({ length: 60 }, (_, i): TestPost => ({ ageHours: 100 - i })),
      { id: 'liked', vector: target, ageHours: 2 },
      { id: 'twin', vector: target, ageHours: 1.5 },
      { id: 'followed', authorId: 'friend', ageHours: 1 },
      { id: 'hot', fast: 50, impressions: 1000, ageHours: 1 },
    ]);
    const retriever = await retrieverFor(table);
    const user = packedUser({
      follows: packHashes(['friend']),
      historyKeys: packHashes(['liked']),
      historyTypes: Uint8Array.of(ENGAGEMENT_CODES.like),
      historyTopics: new Uint32Array(1),
    });
    const { candidates } = retriever.retrieve(feedQuery({ candidates: 60, user }), table);
    const sourcesOf = (id: string) => {
      const at = candidates.rows.indexOf(table.rowOfId(id));
      return SOURCES.filter((_, s) => candidates.sources[at] & (1 << s));
    };
    expect(sourcesOf('twin')).toContain('similar');
    expect(sourcesOf('followed')).toContain('following');
    expect(sourcesOf('hot')).toContain('trending');
    expect(sourcesOf('liked')).toEqual([]);
    expect(candidates.rows).not.toContain(table.rowOfId('liked'));
    for (let i = 0; i < candidates.size; i++) {
      const row = candidates.rows[i];
      const exact = user.embedding.reduce((sum, x, d) => sum + x * table.vectors[row * 64 + d], 0);
      expect(candidates.similarity[i]).toBeCloseTo(exact, 5);
      for (let s = 0; s < SOURCES.length; s++) {
        const rank = candidates.sourceRanks[i * SOURCES.length + s];
        expect(rank > 0).toBe((candidates.sources[i] & (1 << s)) !== 0);
      }
    }
  });

  it('never repeats a row, never exceeds the limit and keeps only what the filters keep, for any world', async () => {
    const post = fc.record({
      authorId: fc.constantFrom('a', 'b', 'c', 'me'),
      topic: fc.constantFrom('', 'x', 'y'),
      language: fc.constantFrom(undefined, 'en', 'fr'),
      ageHours: fc.integer({ min: -1, max: 2000 }),
      sensitive: fc.boolean(),
      deleted: fc.boolean(),
      fast: fc.integer({ min: 0, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(post, { maxLength: 60 }),
        fc.integer({ min: 1, max: 80 }),
        fc.nat(20),
        async (posts, limit, live) => {
          const liveRows = Math.min(live, posts.length);
          const base = posts.slice(liveRows).sort((p, q) => q.ageHours - p.ageHours);
          const all = [...base, ...posts.slice(0, liveRows)];
          const table = buildTable(all, liveRows);
          const retriever = await retrieverFor(table);
          const query = feedQuery(
            { candidates: limit, slateSize: limit, explain: 2 },
            {
              languages: Uint8Array.of(languageCode('en')),
              blockedAuthors: packHashes(['c']),
              follows: packHashes(['a', 'b']),
            },
          );
          const { candidates, kept, removed, retrieved } = retriever.retrieve(query, table);
          const rows = [...candidates.rows];
          expect(new Set(rows).size).toBe(rows.length);
          expect(kept + removed.length).toBe(retrieved);
          const eligible = all.filter(
            (p) =>
              !p.deleted &&
              !p.sensitive &&
              p.language !== 'fr' &&
              p.authorId !== 'me' &&
              p.authorId !== 'c' &&
              p.ageHours >= 0,
          ).length;
          expect(rows.length).toBe(Math.min(limit, eligible));
          for (const row of rows) {
            const p = all[row];
            expect([
              p.deleted,
              p.sensitive,
              p.language === 'fr',
              p.authorId === 'c',
              p.authorId === 'me',
            ]).not.toContain(true);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});
