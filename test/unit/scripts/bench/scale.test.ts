import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { chooseRanker } from '../../../../scripts/bench/ranker-choice.ts';
import { benchScale, printScale } from '../../../../scripts/bench/scale.ts';
import { buildIndex } from '../../../../src/candidates/index/build.ts';
import { MAIN_RANKER, promotedFolder } from '../../../../src/ranking/model-registry.ts';
import { DIM } from '../../../../src/vocabulary.ts';
import { batchesOf, postOf, vectorsOf } from '../../candidates/index/seeded-posts.ts';

// Two processes build, load and search an index.
vi.setConfig({ testTimeout: 60_000 });

describe('bench -- scale', () => {
  it('builds, loads and searches a real index of each size', async () => {
    const [result] = await benchScale({ sizes: [25_000], seed: 1, graph: false });
    expect(result.posts).toBe(25_000);
    expect(result.fileMiB).toBeGreaterThan(8);
    expect(result.rssMiB).toBeGreaterThan(50);
    const [scan, lists] = result.searches;
    expect(scan).toMatchObject({ search: 'scan', recall: 1 });
    expect(lists.search).toMatch(/^lists, \d+ of \d+$/);
    expect(lists.recall).toBeGreaterThan(0.85);
  });

  it('measures an index of real posts in a row beside the generated sizes', async () => {
    const indexDir = mkdtempSync(join(tmpdir(), 'feedrank-scale-test-'));
    try {
      const vectors = vectorsOf(2000, 3, 20, 0.6);
      let at = 0;
      await buildIndex({
        indexDir,
        tower: 'post-tower@1',
        position: '1',
        posts: batchesOf(vectors.map((_, i) => postOf(i))),
        embed: async (batch) => {
          const out = new Float32Array(batch.length * DIM);
          for (let i = 0; i < batch.length; i++) out.set(vectors[at++], i * DIM);
          return out;
        },
        search: 'exact',
      });
      const [result] = await benchScale({ sizes: [], seed: 1, graph: false, index: indexDir });
      expect(result).toMatchObject({ posts: 2000, buildSeconds: null });
      expect(result.searches).toEqual([{ search: 'scan', ms: expect.anything(), recall: 1 }]);
      expect(printScale([result])).toMatch(/^2,000 posts: an index of real posts/);
    } finally {
      rmSync(indexDir, { recursive: true, force: true });
    }
  });

  it('refuses a size that the memory does not hold, before it begins', async () => {
    await expect(benchScale({ sizes: [2 ** 40], seed: 1, graph: false })).rejects.toThrow(
      /GiB, \d+ are free/,
    );
  });
});

describe('bench -- capacity --ranker', () => {
  it('puts another model, or one version, where the service looks, and refuses what is not there', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'feedrank-choice-'));
    try {
      const light = chooseRanker('models', 'ranker-light');
      expect(await promotedFolder(light.modelsDir, MAIN_RANKER)).toMatch(/ranker\/\d+$/);
      expect(await promotedFolder(light.modelsDir, 'post-tower')).toMatch(/post-tower\/\d+$/);
      light.remove();
      const version = chooseRanker('models', 'ranker@2');
      expect(await promotedFolder(version.modelsDir, MAIN_RANKER)).toBe(
        join(version.modelsDir, 'ranker', '2'),
      );
      version.remove();
      expect(chooseRanker('models', MAIN_RANKER).modelsDir).toBe('models');
      writeFileSync(join(folder, 'note'), '');
      expect(() => chooseRanker(folder, 'nothing')).toThrow('there is no nothing');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
