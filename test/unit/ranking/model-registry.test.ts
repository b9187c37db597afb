import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  openLadder,
  openRanker,
  promotedFolder,
  promotedVersion,
} from '../../../src/ranking/model-registry.ts';
import type { OnnxRanker } from '../../../src/ranking/onnx-ranker.ts';
import type { RankerLadder } from '../../../src/ranking/ranker-ladder.ts';
import { ValueModel } from '../../../src/ranking/value-model.ts';
import { CANDIDATES, CATALOGUE, inTime, QUERY } from './ranking-world.ts';
import { TINY_FEATURES, writeTinyModel } from './tiny-model.ts';

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-models-'));
});

afterEach(() => rm(dir, { recursive: true }));

async function release({ models }: RankerLadder): Promise<void> {
  await (models.main as OnnxRanker | null)?.release();
  await (models.light as OnnxRanker | null)?.release();
}

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

  it('says when there is no model at all, and still ranks', async () => {
    const { ladder, problems, models } = await openLadder({ modelsDir: dir, provider: 'cpu' });
    expect(models).toEqual([]);
    expect(problems).toHaveLength(2);
    expect(problems[0]).toContain('model ranker: no version');
    const outcome = await ladder.rank(QUERY, CATALOGUE, CANDIDATES, inTime(), new ValueModel());
    expect(outcome.ranked.model).toBe('retrieval');
  });

  it('serves the light model when the main one is corrupt', async () => {
    const folder = await writeTinyModel(dir);
    await writeFile(join(folder, 'model.onnx'), 'not a model');
    await writeTinyModel(dir, { name: 'ranker-light' });
    const { ladder, problems, models } = await openLadder({ modelsDir: dir, provider: 'cpu' });
    expect(models).toEqual(['ranker-light@1 on cpu']);
    expect(problems[0]).toContain('model.onnx');
    const outcome = await ladder.rank(QUERY, CATALOGUE, CANDIDATES, inTime(), new ValueModel());
    expect(outcome.ranked.model).toBe('ranker-light@1');
    expect(outcome.degraded).toEqual(['ranker_missing']);
    await release(ladder);
  });

  it('falls down the ladder when the main model gives NaN', async () => {
    const weights = new Float32Array(12 * 6).fill(Number.NaN);
    await writeTinyModel(dir, { weights });
    await writeTinyModel(dir, { name: 'ranker-light' });
    const { ladder } = await openLadder({ modelsDir: dir, provider: 'cpu' });
    const outcome = await ladder.rank(QUERY, CATALOGUE, CANDIDATES, inTime(), new ValueModel());
    expect(outcome.ranked.model).toBe('ranker-light@1');
    expect(outcome.degraded).toEqual([
      outcome.errors[0].includes('warm') ? 'ranker_missing' : 'ranker_failed',
    ]);
    await release(ladder);
  });

  it('names a provider that is missing and serves on the CPU', async () => {
    await writeTinyModel(dir);
    await writeTinyModel(dir, { name: 'ranker-light' });
    const { ladder, problems, models } = await openLadder({ modelsDir: dir, provider: 'cuda' });
    if (models[0] === 'ranker@1 on cuda') console.log('skipped: this machine has the CUDA provider');
    else {
      expect(models).toEqual(['ranker@1 on cpu', 'ranker-light@1 on cpu']);
      expect(problems).toHaveLength(1);
      expect(problems[0]).toMatch(/^execution provider cuda cannot run ranker@1/);
    }
    await release(ladder);
  });

  it('serves a ranker of another post space with a warning, unless it reads single coordinates', async () => {
    await writeTinyModel(dir, { tower: 'post-tower@1' });
    const features = [...TINY_FEATURES, 'hadamard@1'];
    await writeTinyModel(dir, { name: 'ranker-light', tower: 'post-tower@1', features });
    const { ladder, problems, models } = await openLadder({
      modelsDir: dir,
      provider: 'cpu',
      tower: 'post-tower@2',
    });
    expect(models).toEqual(['ranker@1 on cpu']);
    expect(problems[0]).toContain('train it again');
    expect(problems[1]).toContain('not served');
    await release(ladder);
  });
});
