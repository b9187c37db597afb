import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { evaluateOpenBandit } from '../../../scripts/evaluate/ope-open-bandit.ts';
import { banditTable } from '../../../scripts/evaluate/ope-table.ts';
import { seededRandom } from '../../../src/rerank/seeded-random.ts';

const OPTIONS = { seed: 1, resamples: 200 };
const ITEMS = 12;
/** Click rate of an item at a position: 1 % to 34 %, halved below. */
const rateOf = (item: number, position: number) => (0.01 + 0.03 * item) / position;

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-bandit-'));
});

afterEach(() => rm(dir, { recursive: true }));

/** Draws a log: `probabilities` of the items; the random policy when absent. */
async function writeLog(
  policy: string,
  rows: number,
  seed: number,
  probabilities = new Array(ITEMS).fill(1 / ITEMS),
  edit: (lines: string[]) => void = () => {},
): Promise<void> {
  const random = seededRandom(seed);
  const lines = [',timestamp,item_id,position,click,propensity_score'];
  for (let row = 0; row < rows; row++) {
    let left = random();
    let item = 0;
    while (item < ITEMS - 1 && (left -= probabilities[item]) >= 0) item++;
    const position = 1 + Math.floor(random() * 2);
    const click = random() < rateOf(item, position) ? 1 : 0;
    lines.push(`${row},2019-11-24 00:00:00,${item},${position},${click},${probabilities[item]}`);
  }
  edit(lines);
  const folder = join(dir, policy, 'demo');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'demo.csv'), `${lines.join('\n')}\n`);
  const items = Array.from({ length: ITEMS }, (_, item) => `${item},${item},0.5`);
  await writeFile(join(folder, 'item_context.csv'), `${[',item_id,item_feature_0', ...items].join('\n')}\n`);
}

/** Prefers the items that click most: its own mean is far above the random policy's. */
const GREEDY = Array.from({ length: ITEMS }, (_, item) => (item + 0.2) / 68.4);

describe('a folder in Open Bandit’s layout', () => {
  test('gives the random policy’s value from a greedy log, and the greedy one’s from the random log', async () => {
    await writeLog('random', 6000, 1);
    await writeLog('bts', 6000, 2, GREEDY);
    const [forward, reverse] = await evaluateOpenBandit(dir, OPTIONS);
    expect(forward).toMatchObject({ campaign: 'demo', from: 'bts', of: 'random', rows: 6000, items: ITEMS });
    for (const errors of Object.values({ ...forward.errors, ...reverse.errors })) {
      expect(Math.abs(errors)).toBeLessThan(3);
    }
    expect(forward.covered?.snips).toBe(true);
    expect(forward.warnings).toEqual([]);
    expect(reverse).toMatchObject({ from: 'random', of: 'bts' });
    expect(reverse.covered?.snips).toBe(true);
    // The two policies are far apart: no interval of the one holds the value of the other.
    expect(forward.estimates.snips.high).toBeLessThan(reverse.truth!.value);
    expect(reverse.estimates.snips.low).toBeGreaterThan(forward.truth!.value);
    expect(banditTable([forward])).toMatch(/SNIPS +0\.1\d+ +\[0\.1\d+, 0\.1\d+\] +covers the truth/);
  });

  test('without the random policy’s log there is an estimate and no truth', async () => {
    await writeLog('bts', 2000, 2, GREEDY);
    const results = await evaluateOpenBandit(dir, OPTIONS);
    expect(results).toHaveLength(1);
    expect(results[0]).toMatchObject({ truth: null, covered: null });
    expect(results[0].estimates.snips.value).toBeGreaterThan(0);
  });

  test('says which part of the policy the log has never shown', async () => {
    const half = GREEDY.map((_, item) => (item < 6 ? 0 : 1 / 6));
    await writeLog('bts', 3000, 2, half);
    const [{ warnings }] = await evaluateOpenBandit(dir, OPTIONS);
    expect(warnings[0]).toBe('6 items, 50.0 % of what the policy shows, are not in the log at all');
    expect(warnings[1]).toMatch(/mean weight is 0\.5/);
  });

  test('reads the column name of the description too', async () => {
    await writeLog('bts', 500, 2, GREEDY, (lines) => {
      lines[0] = lines[0].replace('propensity_score', 'action_prob');
    });
    expect((await evaluateOpenBandit(dir, OPTIONS))[0].rows).toBe(500);
  });
});

describe('a log that cannot be right is refused with its row and field', () => {
  const cases: [string, (lines: string[]) => void][] = [
    ['row 3: propensity_score must be above 0 and at most 1, is 0', (lines) => edit(lines, 5, '0')],
    ['row 3: propensity_score must be above 0 and at most 1, is ', (lines) => edit(lines, 5, '')],
    ['row 3: propensity_score must be above 0 and at most 1, is NaN', (lines) => edit(lines, 5, 'NaN')],
    ['row 3: click must be 0 or 1, is 2', (lines) => edit(lines, 4, '2')],
    ['row 3: position must be an integer from 1 to 100, is 0', (lines) => edit(lines, 3, '0')],
    ['row 3: item_id 99 is not in item_context.csv', (lines) => edit(lines, 2, '99')],
    ['row 3: (row) has 5 fields, the header has 6', (lines) => lines.splice(3, 1, '0,x,1,1,0')],
    [
      'propensity_score or action_prob is missing',
      (lines) => lines.splice(0, 1, ',timestamp,item_id,position,click,p'),
    ],
    [
      'column click is missing',
      (lines) => lines.splice(0, 1, ',timestamp,item_id,position,clicked,propensity_score'),
    ],
    ['holds no rows', (lines) => lines.splice(1)],
  ];

  function edit(lines: string[], column: number, value: string): void {
    const fields = lines[3].split(',');
    fields[column] = value;
    lines[3] = fields.join(',');
  }

  test.each(cases)('%s', async (reason, change) => {
    await writeLog('bts', 20, 2, GREEDY, change);
    await expect(evaluateOpenBandit(dir, OPTIONS)).rejects.toThrow(reason);
  });

  test('a folder without logs, and one with the random log alone', async () => {
    await expect(evaluateOpenBandit(dir, OPTIONS)).rejects.toThrow('holds no <policy>/<campaign>');
    await writeLog('random', 20, 1);
    await expect(evaluateOpenBandit(dir, OPTIONS)).rejects.toThrow('nothing to estimate from');
  });
});

const real = process.env.FEEDRANK_DATA ? join(process.env.FEEDRANK_DATA, 'open-bandit') : '';

describe('the published logs (FEEDRANK_DATA)', () => {
  test.skipIf(!existsSync(real))(
    existsSync(real)
      ? 'cover the random policy’s value from the BTS log, men and women'
      : 'skipped: FEEDRANK_DATA names no folder with open-bandit',
    async () => {
      const results = await evaluateOpenBandit(real, { seed: 1, resamples: 500 });
      const forward = results.filter(({ of }) => of === 'random');
      expect(forward.map(({ campaign }) => campaign)).toEqual(['men', 'women']);
      for (const { covered, truth, campaign, estimates } of forward) {
        expect(truth?.value).toBeCloseTo(0.0046, 6);
        expect(covered).toEqual({ ips: true, snips: true, dr: true, sndr: true });
        const file = join(real, 'bts', campaign, `${campaign}.csv`);
        const [header, ...lines] = (await readFile(file, 'utf8')).trim().split('\n');
        const at = ['click', 'propensity_score'].map((name) => header.split(',').indexOf(name));
        // IPS once more, straight from the file.
        const items = campaign === 'men' ? 34 : 46;
        const ips = lines.reduce((sum, line) => {
          const [click, propensity] = at.map((column) => Number(line.split(',')[column]));
          return sum + click * Math.min(100, 1 / items / propensity);
        }, 0);
        expect(estimates.ips.value).toBeCloseTo(ips / lines.length, 9);
      }
    },
  );
});
