import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CandidateMerge } from '../../../src/candidates/merge.ts';
import { PairSet } from '../../../src/candidates/pair-set.ts';
import { cutByQuota } from '../../../src/candidates/quota-cut.ts';
import { newHits } from '../../../src/candidates/source.ts';
import { TopRows } from '../../../src/candidates/top-rows.ts';
import { SOURCES } from '../../../src/vocabulary.ts';

const WIDTH = SOURCES.length;

describe('PairSet', () => {
  it('behaves as a set of pairs, also after a reset', () => {
    const half = fc.constantFrom(0, 1, 2, 64, 0x80000000, 0xffffffff);
    const set = new PairSet();
    fc.assert(
      fc.property(
        fc.array(fc.tuple(half, half), { maxLength: 200 }),
        fc.tuple(half, half),
        (pairs, probe) => {
          set.reset(pairs.length);
          set.addAll(Uint32Array.from(pairs.flat()));
          const expected = new Set(pairs.map(String));
          expected.delete('0,0');
          expect(set.size).toBe(expected.size);
          expect(set.has(...probe)).toBe(expected.has(String(probe)));
          for (const pair of pairs) expect(set.has(...pair)).toBe(String(pair) !== '0,0');
        },
      ),
    );
  });
});

describe('TopRows', () => {
  it('keeps the best rows in order, the newer of equal ones first', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 60 }), fc.nat(20), (scores, k) => {
        const top = new TopRows(k);
        scores.forEach((score, row) => {
          top.offer(row, score);
        });
        const hits = newHits(0);
        top.drain(hits);
        const expected = [...scores.keys()].sort((a, b) => scores[b] - scores[a] || b - a).slice(0, k);
        expect([...hits.rows.subarray(0, hits.size)]).toEqual(expected);
      }),
    );
  });

  it('ignores a score that is not a number', () => {
    const top = new TopRows(2);
    top.offer(1, Number.NaN);
    expect(top.size).toBe(0);
  });
});

describe('CandidateMerge', () => {
  it('joins lists into one entry a row with all sources and first ranks, over many requests', () => {
    const merge = new CandidateMerge(4);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(WIDTH - 1), fc.uniqueArray(fc.nat(300), { maxLength: 80 })), {
          maxLength: 6,
        }),
        (lists) => {
          merge.begin();
          const expected = new Map<number, number[]>();
          for (const [source, rows] of lists) {
            const hits = {
              rows: Uint32Array.from(rows),
              similarity: new Float32Array(rows.length),
              size: rows.length,
            };
            merge.addHits(source, hits);
            rows.forEach((row, i) => {
              const ranks = expected.get(row) ?? new Array(WIDTH).fill(0);
              if (ranks[source] === 0) ranks[source] = i + 1;
              expected.set(row, ranks);
            });
          }
          expect([...merge.rows.subarray(0, merge.size)]).toEqual([...expected.keys()]);
          [...expected].forEach(([row, ranks], entry) => {
            expect(merge.has(row)).toBe(true);
            expect([...merge.sourceRanks.subarray(entry * WIDTH, (entry + 1) * WIDTH)]).toEqual(ranks);
            expect(merge.sources[entry]).toBe(ranks.reduce((bits, rank, s) => bits | (rank ? 1 << s : 0), 0));
          });
          expect(merge.has(301)).toBe(false);
        },
      ),
    );
  });
});

describe('cutByQuota', () => {
  it('keeps exactly the limit, the best of each source, in the proportions of the quotas', () => {
    const ranks = new Uint16Array(300 * WIDTH);
    for (let i = 0; i < 200; i++) ranks[i * WIDTH] = i + 1;
    for (let i = 0; i < 100; i++) ranks[(200 + i) * WIDTH + 1] = i + 1;
    const kept = Uint32Array.from({ length: 300 }, (_, i) => i);
    const cut = cutByQuota(kept, ranks, [1, 0.25, 0, 0, 0], 100);
    expect(cut).toHaveLength(100);
    expect([...cut].filter((entry) => entry < 200)).toEqual(Array.from({ length: 80 }, (_, i) => i));
    expect([...cut].filter((entry) => entry >= 200)).toEqual(Array.from({ length: 20 }, (_, i) => 200 + i));
  });

  it('counts ranks among kept entries only and always keeps entries without a source', () => {
    const ranks = new Uint16Array(6 * WIDTH);
    [0, 900, 901, 902, 1, 2].forEach((rank, i) => {
      ranks[i * WIDTH + (i < 4 ? 0 : 1)] = rank;
    });
    expect([...cutByQuota(Uint32Array.of(0, 1, 2, 3, 4, 5), ranks, [1, 1, 0, 0, 0], 3)]).toEqual([0, 1, 4]);
  });
});
