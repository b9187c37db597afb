import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emptyRetrieved } from '../../src/candidates/retrieved.ts';
import { type PipelineParts, runPipeline } from '../../src/pipeline.ts';
import { openRanker } from '../../src/ranking/model-registry.ts';
import type { OnnxRanker } from '../../src/ranking/onnx-ranker.ts';
import { RankerLadder } from '../../src/ranking/ranker-ladder.ts';
import { ValueModel } from '../../src/ranking/value-model.ts';
import { parseRules } from '../../src/rerank/rules-config.ts';
import { CANDIDATES, CATALOGUE, inTime, QUERY } from './ranking/ranking-world.ts';
import { writeTinyModel } from './ranking/tiny-model.ts';

const KEPT = 100;
let dir: string;
let main: OnnxRanker;
let light: OnnxRanker;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-pipeline-'));
  await writeTinyModel(dir);
  await writeTinyModel(dir, { name: 'ranker-light' });
  main = await openRanker(dir, 'ranker', 'cpu');
  light = await openRanker(dir, 'ranker-light', 'cpu');
});

afterAll(async () => {
  await main.release();
  await light.release();
  await rm(dir, { recursive: true });
});

function answer(preRank: number) {
  const retriever = { retrieve: () => ({ ...emptyRetrieved(), candidates: CANDIDATES }) };
  const parts: PipelineParts = {
    catalogue: CATALOGUE,
    retriever: retriever as unknown as PipelineParts['retriever'],
    ladder: new RankerLadder({ main, light, preRank }),
    value: new ValueModel(),
    search: 'none',
    rules: parseRules({}),
    rulesVersion: 'default',
    pinned: new Uint32Array(0),
  };
  return runPipeline({ ...QUERY, deadlineAtMs: inTime(), slateSize: 300, explain: 1 }, parts);
}

describe('a pre-ranked request', () => {
  it('tells which model gave each post its probabilities, how many the main one saw and what the stage took', async () => {
    const { posts, counts, stageMs, model, degraded } = await answer(KEPT);
    expect([model, degraded]).toEqual(['ranker@1', []]);
    expect(counts).toMatchObject({ ranked: CANDIDATES.size, preRanked: KEPT });
    expect(stageMs.prerank).toBeGreaterThan(0);
    expect(stageMs.rank).toBeGreaterThan(0);
    // Both models are the same network here, so that the main one saw the first of the order.
    expect(posts.length).toBeGreaterThan(KEPT);
    for (const { explain } of posts) {
      expect(explain!.rankedBy).toBe(explain!.rankedPosition < KEPT ? 'ranker@1' : 'ranker-light@1');
    }
  });

  it('is not told of where the main model ranked everything', async () => {
    const { posts, counts, stageMs } = await answer(0);
    expect(counts.preRanked).toBeUndefined();
    expect(stageMs.prerank).toBeUndefined();
    expect(new Set(posts.map(({ explain }) => explain!.rankedBy))).toEqual(new Set(['ranker@1']));
  });
});
