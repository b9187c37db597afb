import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nextVersion, promote, registerModel } from '../../../scripts/train/model-versions.ts';
import { promotedVersion } from '../../../src/ranking/model-registry.ts';

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-versions-'));
});

afterEach(() => rm(dir, { recursive: true }));

async function have(...folders: string[]): Promise<void> {
  for (const folder of folders) await mkdir(join(dir, folder), { recursive: true });
}

describe('model versions', () => {
  it('gives models that are trained together one new number', async () => {
    expect(await nextVersion(dir, ['ranker', 'ranker-light'])).toBe('1');
    await have('ranker/2', 'ranker-light/9', 'ranker-light/.10.123');
    expect(await nextVersion(dir, ['ranker', 'ranker-light'])).toBe('10');
  });

  it('serves the new version, pinned or not', async () => {
    await have('ranker/1', 'ranker/2');
    await promote(dir, 'ranker', '2', true);
    expect(await promotedVersion(dir, 'ranker')).toBe('2');
    await writeFile(join(dir, 'ranker/current'), '1\n');
    await promote(dir, 'ranker', '2', true);
    expect(await promotedVersion(dir, 'ranker')).toBe('2');
  });

  it('goes on serving the version before when the new one is not to be promoted', async () => {
    await have('ranker/1', 'ranker/3');
    await promote(dir, 'ranker', '3', false);
    expect(await readFile(join(dir, 'ranker/current'), 'utf8')).toBe('1\n');
    await have('ranker/4');
    await promote(dir, 'ranker', '4', false);
    expect(await promotedVersion(dir, 'ranker')).toBe('1');
  });

  it('serves a first version even when it is not to be promoted', async () => {
    await have('ranker/1');
    await promote(dir, 'ranker', '1', false);
    expect(await promotedVersion(dir, 'ranker')).toBe('1');
  });

  it('takes a finished version in without serving it, not even for a moment', async () => {
    await have('ranker/1', 'staged/ranker/2');
    await registerModel(dir, join(dir, 'staged'), 'ranker', '2', false);
    expect(await readdir(join(dir, 'ranker'))).toEqual(expect.arrayContaining(['1', '2', 'current']));
    expect(await promotedVersion(dir, 'ranker')).toBe('1');
    await have('staged/ranker/3');
    await registerModel(dir, join(dir, 'staged'), 'ranker', '3', true);
    expect(await promotedVersion(dir, 'ranker')).toBe('3');
  });
});
