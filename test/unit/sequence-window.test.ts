import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SequenceWindow } from '../../src/sequence-window.ts';

describe('the window of counted changes', () => {
  it('takes every number once, in whatever order they come', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 400 }),
        fc.integer({ min: 0, max: 1e9 }),
        (offsets, base) => {
          const window = new SequenceWindow();
          const seen = new Set<number>();
          for (const offset of offsets) {
            const number = base + offset;
            expect(window.add(number)).toBe(!seen.has(number));
            seen.add(number);
          }
        },
      ),
    );
  });

  it('moves on with the numbers and forgets what no overlap reaches', () => {
    const window = new SequenceWindow();
    const far = 10_000_000;
    expect(window.add(5)).toBe(true);
    expect(window.add(far)).toBe(true);
    expect(window.add(far)).toBe(false);
    expect(window.add(far - 1_000_000)).toBe(true);
    expect(window.add(far - 1_000_000)).toBe(false);
    for (let i = 1; i <= 5; i++) expect(window.add(far + i * 1_000_000)).toBe(true);
    for (let i = 2; i <= 5; i++) expect(window.add(far + i * 1_000_000)).toBe(false);
    // Left the window: counted again rather than lost.
    expect(window.add(5)).toBe(true);
  });
});
