import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bySimilarity, NearDuplicates, popcount } from '../../../src/candidates/near-duplicates.ts';
import { FIELD, RECORD_BYTES, RECORD_WORDS, recordViews } from '../../../src/post-record.ts';

/** Simhashes that are often near each other: a few bits away from one of four centres. */
const simhash = fc
  .tuple(fc.constantFrom(0, 0x12345678, 0xffffffff, 0x0f0f0f0f), fc.array(fc.nat(63), { maxLength: 5 }))
  .map(([centre, bits]) => {
    let [lo, hi] = [centre, centre];
    for (const bit of bits) {
      if (bit < 32) lo ^= 1 << bit;
      else hi ^= 1 << (bit - 32);
    }
    return [lo >>> 0, hi >>> 0] as const;
  });

function recordsOf(hashes: readonly (readonly [number, number])[]) {
  const records = recordViews(new ArrayBuffer(hashes.length * RECORD_BYTES), 0, hashes.length);
  hashes.forEach(([lo, hi], row) => {
    records.u32[row * RECORD_WORDS + FIELD.simhashLo] = lo;
    records.u32[row * RECORD_WORDS + FIELD.simhashHi] = hi;
  });
  return records;
}

describe('NearDuplicates', () => {
  it('removes exactly what a comparison of all pairs removes, and does so again with the same storage', () => {
    fc.assert(
      fc.property(
        fc.array(simhash, { maxLength: 40 }),
        fc.integer({ min: 0, max: 3 }),
        fc.nat(5),
        (hashes, maxDistance, shownCount) => {
          const records = recordsOf(hashes);
          const rows = Uint32Array.from(hashes.keys());
          const shown = [...rows.subarray(0, Math.min(shownCount, rows.length))];
          const order = rows.slice(shown.length);
          const near = (a: number, b: number) =>
            popcount(hashes[a][0] ^ hashes[b][0]) + popcount(hashes[a][1] ^ hashes[b][1]) <= maxDistance;
          const hasText = (row: number) => hashes[row][0] !== 0 || hashes[row][1] !== 0;
          const kept: number[] = [];
          const expected: number[] = [];
          for (const row of order) {
            const repeated =
              hasText(row) && [...kept, ...shown].some((other) => hasText(other) && near(row, other));
            (repeated ? expected : kept).push(row);
          }
          const duplicates = new NearDuplicates(maxDistance);
          for (let run = 0; run < 2; run++) {
            const removed: number[] = [];
            duplicates.find(records, rows, order, shown, (entry) => removed.push(entry));
            expect(removed).toEqual(expected);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('finds nothing when switched off', () => {
    const records = recordsOf([
      [1, 1],
      [1, 1],
    ]);
    const removed: number[] = [];
    new NearDuplicates(-1).find(records, Uint32Array.of(0, 1), Uint32Array.of(0, 1), [], (i) =>
      removed.push(i),
    );
    expect(removed).toEqual([]);
  });
});

describe('bySimilarity', () => {
  it('orders entries by falling similarity, equal ones as given', () => {
    const similarity = Float32Array.of(0.5, -0.25, 0.75, 0.5, -1, 1);
    expect([...bySimilarity(Uint32Array.of(0, 1, 2, 3, 4, 5), similarity)]).toEqual([5, 2, 0, 3, 1, 4]);
    expect([...bySimilarity(Uint32Array.of(4, 1, 2), similarity)]).toEqual([2, 1, 4]);
  });
});
