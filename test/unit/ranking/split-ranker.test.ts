import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compilePlan } from '../../../src/features/feature-schema.ts';
import { loadModelArtifact, type ModelArtifact } from '../../../src/features/model-artifact.ts';
import { checkRanker } from '../../../src/ranking/onnx-model-check.ts';
import { OnnxRanker } from '../../../src/ranking/onnx-ranker.ts';
import { ValueModel } from '../../../src/ranking/value-model.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { rowRange, testUser } from '../features/catalogue.ts';
import { CATALOGUE, candidatesOf, inTime, QUERY } from './ranking-world.ts';
import { writeTinyModel } from './tiny-model.ts';

const VALUE = new ValueModel();
const PER_REQUEST = ['user_mix@1', 'user_follows@1', 'context_hour@1'];
const FEATURES = [...PER_REQUEST, 'user_similarity@1', 'post_rates@1', 'author_affinity@1', 'post_age@1'];
const SLOW = 512;

let dir: string;
let artifact: ModelArtifact;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-split-'));
  artifact = await loadModelArtifact(
    await writeTinyModel(dir, { features: FEATURES, perRequest: PER_REQUEST, preRank: 250 }),
  );
});

afterAll(() => rm(dir, { recursive: true }));

async function rank(ranker: OnnxRanker, rows: Uint32Array, query = QUERY) {
  const ranked = await ranker.score(query, CATALOGUE, candidatesOf(rows), inTime(), VALUE);
  return new Map(Array.from(ranked.rows, (row, i) => [row, ranked.scores[i]]));
}

describe('a ranker whose request is an input of its own', () => {
  it('scores as the same network does that reads it with every candidate', async () => {
    const whole = await OnnxRanker.open(
      await loadModelArtifact(await writeTinyModel(dir, { version: '2', features: FEATURES })),
      'cpu',
    );
    const split = await OnnxRanker.open(artifact, 'cpu');
    expect(split.preRank).toBe(250);
    for (const query of [QUERY, { ...QUERY, user: testUser([], 77) }]) {
      const expected = await rank(whole, rowRange(0, 700), query);
      const found = await rank(split, rowRange(0, 700), query);
      for (const [row, score] of expected) expect(Math.abs(found.get(row)! - score)).toBeLessThan(1e-5);
      const alone = await rank(split, rowRange(311, 312), query);
      expect(Math.abs(alone.get(311)! - found.get(311)!)).toBeLessThan(1e-6);
    }
    await whole.release();
    await split.release();
  });

  it('passes the check of a new version', async () => {
    const { model } = await checkRanker({ modelsDir: dir, name: 'ranker', version: '1' });
    expect(model).toBe('ranker@1');
  });

  it.each([
    ['differs from candidate to candidate', { perRequest: FEATURES.slice(0, 4) }],
    ['must be the first of its features', { perRequest: [FEATURES[1]] }],
    ['not all of them', { perRequest: FEATURES }],
    ['perRequest: must be a list', { perRequest: 'user_mix@1' }],
    ['preRank: must be a whole number', { preRank: -1 }],
  ])('is refused where its manifest is wrong: %s', async (reason, change) => {
    const manifest = { ...artifact.manifest, ...change };
    await expect(OnnxRanker.open({ ...artifact, manifest }, 'cpu')).rejects.toThrow(reason);
  });
});

describe('the int8 form of a ranker', () => {
  let slow: ModelArtifact;

  beforeAll(async () => {
    const folder = await writeTinyModel(dir, { version: '3', features: FEATURES, hidden: SLOW });
    slow = await loadModelArtifact(folder);
  });

  /** The same network without what makes it slow stands in for one that is faster because it is int8. */
  async function fast(weights?: Float32Array) {
    const { bytes } = await loadModelArtifact(
      await writeTinyModel(join(dir, 'fast'), { features: FEATURES, weights }),
    );
    return { bytes, golden: slow.golden, serve: true };
  }

  it('serves where it is faster and reproduces its golden outputs', async () => {
    const ranker = await OnnxRanker.open({ ...slow, int8: await fast() }, 'cpu');
    expect([ranker.form, ranker.problem]).toEqual(['int8', null]);
    await ranker.release();
  });

  it('does not serve when it is turned off, and where its trainer did not find it worth it only when turned on', async () => {
    const int8 = await fast();
    for (const [serve, choice, form] of [
      [true, 'off', 'fp32'],
      [false, 'manifest', 'fp32'],
      [false, 'on', 'int8'],
    ] as const) {
      const ranker = await OnnxRanker.open({ ...slow, int8: { ...int8, serve } }, 'cpu', choice);
      expect(ranker.form).toBe(form);
      await ranker.release();
    }
  });

  it('gives way to float32, with the reason, where it is slower, wrong on this CPU or broken', async () => {
    const int8 = await fast();
    const quick = await loadModelArtifact(await writeTinyModel(join(dir, 'quick'), { features: FEATURES }));
    for (const [reason, candidate] of [
      [/takes .* times as long here/, { ...quick, int8: { ...int8, bytes: slow.bytes } }],
      [
        /is another here/,
        { ...slow, int8: await fast(new Float32Array(compilePlan(FEATURES).width * HEADS.length)) },
      ],
      [/does not load/, { ...slow, int8: { ...int8, bytes: slow.bytes.subarray(0, 99) } }],
    ] as const) {
      const ranker = await OnnxRanker.open(candidate, 'cpu');
      expect(ranker.form).toBe('fp32');
      expect(ranker.problem).toMatch(reason);
      await ranker.release();
    }
  });

  it('is refused by the check of a version where its file is not the one that was exported', async () => {
    const folder = await writeTinyModel(dir, { version: '4', features: FEATURES });
    const path = join(folder, 'manifest.json');
    const manifest = JSON.parse(await readFile(path, 'utf8'));
    const { probabilities } = (await loadModelArtifact(folder)).golden.outputs;
    manifest.int8 = { golden: { probabilities: [probabilities.data] } };
    manifest.files['model.int8.onnx'] = manifest.files['model.onnx'];
    await writeFile(path, JSON.stringify(manifest));
    await writeFile(join(folder, 'model.int8.onnx'), await readFile(join(folder, 'model.onnx')));
    expect((await loadModelArtifact(folder)).int8?.serve).toBe(false);
    await checkRanker({ modelsDir: dir, name: 'ranker', version: '4' });
    await writeFile(join(folder, 'model.int8.onnx'), 'no model');
    await expect(checkRanker({ modelsDir: dir, name: 'ranker', version: '4' })).rejects.toThrow(/int8/);
  });
});
