import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RowSet } from '../../../src/candidates/row-set.ts';
import { selectLargest } from '../../../src/candidates/select-largest.ts';

describe('RowSet', () => {
  it('says of every row whether it is new, as a Set does, and forgets on reset', () => {
    const set = new RowSet();
    const rows = fc.array(fc.oneof(fc.nat(50), fc.integer({ min: 0, max: 0xffff_fffe })), { maxLength: 400 });
    fc.assert(
      fc.property(rows, (given) => {
        set.reset(given.length);
        const known = new Set<number>();
        for (const row of given) {
          expect(set.add(row)).toBe(!known.has(row));
          known.add(row);
        }
      }),
    );
  });
});

describe('selectLargest', () => {
  it('gives the k-th of the numbers in falling order', () => {
    const numbers = fc.array(fc.integer({ min: -20, max: 20 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(numbers, fc.nat(), (values, at) => {
        const k = (at % values.length) + 1;
        const falling = values.toSorted((a, b) => b - a);
        expect(selectLargest(Float64Array.from(values), values.length, k)).toBe(falling[k - 1]);
      }),
    );
  });
});
