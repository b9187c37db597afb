import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModelArtifact } from '../../../src/features/model-artifact.ts';
import {
  LIGHT_RANKER,
  MAIN_RANKER,
  openRanker,
  promotedVersion,
} from '../../../src/ranking/model-registry.ts';
import type { OnnxRanker } from '../../../src/ranking/onnx-ranker.ts';
import { ValueModel } from '../../../src/ranking/value-model.ts';
import { ENGAGEMENT_CODES, HEADS } from '../../../src/vocabulary.ts';
import { rowRange, testCatalogue, testUser } from '../features/catalogue.ts';
import { candidatesOf, inTime, QUERY } from './ranking-world.ts';

const MODELS = resolve(import.meta.dirname, '../../../models');
const VALUE = new ValueModel();

/** Beside the ranker that serves: for the benchmarks, and for whoever adopts it. */
const DCN = 'ranker-dcn';

describe('the committed models', () => {
  it('are under 10 MB together', async () => {
    const files = await readdir(MODELS, { recursive: true });
    const sizes = await Promise.all(files.map(async (file) => (await stat(join(MODELS, file))).size));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(10_000_000);
  });
});

describe.each([MAIN_RANKER, LIGHT_RANKER, DCN])('the committed %s', (name) => {
  let ranker: OnnxRanker;

  beforeAll(async () => {
    ranker = await openRanker(MODELS, name, 'cpu');
  });

  afterAll(() => ranker.release());

  it('is under 3 MB and beats popularity and similarity alone on every engagement head', async () => {
    const folder = join(MODELS, name, await promotedVersion(MODELS, name));
    expect((await stat(join(folder, 'model.onnx'))).size).toBeLessThan(name === DCN ? 3_000_000 : 1_000_000);
    const { manifest, bytes } = await loadModelArtifact(folder);
    expect(Buffer.from(bytes).includes('site-packages'), 'paths of the training machine').toBe(false);
    const test = manifest.metrics?.test as Record<
      string,
      { auc: number; baselineAuc: Record<string, number> }
    >;
    for (const head of HEADS) {
      for (const baseline of Object.values(test[head].baselineAuc)) {
        expect(test[head].auc, head).toBeGreaterThan(baseline);
      }
    }
  });

  it('is calibrated on the newest tenth of its data: expected error at most .01 a head', async () => {
    const { manifest } = await loadModelArtifact(join(MODELS, name, await promotedVersion(MODELS, name)));
    const test = manifest.metrics?.test as Record<string, { ece: number }>;
    for (const head of HEADS) expect(test[head].ece, head).toBeLessThanOrEqual(0.01);
  });

  it('has an int8 form in which a row gives the same alone and in any batch', async () => {
    const folder = join(MODELS, name, await promotedVersion(MODELS, name));
    const { manifest, golden } = await loadModelArtifact(folder);
    const { form } = manifest.int8 as { form: string };
    expect(form).toBe('static QDQ');
    const session = await InferenceSession.create(join(folder, 'model.int8.onnx'));
    const { dims, data } = golden.inputs.features;
    const [rows, width] = dims;
    const { user } = golden.inputs;
    const request: Record<string, Tensor> = user
      ? { user: new Tensor('float32', Float32Array.from(user.data), user.dims) }
      : {};
    const run = async (from: number, to: number) => {
      const part = Float32Array.from(data.slice(from * width, to * width));
      const { probabilities } = await session.run({
        features: new Tensor('float32', part, [to - from, width]),
        ...request,
      });
      return probabilities.data as Float32Array;
    };
    const together = await run(0, rows);
    for (let row = 0; row < rows; row++) {
      (await run(row, row + 1)).forEach((p, h) => {
        expect(Math.abs(p - together[row * HEADS.length + h])).toBeLessThanOrEqual(1e-6);
      });
    }
    await session.release();
  });

  it('scores a candidate the same alone and in any batch', async () => {
    const catalogue = testCatalogue(700);
    const all = await ranker.score(QUERY, catalogue, candidatesOf(rowRange(0, 700)), inTime(), VALUE);
    const at = new Map(Array.from(all.rows, (row, i) => [row, i]));
    for (const rows of [[3], [699], [...rowRange(100, 351)]]) {
      const ranked = await ranker.score(
        QUERY,
        catalogue,
        candidatesOf(Uint32Array.from(rows)),
        inTime(),
        VALUE,
      );
      for (let i = 0; i < ranked.size; i++) {
        for (let h = 0; h < HEADS.length; h++) {
          const other = all.probabilities![at.get(ranked.rows[i])! * HEADS.length + h];
          expect(Math.abs(ranked.probabilities![i * HEADS.length + h] - other)).toBeLessThan(1e-6);
        }
      }
    }
  });

  it('prefers posts that are like what the user liked, to those like what the user rejected', async () => {
    const catalogue = testCatalogue(300);
    const { vectors } = catalogue;
    // Posts 100–149 are near post 0, posts 150–199 near post 1.
    for (let row = 100; row < 200; row++) {
      const base = row < 150 ? 0 : 1;
      for (let d = 0; d < 64; d++) vectors[row * 64 + d] = vectors[base * 64 + d];
    }
    const embedding = vectors.slice(0, 64);
    const history = [
      { post: 0, type: ENGAGEMENT_CODES.like },
      { post: 100, type: ENGAGEMENT_CODES.longDwell },
      { post: 1, type: ENGAGEMENT_CODES.negative },
    ];
    const user = testUser(history, 1, { embedding });
    const candidates = candidatesOf(rowRange(101, 200));
    const ranked = await ranker.score({ ...QUERY, user }, catalogue, candidates, inTime(), VALUE);
    const mean = (near: (row: number) => boolean) => {
      const scores = ranked.scores.filter((_, i) => near(ranked.rows[i]));
      return scores.reduce((sum, score) => sum + score, 0) / scores.length;
    };
    expect(mean((row) => row < 150)).toBeGreaterThan(1.25 * mean((row) => row >= 150));
  });

  it('ranks for a user of whom nothing is known', async () => {
    const catalogue = testCatalogue(300);
    const user = testUser([], 3, {
      embeddingKind: 'cold',
      follows: new Uint32Array(0),
      interestTopics: new Uint32Array(0),
      languages: new Uint8Array(0),
      accountCreatedAtMs: 0,
    });
    const candidates = candidatesOf(rowRange(0, 300));
    const ranked = await ranker.score({ ...QUERY, user }, catalogue, candidates, inTime(), VALUE);
    expect(new Set(ranked.scores).size).toBeGreaterThan(250);
    expect(ranked.probabilities!.every((p) => p >= 0 && p <= 1)).toBe(true);
  });
});
