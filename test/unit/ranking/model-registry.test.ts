import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRanker, promotedFolder, promotedVersion } from '../../../src/ranking/model-registry.ts';
import { writeTinyModel } from './tiny-model.ts';

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-models-'));
});

afterEach(() => rm(dir, { recursive: true }));

describe('model registry', () => {
  it('promotes the highest version by number, not by name', async () => {
    for (const version of ['2', '10', '9']) await writeTinyModel(dir, { version });
    await writeFile(join(dir, 'ranker', '.11.4242'), 'a half-written version');
    expect(await promotedVersion(dir, 'ranker')).toBe('10');
  });

  it('follows `current` where there is one', async () => {
    for (const version of ['1', '2']) await writeTinyModel(dir, { version });
    await writeFile(join(dir, 'ranker', 'current'), '1\n');
    expect(await promotedVersion(dir, 'ranker')).toBe('1');
    expect(await promotedFolder(dir, 'ranker')).toBe(join(dir, 'ranker', '1'));
    const ranker = await openRanker(dir, 'ranker', 'cpu');
    expect(ranker.model).toBe('ranker@1');
    await ranker.release();
  });

  it('refuses a `current` that names no version', async () => {
    await writeTinyModel(dir);
    await writeFile(join(dir, 'ranker', 'current'), '../../secret');
    await expect(promotedVersion(dir, 'ranker')).rejects.toMatchObject({ code: 'corrupt_artifact' });
  });
});
