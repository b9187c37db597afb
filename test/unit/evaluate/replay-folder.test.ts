import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImpressionSet } from '../../../scripts/evaluate/replay-as-of.ts';
import { folderFlag, requireBothClasses } from '../../../scripts/evaluate/replay-folder.ts';
import { pooledAuc } from '../../../scripts/evaluate/replay-table.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'feedrank-replay-folder-'));
  writeFileSync(join(dir, 'full.csv'), 'a\n1\n');
  writeFileSync(join(dir, 'empty.csv'), '');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('the folder of a replay', () => {
  it('is refused with one line where it or a file is missing or empty', () => {
    expect(folderFlag({ path: dir }, ['full.csv'])).toBe(dir);
    expect(() => folderFlag({}, [])).toThrow('--path is required');
    expect(() => folderFlag({ path: join(dir, 'none') }, [])).toThrow(/none: no such folder$/);
    expect(() => folderFlag({ path: dir }, ['full.csv', 'other.csv'])).toThrow(/holds no other\.csv$/);
    expect(() => folderFlag({ path: dir }, ['empty.csv'])).toThrow(/empty\.csv is empty$/);
  });

  it('must give every label both classes in training, validation and test', () => {
    const at = Float64Array.from({ length: 6 }, (_, i) => i);
    const set = (values: number[]) =>
      ({
        at,
        validationFromMs: 2,
        testFromMs: 4,
        labels: [{ name: 'like', values: Uint8Array.from(values) }],
      }) as unknown as ImpressionSet;
    expect(() => requireBothClasses(set([0, 1, 1, 0, 0, 1]))).not.toThrow();
    expect(() => requireBothClasses(set([0, 1, 1, 0, 0, 0]))).toThrow(/^like: .* both classes/);
    expect(() => requireBothClasses(set([1, 1, 1, 0, 0, 1]))).toThrow(/^like: /);
  });
});

describe('pooled AUC', () => {
  it('counts ordered pairs, ties half', () => {
    const auc = (scores: number[], labels: number[]) =>
      pooledAuc(Float32Array.from(scores), Uint8Array.from(labels));
    expect(auc([1, 2, 3, 4], [0, 0, 1, 1])).toBe(1);
    expect(auc([4, 3, 2, 1], [0, 0, 1, 1])).toBe(0);
    expect(auc([1, 1, 1], [0, 1, 0])).toBe(0.5);
    expect(auc([0.1, 0.4, 0.4, 0.8], [0, 1, 0, 1])).toBe(3.5 / 4);
    expect(auc([1, 2], [1, 1])).toBeNaN();
  });
});
