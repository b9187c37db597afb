import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LruMap } from '../../src/lru-map.ts';

describe('a map that forgets', () => {
  it('holds no more than its capacity, and always the newest, whatever is done to it', () => {
    const step = fc.record({
      key: fc.integer({ min: 0, max: 12 }),
      kind: fc.constantFrom('get', 'set', 'delete'),
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 6 }), fc.array(step, { maxLength: 80 }), (capacity, steps) => {
        const map = new LruMap<number>(capacity);
        const stored = new Map<string, number>();
        steps.forEach(({ key, kind }, i) => {
          const name = String(key);
          if (kind === 'set') {
            map.set(name, i);
            stored.set(name, i);
            expect(map.get(name)).toBe(capacity === 0 ? undefined : i);
          } else if (kind === 'delete') {
            map.delete(name);
            stored.delete(name);
            expect(map.get(name)).toBeUndefined();
          } else {
            expect([undefined, stored.get(name)]).toContain(map.get(name));
          }
        });
        const entries = map.entries();
        expect(entries.length).toBe(Math.min(entries.length, capacity));
        for (const [key, value] of entries) expect(value).toBe(stored.get(key));
      }),
    );
  });

  it('keeps what is used while others come and go', () => {
    const map = new LruMap<string>(10);
    map.set('used', 'value');
    for (let i = 0; i < 1000; i++) {
      expect(map.get('used')).toBe('value');
      map.set(`other ${i}`, '');
    }
  });

  it('forgets the oldest where none was used', () => {
    const map = new LruMap<number>(2);
    for (const [i, key] of ['a', 'b', 'c'].entries()) map.set(key, i);
    expect(map.entries()).toEqual([
      ['b', 1],
      ['c', 2],
    ]);
  });
});
