import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareStreamIds,
  formatLsn,
  parseLsn,
  parseStreamId,
  streamId,
} from '../../../../src/features/stream/log-position.ts';

const lsn = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

describe('log positions and stream ids', () => {
  it('read back what they wrote', () => {
    fc.assert(
      fc.property(lsn, fc.nat(), (position, index) => {
        expect(parseLsn(formatLsn(position))).toBe(position);
        expect(parseStreamId(streamId(position, index))).toEqual({ lsn: position, index });
      }),
    );
    expect(parseLsn('16/B374D848')).toBe(0x16b374d848n);
  });

  it('order as commits do', () => {
    fc.assert(
      fc.property(lsn, fc.nat(), lsn, fc.nat(), (a, i, b, j) => {
        const order = compareStreamIds(streamId(a, i), streamId(b, j));
        expect(Math.sign(order)).toBe(a === b ? Math.sign(i - j) : a < b ? -1 : 1);
        expect(compareStreamIds('', streamId(a, i))).toBeLessThan(0);
      }),
    );
  });

  it('refuse what is none', () => {
    for (const text of ['', '16', '16/', 'x/1', '1/2/3']) expect(() => parseLsn(text)).toThrow();
    for (const text of ['', '1', '-', 'a-b', '1-2-3']) expect(parseStreamId(text)).toBeNull();
  });
});
