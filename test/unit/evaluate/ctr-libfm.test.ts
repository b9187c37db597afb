import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readLibfm } from '../../../scripts/evaluate/ctr-libfm.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'feedrank-libfm-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(text: string) {
  const file = join(folder, 'rows.libfm');
  await writeFile(file, text);
  return readLibfm(file);
}

describe('readLibfm', () => {
  it('reads labels 1 and -1 and leaves the values out when all are 1', async () => {
    const rows = await read('1 3:1 7:1\n-1 4:1 7:1\n');
    expect([...rows.labels]).toEqual([1, 0]);
    expect([...rows.offsets]).toEqual([0, 2, 4]);
    expect([...rows.ids]).toEqual([3, 7, 4, 7]);
    expect(rows.values).toBeNull();
    expect(rows.width).toEqual({ min: 2, max: 2 });
  });

  it('reads labels 1 and 0, other values, tabs, blank lines, CRLF and rows without features', async () => {
    const rows = await read('1\t3:0.5  7:-2e1\r\n\n0\r\n1.0 9:1');
    expect([...rows.labels]).toEqual([1, 0, 1]);
    expect([...rows.offsets]).toEqual([0, 2, 2, 3]);
    expect([...rows.values!]).toEqual([0.5, -20, 1]);
    expect(rows.width).toEqual({ min: 0, max: 2 });
  });

  it('keeps huge ids exact', async () => {
    expect([...(await read('1 999999999999999:1\n0 999999999999998:1\n')).ids]).toEqual([
      999999999999999, 999999999999998,
    ]);
  });

  it.each([
    ['1 1:1\nnan 1:1\n', /rows\.libfm, line 2: 'nan' is not a label/],
    ['1 1:1\n\n3 1:1\n', /line 3: '3' is not a label/],
    ['1 1:nan\n', /line 1: '1:nan' has a value that is not a finite number/],
    ['1 1:1e39\n', /line 1: '1:1e39' has a value that is not a finite number/],
    ['1 1:\n', /line 1: '1:' has a value that is not a finite number/],
    ['1 -4:1\n', /line 1: '-4:1' has an id that is not a non-negative integer/],
    ['1 1234567890123456:1\n', /line 1: .* has an id of more than 15 digits/],
    ['1 word\n', /line 1: 'word' is not id:value/],
    ['1 1:1 # note\n', /line 1: '#' is not id:value/],
    [`1 ${'x'.repeat(500)}\n`, /line 1: 'x{40}…' is not id:value/],
    ['0 1:1\n1 1:1\n-1 1:1\n', /line 3: '-1' mixes the two ways/],
    ['', /holds no rows/],
    ['\n \n', /holds no rows/],
    ['1 1:1\n1 2:1\n', /every label is positive, both classes are needed/],
    ['-1 1:1\n-1 2:1\n', /every label is negative, both classes are needed/],
    ['1\n0\n', /no row has a feature/],
  ])('refuses %j with file and line', async (text, reason) => {
    await expect(read(text)).rejects.toThrow(reason);
  });

  it('gives back what was written', async () => {
    const feature = fc.tuple(fc.nat(10 ** 15 - 1), fc.float({ noNaN: true, noDefaultInfinity: true }));
    const row = fc.tuple(fc.boolean(), fc.array(feature, { maxLength: 5 }));
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 20 }), async (some) => {
        const all: typeof some = [[true, [[1, 2]]], [false, []], ...some];
        const text = all.map(
          ([positive, features]) =>
            `${positive ? 1 : 0}${features.map(([id, value]) => ` ${id}:${value}`).join('')}\n`,
        );
        const rows = await read(text.join(''));
        expect([...rows.labels]).toEqual(all.map(([positive]) => (positive ? 1 : 0)));
        all.forEach(([, features], i) => {
          const [from, to] = [rows.offsets[i], rows.offsets[i + 1]];
          expect([...rows.ids.subarray(from, to)]).toEqual(features.map(([id]) => id));
          expect([...rows.values!.subarray(from, to)]).toEqual(features.map(([, value]) => value || 0));
        });
      }),
      { numRuns: 30 },
    );
  });
});
