import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openWorkFolder } from '../../../scripts/train/work-folder.ts';

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-work-'));
});

afterEach(() => rm(dir, { recursive: true }));

describe('work folder of a training', () => {
  it('is the same for the same data and flags, another for others', async () => {
    const first = await openWorkFolder(dir, { seed: 1 });
    expect(first.resumed).toBe(false);
    await writeFile(join(first.dir, 'half'), '');
    await first.release(false);
    const other = await openWorkFolder(dir, { seed: 2 });
    expect(other.resumed).toBe(false);
    await other.release(true);
    const again = await openWorkFolder(dir, { seed: 1 });
    expect(again.resumed).toBe(true);
    expect(await readdir(again.dir)).toContain('half');
    await again.release(true);
    expect(await readdir(dir)).toEqual([]);
  });

  it('is refused while the process that holds it lives, and taken over when that was killed', async () => {
    const holder = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    const made = await openWorkFolder(dir, {});
    const lock = join(made.dir, 'pid');
    await writeFile(lock, String(holder.pid));
    await expect(openWorkFolder(dir, {})).rejects.toThrow(`process ${holder.pid} trains on the same data`);
    holder.kill('SIGKILL');
    await once(holder, 'close');
    const taken = await openWorkFolder(dir, {});
    expect(await readFile(lock, 'utf8')).toBe(String(process.pid));
    await taken.release(true);
    expect(existsSync(made.dir)).toBe(false);
  });
});
