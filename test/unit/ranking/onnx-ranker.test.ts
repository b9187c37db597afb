import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { FeatureEncoder } from '../../../src/features/feature-encoder.ts';
import { compilePlan } from '../../../src/features/feature-schema.ts';
import { loadModelArtifact } from '../../../src/features/model-artifact.ts';
import { OnnxRanker } from '../../../src/ranking/onnx-ranker.ts';
import { ValueModel } from '../../../src/ranking/value-model.ts';
import { steadyNow } from '../../../src/steady-clock.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { NOW_MS, rowRange, testUser } from '../features/catalogue.ts';
import { CANDIDATES, CATALOGUE, candidatesOf, inTime, QUERY } from './ranking-world.ts';
import { TINY_FEATURES, writeTinyModel } from './tiny-model.ts';

const VALUE = new ValueModel();
let dir: string;
let ranker: OnnxRanker;

async function open(folder: string): Promise<OnnxRanker> {
  return OnnxRanker.open(await loadModelArtifact(folder), 'cpu');
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-ranker-'));
  ranker = await open(await writeTinyModel(dir));
});

afterAll(async () => {
  await ranker.release();
  await rm(dir, { recursive: true });
});

describe('onnx ranker', () => {
  it('gives the probabilities that the model defines, by falling value', async () => {
    const ranked = await ranker.score(QUERY, CATALOGUE, CANDIDATES, inTime(), VALUE);
    expect(ranked.model).toBe('ranker@1');
    expect(ranked.size).toBe(600);
    expect([...ranked.rows].sort((a, b) => a - b)).toEqual([...rowRange(0, 600)]);
    const plan = compilePlan(TINY_FEATURES);
    const encoder = new FeatureEncoder(plan);
    const features = new Float32Array(plan.width);
    encoder.begin(QUERY.user, CATALOGUE, { nowMs: NOW_MS });
    for (const at of [0, 1, 299, 599]) {
      encoder.encode(CATALOGUE, ranked.rows, at, at + 1, features);
      for (let h = 0; h < HEADS.length; h++) {
        const logit = features.reduce(
          (sum, x, d) => sum + x * Math.sin((d * HEADS.length + h) * 1.7) * 0.6,
          0,
        );
        expect(ranked.probabilities![at * HEADS.length + h]).toBeCloseTo(1 / (1 + Math.exp(-logit)), 5);
      }
      expect(ranked.scores[at]).toBeCloseTo(VALUE.scoreAt(ranked.probabilities!, at * HEADS.length), 5);
      expect(CANDIDATES.rows[ranked.candidate[at]]).toBe(ranked.rows[at]);
    }
    for (let i = 1; i < ranked.size; i++) {
      expect(ranked.scores[i]).toBeLessThanOrEqual(ranked.scores[i - 1]);
    }
  });

  it('ranks again soon after its process was stopped for half a minute in the middle of a run', async () => {
    const own = await open(await writeTinyModel(dir));
    const now = performance.now.bind(performance);
    let stoppedMs = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now() + stoppedMs);
    const asked = () => own.score(QUERY, CATALOGUE, CANDIDATES, steadyNow() + 200, VALUE);
    const stopped = own.score(QUERY, CATALOGUE, CANDIDATES, steadyNow() + 60_000, VALUE);
    // After its first look at the clock.
    await Promise.resolve().then(() => {});
    stoppedMs = 30_000;
    await stopped;
    let refused = 0;
    while (refused < 1000 && (await asked().catch(() => null)) === null) refused++;
    vi.restoreAllMocks();
    await own.release();
    expect(refused).toBeLessThan(50);
  });

  it('scores a candidate the same alone, in a small batch and in a large one', async () => {
    const large = await ranker.score(QUERY, CATALOGUE, candidatesOf(rowRange(0, 1001)), inTime(), VALUE);
    const scoreOf = new Map(Array.from(large.rows, (row, i) => [row, large.scores[i]]));
    for (const rows of [[0], [17], [1000], [5, 900, 3], [...rowRange(300, 553)]]) {
      const ranked = await ranker.score(
        QUERY,
        CATALOGUE,
        candidatesOf(Uint32Array.from(rows)),
        inTime(),
        VALUE,
      );
      for (let i = 0; i < ranked.size; i++) {
        expect(Math.abs(ranked.scores[i] - scoreOf.get(ranked.rows[i])!)).toBeLessThan(1e-6);
      }
    }
  });

  it('answers requests that come at once as if they came one by one', async () => {
    const other = { ...QUERY, user: testUser([], 77) };
    const candidates = candidatesOf(rowRange(0, 1000));
    const one = await ranker.score(QUERY, CATALOGUE, candidates, inTime(), VALUE);
    const two = await ranker.score(other, CATALOGUE, candidates, inTime(), VALUE);
    const [first, second] = await Promise.all([
      ranker.score(QUERY, CATALOGUE, candidates, inTime(), VALUE),
      ranker.score(other, CATALOGUE, candidates, inTime(), VALUE),
    ]);
    expect(first.scores).toEqual(one.scores);
    expect(second.scores).toEqual(two.scores);
    expect(first.scores).not.toEqual(second.scores);
  });

  it('ranks no candidates into an empty set', async () => {
    const ranked = await ranker.score(QUERY, CATALOGUE, candidatesOf(new Uint32Array(0)), inTime(), VALUE);
    expect(ranked.size).toBe(0);
  });

  it('gives up with a timeout when the deadline has passed', async () => {
    const late = ranker.score(QUERY, CATALOGUE, CANDIDATES, Date.now() - 1, VALUE);
    await expect(late).rejects.toMatchObject({ code: 'timeout' });
    const next = await ranker.score(QUERY, CATALOGUE, CANDIDATES, inTime(), VALUE);
    expect(next.size).toBe(600);
  });

  it('refuses to serve a model that gives NaN', async () => {
    const width = compilePlan(TINY_FEATURES).width;
    const weights = new Float32Array(width * HEADS.length).fill(Number.NaN);
    const folder = await writeTinyModel(join(dir, 'nan'), { weights });
    await using broken = await disposable(open(folder));
    const work = broken.ranker.score(QUERY, CATALOGUE, CANDIDATES, inTime(), VALUE);
    await expect(work).rejects.toMatchObject({ code: 'unavailable', message: 'ranker@1 gave NaN for click' });
  });

  it('refuses a flipped byte, an unknown feature, other heads and a failed golden probe', async () => {
    const flipped = await writeTinyModel(join(dir, 'flipped'));
    const bytes = await readFile(join(flipped, 'model.onnx'));
    bytes[bytes.length >> 1] ^= 1;
    await writeFile(join(flipped, 'model.onnx'), bytes);
    await expect(open(flipped)).rejects.toMatchObject({ code: 'corrupt_artifact' });

    const unknown = await writeTinyModel(join(dir, 'unknown'), { features: ['mood@1'] });
    await expect(open(unknown)).rejects.toThrow('unknown feature "mood@1"');

    const heads = await writeTinyModel(join(dir, 'heads'), { heads: ['click'] });
    await expect(open(heads)).rejects.toThrow('heads: must be click, like');

    const golden = await writeTinyModel(join(dir, 'golden'), { golden: 0.123 });
    await expect(open(golden)).rejects.toMatchObject({ code: 'corrupt_artifact' });
  });

  it('names the execution provider that cannot run the model', async () => {
    const artifact = await loadModelArtifact(await writeTinyModel(join(dir, 'cuda')));
    const refused = await OnnxRanker.open(artifact, 'cuda').then(
      (opened) => opened.release(),
      (error) => error,
    );
    if (refused === undefined) {
      console.log('skipped: this machine has the CUDA provider');
      return;
    }
    expect(refused).toMatchObject({ code: 'unavailable' });
    expect(refused.message).toMatch(/^execution provider cuda cannot run ranker@1: /);
  });
});

async function disposable(opening: Promise<OnnxRanker>) {
  const opened = await opening;
  return { ranker: opened, [Symbol.asyncDispose]: () => opened.release() };
}
