// Writes real, tiny ONNX rankers without Python: probabilities = Sigmoid(features × weights), in the folder format.
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compilePlan } from '../../../src/features/feature-schema.ts';
import { HEADS } from '../../../src/vocabulary.ts';

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
  const onnx = model(width, HEADS.length, weights);
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

// ---------------------------------------------------------------- the little of protobuf that onnx.proto3 needs

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes;
}

function number(field: number, value: number): Buffer {
  return Buffer.from([...varint(field << 3), ...varint(value)]);
}

function bytes(field: number, value: Uint8Array | string): Buffer {
  const data = Buffer.from(value as string);
  return Buffer.concat([Buffer.from([...varint((field << 3) | 2), ...varint(data.length)]), data]);
}

function message(field: number, ...parts: Buffer[]): Buffer {
  return bytes(field, Buffer.concat(parts));
}

const FLOAT = 1;

function matrixInfo(field: number, name: string, columns: number): Buffer {
  const rows = message(1, bytes(2, 'N'));
  const shape = message(2, rows, message(1, number(1, columns)));
  return message(field, bytes(1, name), message(2, message(1, number(1, FLOAT), shape)));
}

function node(inputs: string[], output: string, operator: string): Buffer {
  return message(1, ...inputs.map((input) => bytes(1, input)), bytes(2, output), bytes(4, operator));
}

function model(width: number, heads: number, weights: Float32Array): Buffer {
  const raw = new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength);
  const initializer = message(
    5,
    number(1, width),
    number(1, heads),
    number(2, FLOAT),
    bytes(8, 'weights'),
    bytes(9, raw),
  );
  const graph = message(
    7,
    node(['features', 'weights'], 'logits', 'MatMul'),
    node(['logits'], 'probabilities', 'Sigmoid'),
    bytes(2, 'tiny'),
    initializer,
    matrixInfo(11, 'features', width),
    matrixInfo(12, 'probabilities', heads),
  );
  return Buffer.concat([number(1, 8), graph, message(8, bytes(1, ''), number(2, 18))]);
}
