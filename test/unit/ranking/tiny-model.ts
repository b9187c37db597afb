// Writes real, tiny ONNX rankers without Python: probabilities = Sigmoid(features × weights), in the folder format.
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compilePlan } from '../../../src/features/feature-schema.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { type OnnxMatrix, type OnnxNode, onnxBytes } from './onnx-writer.ts';

export interface TinyModel {
  name?: string;
  version?: string;
  features?: string[];
  heads?: string[];
  tower?: string;
  /** [D × heads], row-major. */
  weights?: Float32Array;
  golden?: number;
  /** The first of `features`, as an input of their own. */
  perRequest?: string[];
  preRank?: number;
  /** Width of a hidden layer that makes the model as slow as a large one. */
  hidden?: number;
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
  const { perRequest = [], preRank, hidden = 0 } = options;
  const users = perRequest.length > 0 ? compilePlan(perRequest).width : 0;
  const onnx = onnxBytes({
    width: width - users,
    heads: HEADS.length,
    ...(users > 0 ? { userWidth: users } : {}),
    ...graphOf(weights, width, users, hidden),
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
      inputs: {
        features: { dims: [1, width - users], type: 'float32', data: [...input.slice(users)] },
        ...(users > 0
          ? { user: { dims: [1, users], type: 'float32', data: [...input.slice(0, users)] } }
          : {}),
      },
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
    inputs: users > 0 ? ['features', 'user'] : ['features'],
    ...(users > 0 ? { perRequest } : {}),
    ...(preRank === undefined ? {} : { preRank }),
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

/** Sigmoid(features × weights), the user's share by an input of its own, plus what a hidden layer multiplies by 0. */
function graphOf(weights: Float32Array, width: number, users: number, hidden: number) {
  const heads = HEADS.length;
  const nodes: OnnxNode[] = [{ inputs: ['features', 'weights'], output: 'own', operator: 'MatMul' }];
  const matrices: OnnxMatrix[] = [
    { name: 'weights', dims: [width - users, heads], values: weights.slice(users * heads) },
  ];
  let logits = 'own';
  if (users > 0) {
    nodes.push({ inputs: ['user', 'user_weights'], output: 'shared', operator: 'MatMul' });
    nodes.push({ inputs: ['own', 'shared'], output: 'whole', operator: 'Add' });
    matrices.push({ name: 'user_weights', dims: [users, heads], values: weights.slice(0, users * heads) });
    logits = 'whole';
  }
  if (hidden > 0) {
    nodes.push({ inputs: ['features', 'first'], output: 'h1', operator: 'MatMul' });
    nodes.push({ inputs: ['h1', 'second'], output: 'h2', operator: 'MatMul' });
    nodes.push({ inputs: ['h2', 'none'], output: 'nothing', operator: 'MatMul' });
    nodes.push({ inputs: [logits, 'nothing'], output: 'all', operator: 'Add' });
    const filled = (size: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(i) / hidden);
    matrices.push({ name: 'first', dims: [width - users, hidden], values: filled((width - users) * hidden) });
    matrices.push({ name: 'second', dims: [hidden, hidden], values: filled(hidden * hidden) });
    matrices.push({ name: 'none', dims: [hidden, heads], values: new Float32Array(hidden * heads) });
    logits = 'all';
  }
  nodes.push({ inputs: [logits], output: 'probabilities', operator: 'Sigmoid' });
  return { nodes, matrices };
}

function defaultWeights(width: number, heads: number): Float32Array {
  return Float32Array.from({ length: width * heads }, (_, i) => Math.sin(i * 1.7) * 0.6);
}
