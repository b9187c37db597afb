import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { opeCommand } from '../../../scripts/evaluate/ope.ts';
import { execute } from '../../../scripts/import/command.ts';

const dir = mkdtempSync(join(tmpdir(), 'feedrank-ope-'));
writeFileSync(join(dir, 'weights.json'), '{"like": "much"}');

afterAll(() => rmSync(dir, { recursive: true }));

async function ope(...argv: string[]) {
  const said = { out: '', error: '' };
  const code = await execute(opeCommand, argv, {
    out: (text) => {
      said.out += text;
    },
    error: (text) => {
      said.error += text;
    },
  });
  return { code, ...said };
}

test.each([
  [2, 'either --logs DIR or --serving-log is required', []],
  [2, 'either --logs DIR or --serving-log is required', ['--logs', dir, '--serving-log']],
  [2, 'no such folder', ['--logs', join(dir, 'absent')]],
  [2, '--depth belongs to --serving-log', ['--logs', dir, '--depth', '3']],
  [2, '--resamples must be an integer from 100', ['--logs', dir, '--resamples', '7']],
  [2, '--depth must be an integer from 1', ['--serving-log', '--depth', '0', '--data-dir', dir]],
  [2, 'unknown head', ['--serving-log', '--weights', '{"shares": 1}', '--data-dir', dir]],
  [
    2,
    'weights.like: must be a number',
    ['--serving-log', '--weights', join(dir, 'weights.json'), '--data-dir', dir],
  ],
  [2, '--weights: ENOENT', ['--serving-log', '--weights', 'like=3', '--data-dir', dir]],
  [2, 'no such folder', ['--serving-log', '--data-dir', join(dir, 'absent')]],
  [2, 'Unknown option', ['--frob']],
  [1, 'holds no <policy>/<campaign>/<campaign>.csv', ['--logs', dir]],
])('bad input ends with code %i and one line: %s', async (expected, reason, argv) => {
  const { code, error, out } = await ope(...argv);
  expect(code).toBe(expected);
  expect(error).toContain(reason);
  expect(error.trim().split('\n')).toHaveLength(1);
  expect(out).toBe('');
});

test('the help names every flag', async () => {
  const { code, out } = await ope('--help');
  expect(code).toBe(0);
  for (const flag of Object.keys(opeCommand.flags)) expect(out).toContain(`--${flag}`);
});
