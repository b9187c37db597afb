import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WindowCap } from '../../../src/rerank/window-cap.ts';

describe('WindowCap', () => {
  it('allows what a count over the last positions allows, and knows how many items that are', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -1, max: 4 }), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 3 }),
        (keys, window, perWindow) => {
          const cap = new WindowCap('cap', Int32Array.from(keys), window, perWindow);
          for (let placed = 0; placed < keys.length; placed++) {
            const recent = keys.slice(Math.max(0, placed - window + 1), placed);
            const allowed = keys.map(
              (key) => key < 0 || recent.filter((other) => other === key).length < perWindow,
            );
            expect(keys.map((_, item) => cap.allows(item))).toEqual(allowed);
            expect(cap.open).toBe(allowed.slice(placed).filter(Boolean).length);
            cap.placed(placed);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
