// Writes real, tiny ONNX rankers without Python: probabilities = Sigmoid(features × weights), in the folder format.
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compilePlan } from '../../../src/features/feature-schema.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { onnxBytes } from './onnx-writer.ts';

export interface TinyModel {
  name?: string;
  version?: string;
  features?: string[];
  heads?: string[];
  tower?: string;
  /** [D × heads], row-major. */
  weights?: Float32Array;
  golden?: number;
}

export const TINY_FEATURES = ['user_similarity@1', 'post_rates@1', 'history_similarity@1', 'post_age@1'];

/** Writes `dir/<name>/<version>/` and returns its path. */
export async function writeTinyModel(dir: string, options: TinyModel = {}): Promise<string> {
  const { name = 'ranker', version = '1', features = TINY_FEATURES, heads = [...HEADS], tower } = options;
  let width = 1;
  try {
    width = compilePlan(features).width;
  } catch {
    // A list that the code refuses: the width does not matter, the file is never run.
  }
  const weights = options.weights ?? defaultWeights(width, HEADS.length);
  const onnx = onnxBytes({
    width,
    heads: HEADS.length,
    nodes: [
      { inputs: ['features', 'weights'], output: 'logits', operator: 'MatMul' },
      { inputs: ['logits'], output: 'probabilities', operator: 'Sigmoid' },
    ],
    matrices: [{ name: 'weights', dims: [width, HEADS.length], values: weights }],
  });
  const input = Float32Array.from({ length: width }, (_, i) => ((i % 5) - 2) / 4);
  const expected = HEADS.map((_, h) => {
    let logit = 0;
    for (let d = 0; d < width; d++) logit += input[d] * weights[d * HEADS.length + h];
    return 1 / (1 + Math.exp(-logit));
  });
  const output = options.golden === undefined ? expected : expected.map(() => options.golden!);
  const golden = Buffer.from(
    JSON.stringify({
      inputs: { features: { dims: [1, width], type: 'float32', data: [...input] } },
      outputs: Number.isNaN(output[0])
        ? {}
        : { probabilities: { dims: [1, HEADS.length], type: 'float32', data: output } },
      tolerance: 1e-4,
    }),
  );
  const file = (bytes: Uint8Array) => ({
    sha256: createHash('sha256').update(bytes).digest('hex'),
    bytes: bytes.length,
  });
  const manifest = {
    name,
    version,
    kind: 'ranker',
    createdAt: '2026-01-01T00:00:00.000Z',
    files: { 'model.onnx': file(onnx), 'golden.json': file(golden) },
    inputs: ['features'],
    outputs: ['probabilities'],
    features,
    heads,
    ...(tower ? { tower } : {}),
  };
  const folder = join(dir, name, version);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'model.onnx'), onnx);
  await writeFile(join(folder, 'golden.json'), golden);
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
  return folder;
}

function defaultWeights(width: number, heads: number): Float32Array {
  return Float32Array.from({ length: width * heads }, (_, i) => Math.sin(i * 1.7) * 0.6);
}
