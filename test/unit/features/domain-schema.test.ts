import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  datedSchemas,
  deriveEventId,
  edgeSchema,
  eventSchema,
  fieldProblems,
  postSchema,
  userSchema,
} from '../../../src/features/domain-schema.ts';

const post = { id: 'p', authorId: 'a', createdAt: 1_700_000_000_000 };
const event = { userId: 'u', postId: 'p', type: 'click', at: 1_700_000_000_000 };

/** The first problem as `field: reason`, null when the value passes. */
function problem(schema: z.ZodType, value: unknown): string | null {
  const parsed = schema.safeParse(value);
  if (parsed.success) return null;
  const [{ field, reason }] = fieldProblems(parsed.error);
  return `${field}: ${reason}`;
}

describe('times', () => {
  test.each([
    [0, 0],
    [1_700_000_000_000.75, 1_700_000_000_000],
    [4_102_444_799_999, 4_102_444_799_999],
    ['2024-02-29T12:00:00Z', Date.UTC(2024, 1, 29, 12)],
    ['2024-02-29T12:00:00.250+02:00', Date.UTC(2024, 1, 29, 10, 0, 0, 250)],
  ])('%s is accepted as %d', (given, expected) => {
    expect(postSchema.parse({ ...post, createdAt: given }).createdAt).toBe(expected);
  });

  test.each([
    Number.NaN,
    Number.POSITIVE_INFINITY,
    -1,
    4_102_444_800_000,
    null,
    undefined,
    true,
    '',
    'yesterday',
    '2024-02-29',
    '2024-02-29T12:00:00',
    '1969-12-31T23:59:59Z',
    '2100-01-01T00:00:00Z',
    '2024-13-01T00:00:00Z',
    '1700000000000',
  ])('%s is refused, naming the field', (given) => {
    expect(problem(postSchema, { ...post, createdAt: given })).toMatch(/^createdAt: /);
    expect(problem(eventSchema, { ...event, at: given })).toMatch(/^at: /);
  });
});

describe('ids and text', () => {
  test.each([
    ['a'.repeat(256), null],
    ['a'.repeat(257), 'id: must be at most 256 bytes'],
    ['x'.repeat(10_000), 'id: must be at most 256 bytes'],
    ['é'.repeat(129), 'id: must be at most 256 bytes'],
    ['', 'id: must not be empty'],
    ['a\0b', 'id: must not contain a NUL character'],
    ['a\ud800', 'id: must be well-formed Unicode (it has a lone surrogate)'],
    ['a/b?c=🦊', null],
  ])('id case %#', (id, expected) => {
    expect(problem(postSchema, { ...post, id })).toBe(expected);
  });

  test.each([42, null, {}, ['p']])('an id of another type is refused: %s', (id) => {
    expect(problem(postSchema, { ...post, id })).toMatch(/^id: /);
  });

  test('text may have 65,536 bytes and a title 1,024', () => {
    expect(problem(postSchema, { ...post, text: 'x'.repeat(65_536), title: 'x'.repeat(1_024) })).toBeNull();
    expect(problem(postSchema, { ...post, text: 'x'.repeat(65_537) })).toMatch(/^text: /);
    expect(problem(postSchema, { ...post, title: '€'.repeat(342) })).toMatch(/^title: /);
  });

  test('extra must be a JSON object of at most 4,096 bytes that a store can hold', () => {
    expect(problem(postSchema, { ...post, extra: { a: [1, { b: 'c' }], path: 'C:\\u0000' } })).toBeNull();
    expect(problem(postSchema, { ...post, extra: { a: 'x'.repeat(4_096) } })).toMatch(/^extra: .*4096/);
    expect(problem(postSchema, { ...post, extra: { a: '\0' } })).toMatch(/^extra: /);
    expect(problem(postSchema, { ...post, extra: { a: '\udfff' } })).toMatch(/^extra: /);
    expect(problem(postSchema, { ...post, extra: [1] })).toMatch(/^extra: /);
  });

  test('a very deep extra is refused without a crash', () => {
    const deep = JSON.parse(`${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`);
    expect(problem(postSchema, { ...post, extra: deep })).toMatch(/^extra: /);
  });

  test('an unknown key is refused by its name', () => {
    expect(problem(postSchema, { ...post, titel: 'x' })).toBe('titel: is not a known field');
    expect(problem(eventSchema, { ...event, dwell: 3 })).toBe('dwell: is not a known field');
  });

  test('only http addresses and known languages pass', () => {
    expect(problem(postSchema, { ...post, url: 'https://example.org/a', language: 'pt-BR' })).toBeNull();
    expect(problem(postSchema, { ...post, url: 'javascript:alert(1)' })).toMatch(/^url: /);
    expect(problem(postSchema, { ...post, language: 'english' })).toMatch(/^language: /);
  });
});

describe('events', () => {
  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY, '5', null, 86_400_001])(
    'dwellMs %s is refused',
    (dwellMs) => {
      expect(problem(eventSchema, { ...event, type: 'dwell', dwellMs })).toMatch(/^dwellMs: /);
    },
  );

  test('a dwell without its time is refused', () => {
    expect(problem(eventSchema, { ...event, type: 'dwell' })).toMatch(/^dwellMs: is required/);
  });

  test.each([-1, 1.5, 1e9, '0'])('position %s is refused', (position) => {
    expect(problem(eventSchema, { ...event, position })).toMatch(/^position: /);
  });

  test('an unknown type is refused', () => {
    expect(problem(eventSchema, { ...event, type: 'love' })).toMatch(/^type: /);
  });

  test('an absent id is made of user, post, type and time', () => {
    const first = eventSchema.parse(event).id;
    expect(eventSchema.parse({ ...event, position: 3 }).id).toBe(first);
    for (const change of [{ userId: 'v' }, { postId: 'q' }, { type: 'like' }, { at: event.at + 1 }]) {
      expect(eventSchema.parse({ ...event, ...change }).id).not.toBe(first);
    }
    expect(eventSchema.parse({ ...event, id: 'mine' }).id).toBe('mine');
  });

  test('30,000 derived ids do not collide', () => {
    const ids = new Set<string>();
    for (let i = 0; i < 30_000; i++) ids.add(deriveEventId('u', `p${i % 500}`, 'click', 1_000 + i));
    expect(ids.size).toBe(30_000);
  });
});

describe('users and edges', () => {
  test('an absent createdAt is the time the schemas were made for', () => {
    const { user, follow } = datedSchemas(() => 7);
    expect(user.parse({ id: 'u' }).createdAt).toBe(7);
    expect(follow.parse({ userId: 'u', authorId: 'a' })).toEqual({
      userId: 'u',
      kind: 'follow',
      target: 'a',
      createdAt: 7,
    });
    expect(Math.abs(userSchema.parse({ id: 'u' }).createdAt - Date.now())).toBeLessThan(60_000);
  });

  test('a muted word is one word, kept in lower case', () => {
    const edge = { userId: 'u', kind: 'mute_word', target: 'LotTery' };
    expect(edgeSchema.parse(edge).target).toBe('lottery');
    expect(problem(edgeSchema, { ...edge, target: 'two words' })).toMatch(/^target: must be one word/);
    expect(problem(edgeSchema, { ...edge, target: 'x'.repeat(65) })).toMatch(/^target: /);
    expect(problem(edgeSchema, { ...edge, kind: 'mute_topic', target: 'x'.repeat(129) })).toMatch(
      /^target: /,
    );
  });

  test('a line of blocks.jsonl cannot be a follow', () => {
    expect(problem(datedSchemas(() => 0).block, { userId: 'u', kind: 'follow', target: 'a' })).toMatch(
      /^kind: /,
    );
  });

  test('the place of a bad list entry is named', () => {
    expect(problem(userSchema, { id: 'u', topics: ['a', ''] })).toBe('topics[1]: must not be empty');
  });
});

test('every schema gives a JSON schema for the API documents', () => {
  for (const schema of [postSchema, userSchema, edgeSchema, eventSchema]) {
    expect(z.toJSONSchema(schema, { io: 'input' })).toMatchObject({
      type: 'object',
      additionalProperties: false,
    });
  }
});

test('no value makes a schema throw, and what passes is storable', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.anything(),
        fc.record({ ...Object.fromEntries(Object.keys(event).map((key) => [key, fc.anything()])) }),
        fc.record({
          userId: fc.string({ unit: 'binary' }),
          postId: fc.string({ unit: 'binary' }),
          type: fc.constant('click'),
          at: fc.double(),
        }),
      ),
      (value) => {
        for (const schema of [postSchema, userSchema, edgeSchema, eventSchema]) {
          const parsed = schema.safeParse(value);
          if (!parsed.success) expect(fieldProblems(parsed.error).length).toBeGreaterThan(0);
        }
        const parsed = eventSchema.safeParse(value);
        if (!parsed.success) return;
        expect(parsed.data.userId.includes('\0')).toBe(false);
        expect(parsed.data.userId.isWellFormed()).toBe(true);
        expect(Number.isSafeInteger(parsed.data.at)).toBe(true);
      },
    ),
    { numRuns: 150 },
  );
});
