// Encode and run of the committed rankers over scattered rows of a large table, ms per 1000 candidates; the baseline
// of the same run is the raw model on a matrix that is ready. `node test/bench/ranking.ts [--json FILE]`
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { PostTable } from '../../src/candidates/index/post-table.ts';
import { compilePlan } from '../../src/features/feature-schema.ts';
import { loadModelArtifact } from '../../src/features/model-artifact.ts';
import { LIGHT_RANKER, MAIN_RANKER, openRanker, promotedVersion } from '../../src/ranking/model-registry.ts';
import { ValueModel } from '../../src/ranking/value-model.ts';
import { ENGAGEMENT_CODES } from '../../src/vocabulary.ts';
import { NOW_MS, randomOf, testUser, unitVector } from '../unit/features/catalogue.ts';
import { candidatesOf, inTime, QUERY } from '../unit/ranking/ranking-world.ts';

const POSTS = 200_000;
const CANDIDATES = 1000;
const WARM_UP = 50;
const RUNS = 150;
const MODELS = resolve(import.meta.dirname, '../../models');

const { values } = parseArgs({ options: { json: { type: 'string' } } });
const random = randomOf(3);
const table = PostTable.create({
  generation: 'bench',
  baseRows: 0,
  capacity: POSTS,
  keyBytes: POSTS * 12,
});
for (let i = 0; i < POSTS; i++) {
  const post = {
    id: `p${i}`,
    authorId: `a${i % 20_000}`,
    createdAt: NOW_MS - (POSTS - i) * 6000,
    topic: `t${i % 200}`,
    language: 1,
    flags: 16,
    text: `word${i % 5000} other${i % 77} thing`,
  };
  table.append(post, unitVector(random));
}
const { click, like, negative } = ENGAGEMENT_CODES;
const history = Array.from({ length: 40 }, (_, i) => ({
  post: i * 7,
  type: i % 6 === 5 ? negative : i % 2 ? like : click,
}));
const query = { ...QUERY, user: testUser(history) };
const scattered = () =>
  candidatesOf(Uint32Array.from({ length: CANDIDATES }, () => Math.floor(random() * POSTS)));

function summary(times: number[]): { median: number; p10: number } {
  const sorted = times.slice(WARM_UP).sort((a, b) => a - b);
  const round = (x: number) => Math.round(x * 1000) / 1000;
  return { median: round(sorted[sorted.length >> 1]), p10: round(sorted[Math.floor(sorted.length / 10)]) };
}

/** The model alone: all rows at once, over a matrix that is in the cache. */
async function bareRun(name: string): Promise<{ median: number; p10: number }> {
  const folder = join(MODELS, name, await promotedVersion(MODELS, name));
  const { manifest } = await loadModelArtifact(folder);
  const { width } = compilePlan(manifest.features as string[]);
  const session = await InferenceSession.create(await readFile(join(folder, 'model.onnx')), {
    intraOpNumThreads: 1,
  });
  const matrix = Float32Array.from({ length: CANDIDATES * width }, () => random());
  const features = new Tensor('float32', matrix, [CANDIDATES, width]);
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + RUNS; i++) {
    const began = performance.now();
    await session.run({ features });
    times.push(performance.now() - began);
  }
  await session.release();
  return summary(times);
}

const figures: Record<string, object> = {};
for (const name of [MAIN_RANKER, LIGHT_RANKER]) {
  const ranker = await openRanker(MODELS, name, 'cpu');
  const encode: number[] = [];
  const run: number[] = [];
  const total: number[] = [];
  for (let i = 0; i < WARM_UP + RUNS; i++) {
    const candidates = scattered();
    const began = performance.now();
    const scored = await ranker.score(query, table, candidates, inTime(), new ValueModel());
    total.push(performance.now() - began);
    encode.push(scored.encodeMs);
    run.push(scored.runMs);
  }
  const bare = await bareRun(name);
  const whole = summary(total);
  figures[ranker.model] = {
    encodeMs: summary(encode),
    runMs: summary(run),
    totalMs: whole,
    bareRunMs: bare,
    totalPerBareRun: Math.round((whole.p10 / bare.p10) * 100) / 100,
  };
  await ranker.release();
}
console.log(JSON.stringify(figures, null, 2));
if (values.json) await writeFile(values.json, `${JSON.stringify(figures, null, 2)}\n`);
