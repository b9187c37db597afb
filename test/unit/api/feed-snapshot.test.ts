import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeSnapshot,
  encodeSnapshot,
  type FeedSnapshot,
  type SnapshotEntry,
} from '../../../src/api/feed-snapshot.ts';
import { HEADS, type Head, SOURCES } from '../../../src/vocabulary.ts';
import { NOW } from './world.ts';

const float = fc.float({ noNaN: true });
const probabilities = fc
  .array(float, { minLength: HEADS.length, maxLength: HEADS.length })
  .map((values) => Object.fromEntries(HEADS.map((head, i) => [head, values[i]])) as Record<Head, number>);
const entry: fc.Arbitrary<SnapshotEntry> = fc.record({
  postId: fc.string({ unit: 'grapheme', minLength: 1 }).filter((id) => id.isWellFormed()),
  score: float,
  propensity: float,
  sources: fc.subarray([...SOURCES]),
  probabilities: fc.option(probabilities),
});

function snapshot(entries: SnapshotEntry[], prior = new Uint32Array(0)): FeedSnapshot {
  return {
    startedAtMs: NOW,
    facts: {
      model: 'm@1',
      index: 'g',
      rules: 'r',
      search: 'exact',
      embeddingKind: 'stored',
      degraded: ['x'],
      watermark: '17',
      explored: true,
    },
    edges: [{ userId: 'u', kind: 'block', target: 'a', createdAt: 1 }],
    entries,
    prior,
  };
}

describe('a snapshot', () => {
  it('comes back as it was', () => {
    const prior = fc.uint32Array({ maxLength: 20 });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), prior, (entries, before) => {
        const given = snapshot(entries, before);
        expect(decodeSnapshot(encodeSnapshot(given))).toEqual(given);
      }),
    );
  });

  it('keeps explanations where there are some', () => {
    const explain = { sources: [], heads: [], rules: [{ rule: 'pin', effect: 'to 0' }], rankedPosition: 4 };
    const plain: SnapshotEntry = { postId: 'a', score: 1, propensity: 1, sources: [], probabilities: null };
    const given = snapshot([
      { ...plain, explain },
      { ...plain, postId: 'b' },
    ]);
    expect(decodeSnapshot(encodeSnapshot(given))).toEqual(given);
  });

  it('of 300 ranked posts with ids of 10 characters takes less than 15 kB', () => {
    const all = Object.fromEntries(HEADS.map((head) => [head, 0.1])) as Record<Head, number>;
    const entries = Array.from(
      { length: 300 },
      (_, i): SnapshotEntry => ({
        postId: String(i).padStart(10, '0'),
        score: 1,
        propensity: 1,
        sources: ['nearest'],
        probabilities: all,
      }),
    );
    expect(encodeSnapshot(snapshot(entries)).length).toBeLessThan(15_000);
  });

  it('that is torn, foreign or empty is none, and nothing is thrown', () => {
    const bytes = encodeSnapshot(
      snapshot([{ postId: 'abc', score: 1, propensity: 1, sources: [], probabilities: null }]),
    );
    for (let length = 0; length < bytes.length; length++)
      expect(decodeSnapshot(bytes.subarray(0, length))).toBeNull();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        decodeSnapshot(noise);
      }),
    );
    expect(decodeSnapshot(Uint8Array.of(2, ...bytes.subarray(1)))).toBeNull();
  });
});
