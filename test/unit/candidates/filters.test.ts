import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ageWindow } from '../../../src/candidates/age-window.ts';
import { FilterContexts } from '../../../src/candidates/filter-context.ts';
import { filterRow, filterRows, KEPT, REMOVED } from '../../../src/candidates/filters.ts';
import type { PackedUser } from '../../../src/contracts.ts';
import { hash32, packHashes } from '../../../src/hashing.ts';
import { wordHash } from '../../../src/post-record.ts';
import { languageCode, REMOVAL_REASONS, type RemovalReason } from '../../../src/vocabulary.ts';
import { buildTable, feedQuery, HOUR, NOW, type TestPost } from './test-world.ts';

function reasonOf(post: TestPost, user: Partial<PackedUser> = {}, exclude: string[] = []): string | null {
  const table = buildTable([{ id: 'p', authorId: 'author', ...post }]);
  const query = feedQuery({ exclude: packHashes(exclude) }, user);
  const state = filterRow(0, new FilterContexts().make(query, table, ageWindow(table, NOW, 720)));
  return state === KEPT ? null : REMOVAL_REASONS[state - REMOVED];
}

describe('filterRow', () => {
  it.each<[string, TestPost, Partial<PackedUser>, string[]]>([
    ['deleted', { deleted: true }, {}, []],
    ['from_future', { ageHours: -0.1 }, {}, []],
    ['excluded', {}, {}, ['p']],
    ['seen', {}, { seen: packHashes(['x', 'p']) }, []],
    ['seen', {}, { historyKeys: packHashes(['p']) }, []],
    ['own_post', { authorId: 'me' }, {}, []],
    ['blocked_author', {}, { blockedAuthors: packHashes(['author']) }, []],
    ['muted_author', {}, { mutedAuthors: packHashes(['author']) }, []],
    ['muted_topic', { topic: 'golf' }, { mutedTopics: Uint32Array.of(hash32('golf')) }, []],
    ['muted_word', { text: 'Big SPOILER inside' }, { mutedWords: Uint16Array.of(wordHash('spoiler')) }, []],
    ['sensitive', { sensitive: true }, {}, []],
    ['language', { language: 'fr' }, { languages: Uint8Array.of(languageCode('en')) }, []],
    ['too_old', { ageHours: 721 }, {}, []],
  ])('removes a post for %s', (reason, post, user, exclude) => {
    expect(reasonOf(post, user, exclude)).toBe(reason);
  });

  it('keeps what each rule does not name', () => {
    const user = {
      seen: packHashes(['other']),
      blockedAuthors: packHashes(['p']),
      mutedTopics: Uint32Array.of(hash32('golf')),
      mutedWords: Uint16Array.of(wordHash('spoiler'), 0),
      languages: Uint8Array.of(languageCode('en')),
      showSensitive: true,
    };
    expect(reasonOf({ text: 'inside', topic: 'tennis', sensitive: true, language: 'en' }, user)).toBeNull();
    expect(reasonOf({ ageHours: -0.05 }, user)).toBeNull();
    expect(reasonOf({ text: '', topic: '' }, { ...user, mutedTopics: new Uint32Array(0) })).toBeNull();
  });

  it('keeps a post of unknown language for every reader', () => {
    expect(reasonOf({}, { languages: Uint8Array.of(languageCode('en')) })).toBeNull();
  });
});

/** The rules that the property below can meet, in their order. */
function firstReason(post: TestPost, showSensitive: boolean): RemovalReason | null {
  const { authorId, ageHours = 0, sensitive, deleted } = post;
  if (deleted) return 'deleted';
  if (ageHours < 0) return 'from_future';
  if (authorId === 'me') return 'own_post';
  if (authorId === 'b') return 'blocked_author';
  if (sensitive && !showSensitive) return 'sensitive';
  return ageHours > 720 ? 'too_old' : null;
}

describe('filterRows', () => {
  it('splits any list into kept and removed as the single rules say, and leaves decided entries alone', () => {
    const contexts = new FilterContexts();
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            authorId: fc.constantFrom('a', 'b', 'me'),
            ageHours: fc.integer({ min: -2, max: 1500 }),
            sensitive: fc.boolean(),
            deleted: fc.boolean(),
          }),
          { minLength: 1, maxLength: 30 },
        ),
        fc.boolean(),
        (posts, showSensitive) => {
          const table = buildTable(posts, posts.length);
          const query = feedQuery({}, { showSensitive, blockedAuthors: packHashes(['b']) });
          const context = contexts.make(query, table, {
            oldestMs: NOW - 720 * HOUR,
            newestMs: NOW,
            firstRow: 0,
          });
          const rows = Uint32Array.from(posts.keys());
          const states = new Uint8Array(rows.length);
          states[0] = REMOVED;
          const kept = filterRows(rows, rows.length, states, context);
          expect(states[0]).toBe(REMOVED);
          for (const row of rows.subarray(1)) {
            const first = firstReason(posts[row], showSensitive);
            expect(states[row]).toBe(first ? REMOVED + REMOVAL_REASONS.indexOf(first) : KEPT);
          }
          expect(kept).toBe(states.filter((state) => state === KEPT).length);
        },
      ),
    );
  });
});
