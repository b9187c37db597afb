// In a process of its own: the settings are of the whole process, and must take before it has grown.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';

it('keeps the main thread’s young generation small, leaves a worker’s as it is, and V8’s helpers come second', () => {
  const script = resolve(import.meta.dirname, 'garbage-collection-process.ts');
  const root = resolve(import.meta.dirname, '../..');
  const { start } = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8')).scripts;
  const flags = ['--no-warnings', ...start.match(/--\S+/g)];
  const output = execFileSync(process.execPath, [...flags, script], { encoding: 'utf8' });
  const { main, worker, nice } = JSON.parse(output);
  expect(main).toBeGreaterThanOrEqual(4);
  expect(main).toBeLessThanOrEqual(16);
  expect(worker).toBeGreaterThanOrEqual(32);
  expect(new Set(nice)).toEqual(new Set(process.platform === 'linux' ? [getPriority() + 5] : []));
});
