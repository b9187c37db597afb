import { describe, expect, it } from 'vitest';
import { between, inOrder } from '../../../../src/features/store/parallel-scan.ts';
import { collect } from '../../../setup/test-servers.ts';

describe('a scan in segments', () => {
  it('hands pages on in the order of the segments, reading some ahead and never many', async () => {
    let reading = 0;
    let most = 0;
    const opened: number[] = [];
    const segments = Array.from(
      { length: 10 },
      (_, segment) =>
        async function* () {
          opened.push(segment);
          most = Math.max(most, ++reading);
          for (let page = 0; page < 5; page++) {
            await new Promise((resolve) => setTimeout(resolve, segment % 3));
            yield [segment * 10 + page];
          }
          reading--;
        },
    );
    const found = await collect(inOrder(segments, 3));
    expect(found).toEqual(Array.from({ length: 50 }, (_, i) => Math.floor(i / 5) * 10 + (i % 5)));
    expect(most).toBe(3);
    expect(opened).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('throws what a segment throws, after the pages before it', async () => {
    const pages: number[] = [];
    const scan = inOrder(
      [
        async function* () {
          yield 1;
        },
        async function* () {
          yield 2;
          throw new Error('the database is gone');
        },
      ],
      2,
    );
    await expect(
      (async () => {
        for await (const page of scan) pages.push(page);
      })(),
    ).rejects.toThrow('the database is gone');
    expect(pages).toEqual([1, 2]);
  });

  it('covers everything once', () => {
    expect(between([])).toEqual([{ from: null, to: null }]);
    expect(between([1, 5])).toEqual([
      { from: null, to: 1 },
      { from: 1, to: 5 },
      { from: 5, to: null },
    ]);
  });
});
