import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qualityPage, readReports } from '../../../scripts/evaluate/quality.ts';
import { difference, readReport } from '../../../scripts/evaluate/quality-rows.ts';

const FACTS = { commit: 'abc', machine: { cpu: 'a processor', cores: 2, memoryGb: 8, node: '24.0.0' } };
const map = (ece: number) => ({ ece, eceOfChance: 0.004, predicted: 0.2, rate: 0.2 });
const EBNERD = {
  auc: 0.7,
  floors: { counter: 0.6, newest: 0.5 },
  lightgbm_auc: 0.72,
  testFrom: '2023-05-23',
  lists: 100,
  seed: 7,
  seconds: 12,
  trainer: { calibration: { click: { raw: map(0.3), fixed: map(0.05), followed: map(0.008) } } },
  served: { auc: 0.65 },
};
const OPE = {
  seed: 1,
  campaigns: [{ campaign: 'c', from: 'bts', of: 'random', truth: {}, errors: { snips: -2.5, dr: 0.4 } }],
};

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'feedrank-quality-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('a report', () => {
  it('becomes rows with what each figure is held against; a difference below 0 is a miss either way', () => {
    const { rows } = readReport('ebnerd', EBNERD)!;
    const auc = rows.find(({ against }) => against?.of === 'target')!;
    expect(difference(auc)).toBeCloseTo(-0.055, 9);
    const ece = rows.find(({ figure }) => figure === 'calibration error click')!;
    expect(difference(ece)).toBeCloseTo(0.002, 9);
    expect(difference(rows.at(-1)!)).toBeNull();
  });

  it('of gowalla and of Frappe stands beside the published tables, of other data beside its own run', () => {
    const retrieval = { 'recall@20': 0.19, 'ndcg@20': 0.16, seconds: 1 };
    const gowalla = readReport('retrieval-gowalla', retrieval)!.rows;
    expect(gowalla.filter(({ bound }) => bound).map(difference)).toEqual([
      expect.closeTo(-0.002, 9),
      expect.closeTo(0.0003, 9),
    ]);
    expect(readReport('retrieval-other', retrieval)!.rows.every(({ against }) => against === null)).toBe(
      true,
    );
    const ctr = {
      auc: 0.985,
      logloss: 0.15,
      ece: 0.005,
      lightgbm: { test: { auc: 0.97, logloss: 0.2 } },
      data: { rows: { train: 3, validation: 2, test: 1 } },
      budgetMinutes: 40,
      architecture: 'ensemble',
    };
    const frappe = readReport('ctr-frappe_x1', ctr)!.rows.filter(({ figure }) => figure === 'test AUC');
    expect(frappe.map(({ against }) => against!.of)).toEqual([
      'DNN, BARS',
      'DCNv2, BARS',
      'FinalMLP, BARS',
      'LightGBM of the run',
    ]);
    expect(readReport('ctr-mine', ctr)!.rows.filter(({ figure }) => figure === 'test AUC')).toHaveLength(1);
  });

  it('that lacks a number is refused with the place', () => {
    expect(() => readReport('ebnerd', { ...EBNERD, floors: {} })).toThrow('has no number at floors.counter');
    expect(readReport('bench', {})).toBeNull();
  });
});

describe('the page', () => {
  it('lists misses first, then each table, with commit, seed and machine', () => {
    writeFileSync(join(dir, 'ebnerd.json'), JSON.stringify(EBNERD));
    writeFileSync(join(dir, 'ope.json'), JSON.stringify(OPE));
    writeFileSync(join(dir, 'bench.json'), '{}');
    const page = qualityPage(readReports(dir), FACTS);
    const at = (text: string) => {
      const found = page.indexOf(text);
      expect(found, text).toBeGreaterThanOrEqual(0);
      return found;
    };
    expect(at('## Misses')).toBeLessThan(at('## EB-NeRD'));
    expect(at('| ebnerd | AUC within an impression | 0.7000 | 0.7550 | −0.0550 | target |')).toBeLessThan(
      at('## EB-NeRD'),
    );
    expect(page).toContain('| ope | c: random from bts, SNIPS, distance | 2.5000 | 1.9600 | −0.5400 |');
    expect(page).toContain('commit abc on a processor, 2 cores, 8 GB');
    expect(page).toContain('100 lists, tested from 2023-05-23; seed 7; 12 s.');
    // To compare with is not to be kept.
    expect(page.slice(0, at('## EB-NeRD'))).not.toContain('LightGBM');
  });

  it('names a report that is no JSON, and a folder without reports', () => {
    writeFileSync(join(dir, 'globo.json'), '{');
    expect(() => readReports(dir)).toThrow(/^globo\.json: /);
    rmSync(join(dir, 'globo.json'));
    const empty = mkdtempSync(join(dir, 'empty-'));
    expect(() => readReports(empty)).toThrow('holds no report of');
  });
});
