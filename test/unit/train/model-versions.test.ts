import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nextVersion, registerModel } from '../../../scripts/train/model-versions.ts';
import { modelState, readHistory, readRolloutState } from '../../../src/ranking/lifecycle/stage-file.ts';
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

  it.each([null, '1'])(
    'promotes the new version where %s is pinned, and knows the way back',
    async (pinned) => {
      await have('ranker/1', 'ranker/2', 'staged/ranker/3');
      if (pinned !== null) await writeFile(join(dir, 'ranker/current'), `${pinned}\n`);
      await registerModel(dir, join(dir, 'staged'), 'ranker', '3', true);
      expect(await promotedVersion(dir, 'ranker')).toBe('3');
      const before = pinned ?? '2';
      expect(modelState(await readRolloutState(dir), 'ranker').previous).toBe(before);
      expect(await readHistory([dir])).toMatchObject([
        { action: 'promoted', version: '3', from: before, by: 'trainer' },
      ]);
    },
  );

  it('serves a first version, promoted or not, without a word of it', async () => {
    await have('staged/ranker/1', 'staged/ranker-light/1');
    await registerModel(dir, join(dir, 'staged'), 'ranker', '1', true);
    await registerModel(dir, join(dir, 'staged'), 'ranker-light', '1', false);
    for (const name of ['ranker', 'ranker-light']) {
      expect(await promotedVersion(dir, name)).toBe('1');
      expect(await readdir(join(dir, name))).toEqual(['1']);
    }
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
