import { spawn, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CtrResult } from '../../../scripts/evaluate/ctr-table.ts';
import { mulberry32 } from '../../../scripts/evaluate/retrieval-data.ts';

const SCRIPT = resolve(import.meta.dirname, '../../../scripts/evaluate/ctr.ts');
const PYTHON = process.env.FEEDRANK_PYTHON;
const REASON = PYTHON ? '' : ' (skipped: FEEDRANK_PYTHON is not set)';
/** Users' and items' tastes are ±1: a click is likely where they agree, which no sum over features can say. */
const USERS = 12;
const ITEMS = 10;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'feedrank-ctr-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function clicks(rows: number, seed: number, extra: (row: number) => string = () => ''): string {
  const random = mulberry32(seed);
  let text = '';
  for (let row = 0; row < rows; row++) {
    const user = Math.floor(random() * USERS);
    const item = Math.floor(random() * ITEMS);
    const clicked = random() < (user % 2 === item % 2 ? 0.9 : 0.1);
    text += `${clicked ? 1 : -1} ${user}:1 ${100 + item}:1${extra(row)}\n`;
  }
  return text;
}

async function makeFolder(name: string, files: Record<string, string>): Promise<string> {
  const path = join(folder, name);
  await mkdir(path, { recursive: true });
  for (const [file, text] of Object.entries(files)) await writeFile(join(path, `${file}.libfm`), text);
  return path;
}

/** Stands in for Python where the command must fail before it needs one. */
function run(args: string[]) {
  const env = { ...process.env, FEEDRANK_PYTHON: process.execPath };
  return spawnSync(process.execPath, [SCRIPT, ...args], { encoding: 'utf8', env });
}

function train(args: string[]): Promise<number | null> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [SCRIPT, ...args], { stdio: 'ignore' });
    child.on('close', done);
  });
}

describe('evaluate ctr, command line', () => {
  it.each([
    [[], /^--path DIR is required \(see --help\)\n$/],
    [['--path', '/no/such/folder'], /^--path \/no\/such\/folder: no such folder/],
    [
      ['--path', '.', '--budget-minutes', '0'],
      /^--budget-minutes must be a number from 0.1 to 1440, not "0"/,
    ],
    [['--path', '.', '--threads', 'two'], /^--threads must be an integer from 1 to 256, not "two"/],
    [['--path', '.', '--fast'], /^Unknown option '--fast'/],
  ])('refuses %j in one line', (args, reason) => {
    const { status, stderr } = run(args);
    expect(status).toBe(2);
    expect(stderr).toMatch(reason);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('names the file that is missing', async () => {
    const path = await makeFolder('incomplete', { train: clicks(10, 1), test: clicks(10, 2) });
    const { status, stderr } = run(['--path', path]);
    expect(status).toBe(1);
    expect(stderr).toBe(`${join(path, 'validation.libfm')}: no such file\n`);
  });

  it('names file and line of a bad token before anything is trained', async () => {
    const files = { train: clicks(10, 1), validation: '1 1:1\n0 1:NaN\n', test: clicks(10, 2) };
    const path = await makeFolder('garbage', files);
    const { status, stderr } = run(['--path', path]);
    expect(status).toBe(1);
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(/validation\.libfm, line 2: '1:NaN' has a value/);
  });
});

describe.skipIf(!PYTHON)(`evaluate ctr, training${REASON}`, () => {
  it('learns crossed tastes from columns, beats LR, and reports every model once', async () => {
    const files = { train: clicks(3000, 1), validation: clicks(600, 2), test: clicks(600, 3) };
    const path = await makeFolder('columns', files);
    const json = join(folder, 'columns.json');
    expect(await train(['--path', path, '--budget-minutes', '0.2', '--threads', '1', '--json', json])).toBe(
      0,
    );
    const result = JSON.parse(await readFile(json, 'utf8')) as CtrResult & {
      data: { structure: string; fields: number; unseenShare: Record<string, number> };
    };
    expect(result.data).toMatchObject({ structure: 'columns', fields: 2 });
    expect(result.data.unseenShare.test).toBe(0);
    const names = result.architectures.map(({ name }) => name).sort();
    expect(names).toEqual(['DCN-v2', 'FinalMLP', 'MLP', 'MaskNet']);
    const floor = Object.fromEntries(result.floors.map((model) => [model.name, model.test]));
    expect(floor.constant.auc).toBe(0.5);
    expect(floor.LR.auc).toBeLessThan(0.7);
    expect(result.auc).toBeGreaterThan(0.8);
    expect(result.logloss).toBeLessThan(floor.constant.logloss);
    expect(result.lightgbm.test.auc).toBeGreaterThan(0.8);
    // The headline is the model that is best on validation, not the one that is best on the test.
    const headline = result.ensemble ?? result.single;
    expect(result).toMatchObject({ ...headline.test, architecture: headline.name });
    const best = Math.max(...result.architectures.map(({ validation }) => validation.auc));
    expect(headline.validation.auc).toBeGreaterThanOrEqual(best);
  }, 120_000);

  it.each([
    // One of each field, some absent: ranges of ids. Pairs out of one set: a bag.
    ['ranges', (row: number) => ` 5000:0.${row % 7}${row % 3 ? ` ${10 ** 14 + (row % 5)}:1` : ''}`],
    ['bag', (row: number) => [2, 3, 5, 7, 11].map((n) => ` ${10 ** 14 + ((row * n) % 31)}:2`).join('')],
  ])(
    'takes rows that are %s, with huge ids, values and ids that training never saw',
    async (structure, more) => {
      const files = {
        train: clicks(400, 1, more),
        validation: clicks(100, 2, more),
        test: clicks(100, 3, (row) => ` ${900000 + row}:1`),
      };
      const path = await makeFolder(structure, files);
      const json = join(folder, `${structure}.json`);
      expect(await train(['--path', path, '--budget-minutes', '0.1', '--threads', '1', '--json', json])).toBe(
        0,
      );
      const result = JSON.parse(await readFile(json, 'utf8'));
      expect(result.data.structure).toBe(structure);
      expect(result.data.unseenShare.test).toBeCloseTo(1 / 3);
      for (const { test } of [{ test: result }, ...result.architectures, ...result.floors, result.lightgbm]) {
        expect([test.auc, test.logloss, test.ece].every(Number.isFinite)).toBe(true);
      }
    },
    120_000,
  );
});
