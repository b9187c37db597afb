// Rankers that must never reach a reader, made from a good one. A careless trainer is part of it: where `signed` the
// manifest's checksums and the golden outputs fit the bad file, so that only what the model does gives it away.
import { createHash } from 'node:crypto';
import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type Weights, weightsOf } from '../../../src/ranking/onnx-weights.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { randomOf } from '../../unit/features/catalogue.ts';
import { onnxBytes } from '../../unit/ranking/onnx-writer.ts';

export const BAD_KINDS = [
  'nan',
  'inf',
  'constant',
  'wrong input shape',
  'wrong output shape',
  'truncated',
  'flipped bit',
  'missing feature',
  'slow',
  'worse',
] as const;
export type BadKind = (typeof BAD_KINDS)[number];

interface Draft {
  manifest: Record<string, unknown> & { features: string[]; files: Record<string, unknown> };
  onnx: Buffer;
  golden: { inputs: Record<string, GoldenTensor>; outputs: Record<string, GoldenTensor>; tolerance: number };
  random(): number;
}

interface GoldenTensor {
  dims: number[];
  type: string;
  data: number[];
}

/** Writes `<modelsDir>/<name>/<version>/`, whole at once; returns what was done to it. */
export async function writeBadModel(
  goodFolder: string,
  modelsDir: string,
  version: string,
  kind: BadKind,
  seed: number,
): Promise<string> {
  const read = (file: string) => readFile(join(goodFolder, file));
  const draft: Draft = {
    manifest: JSON.parse(String(await read('manifest.json'))),
    onnx: await read('model.onnx'),
    golden: JSON.parse(String(await read('golden.json'))),
    random: randomOf(seed * 7919 + 13),
  };
  const detail = await SPOIL[kind](draft, seed);
  await writeVersion(draft, modelsDir, version);
  return detail;
}

/** A good version that marks its answers: P(share) of every post is `mark`. */
export async function writeMarkedModel(
  goodFolder: string,
  modelsDir: string,
  version: string,
  mark: number,
): Promise<void> {
  const draft: Draft = {
    manifest: JSON.parse(String(await readFile(join(goodFolder, 'manifest.json')))),
    onnx: await readFile(join(goodFolder, 'model.onnx')),
    golden: JSON.parse(String(await readFile(join(goodFolder, 'golden.json')))),
    random: () => 0,
  };
  const share = HEADS.indexOf('share');
  change(draft, ({ name, dims, values }) => {
    if (name === 'scale') values[share] = 0;
    // The bends of the calibration curve, where it has some: [heads, bends].
    if (name === 'bends') values.fill(0, share * dims[1], (share + 1) * dims[1]);
    if (name === 'shift') values[share] = Math.log(mark / (1 - mark));
  });
  await resignGolden(draft);
  sign(draft);
  await writeVersion(draft, modelsDir, version);
}

/** A copy of a good version under another number. */
export async function copyVersion(
  goodFolder: string,
  modelsDir: string,
  version: string,
  name = 'ranker',
): Promise<void> {
  const folder = join(modelsDir, name, version);
  await mkdir(dirname(folder), { recursive: true });
  await cp(goodFolder, `${folder}.new`, { recursive: true });
  const path = join(`${folder}.new`, 'manifest.json');
  const manifest = JSON.parse(String(await readFile(path)));
  await writeFile(path, JSON.stringify({ ...manifest, version }));
  await rename(`${folder}.new`, folder);
}

const SPOIL: Record<BadKind, (draft: Draft, seed: number) => Promise<string> | string> = {
  nan: (draft, seed) => spoilWeight(draft, seed, Number.NaN),
  inf: (draft, seed) => spoilWeight(draft, seed, seed % 4 < 2 ? Infinity : -Infinity),
  async constant(draft, seed) {
    const level = 0.02 + 0.9 * draft.random();
    change(draft, ({ name, values }) => {
      if (name === 'scale' || name === 'bends') values.fill(0);
      if (name === 'shift') values.fill(Math.log(level / (1 - level)));
    });
    if (seed % 2 === 0) await resignGolden(draft);
    sign(draft);
    return `always ${level.toFixed(2)}${seed % 2 === 0 ? ', golden made anew' : ''}`;
  },
  'wrong input shape'(draft) {
    const { features } = draft.manifest;
    const [dropped] = features.splice(Math.floor(draft.random() * features.length), 1);
    return `${dropped} is not in its list`;
  },
  'wrong output shape'(draft, seed) {
    const width = draft.golden.inputs.features.dims[1];
    const heads = HEADS.length + (seed % 2 === 0 ? 1 : -1);
    const values = Float32Array.from({ length: width * heads }, () => (draft.random() - 0.5) / 8);
    draft.onnx = onnxBytes({
      width,
      heads,
      nodes: [
        { inputs: ['features', 'weights'], output: 'logits', operator: 'MatMul' },
        { inputs: ['logits'], output: 'probabilities', operator: 'Sigmoid' },
      ],
      matrices: [{ name: 'weights', dims: [width, heads], values }],
    });
    sign(draft);
    return `gives ${heads} heads`;
  },
  truncated(draft, seed) {
    const kept = Math.floor(draft.onnx.length * (0.05 + 0.9 * draft.random()));
    draft.onnx = draft.onnx.subarray(0, kept);
    if (seed % 2 === 0) sign(draft);
    return `${kept} bytes left${seed % 2 === 0 ? ', checksum made anew' : ''}`;
  },
  'flipped bit'(draft, seed) {
    if (seed % 2 !== 0) {
      const at = Math.floor(draft.random() * draft.onnx.length);
      draft.onnx[at] ^= 1 << Math.floor(draft.random() * 8);
      return `a bit of byte ${at}`;
    }
    // The exponent of a calibration weight, with a checksum that fits: only the golden outputs know.
    const head = Math.floor(draft.random() * HEADS.length);
    change(draft, ({ name, values }) => {
      if (name !== 'scale') return;
      new Uint32Array(values.buffer)[head] ^= 1 << 24;
    });
    sign(draft);
    return `the exponent of the scale of ${HEADS[head]}, checksum made anew`;
  },
  'missing feature'(draft, seed) {
    const { features } = draft.manifest;
    const at = Math.floor(draft.random() * features.length);
    features[at] = seed % 2 === 0 ? features[at].replace(/@\d+$/, '@99') : `mood_${seed}@1`;
    return `wants ${features[at]}`;
  },
  async slow(draft, seed) {
    const width = draft.golden.inputs.features.dims[1];
    const inner = 384;
    const layers = 300 + 10 * (seed % 10);
    const small = (rows: number, columns: number) =>
      Float32Array.from({ length: rows * columns }, () => (draft.random() - 0.5) * Math.sqrt(12 / rows));
    const nodes = [{ inputs: ['features', 'in'], output: 'h0', operator: 'MatMul' }];
    for (let i = 0; i < layers; i++) {
      nodes.push({ inputs: [`h${i}`, 'layer'], output: `m${i}`, operator: 'MatMul' });
      nodes.push({ inputs: [`m${i}`], output: `h${i + 1}`, operator: 'Tanh' });
    }
    nodes.push({ inputs: [`h${layers}`, 'out'], output: 'logits', operator: 'MatMul' });
    nodes.push({ inputs: ['logits'], output: 'probabilities', operator: 'Sigmoid' });
    draft.onnx = onnxBytes({
      width,
      heads: HEADS.length,
      nodes,
      matrices: [
        { name: 'in', dims: [width, inner], values: small(width, inner) },
        { name: 'layer', dims: [inner, inner], values: small(inner, inner) },
        { name: 'out', dims: [inner, HEADS.length], values: small(inner, HEADS.length) },
      ],
    });
    await resignGolden(draft);
    sign(draft);
    return `${layers} layers of ${inner}`;
  },
  async worse(draft, seed) {
    const inverted = seed % 5 === 0;
    const shifted = seed % 5 === 1;
    change(draft, ({ name, dims, values }) => {
      const slopes = name === 'scale' || name === 'bends';
      if (inverted && slopes) for (let i = 0; i < values.length; i++) values[i] *= -1;
      if (shifted && name === 'shift') for (let i = 0; i < values.length; i++) values[i] += 1.5;
      if (!inverted && !shifted && dims.length === 2) {
        const size = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
        for (let i = 0; i < values.length; i++) values[i] = (draft.random() - 0.5) * Math.sqrt(12) * size;
      }
    });
    await resignGolden(draft);
    sign(draft);
    return inverted ? 'its order turned round' : shifted ? 'odds 4.5 times too high' : 'random weights';
  },
};

async function spoilWeight(draft: Draft, seed: number, value: number): Promise<string> {
  const all = weightsOf(draft.onnx).filter(({ name, dims }) => dims.length > 0 && name !== '');
  const chosen = all[Math.floor(draft.random() * all.length)];
  // One weight, or all of one kind; a spoiled weight can hide behind a unit that never fires.
  const spoiled = seed % 2 === 0 ? chosen.values.length : 1;
  for (let i = 0; i < spoiled; i++) {
    chosen.values[spoiled === 1 ? Math.floor(draft.random() * chosen.values.length) : i] = value;
  }
  store(draft, chosen);
  if (seed % 3 === 0) await resignGolden(draft);
  sign(draft);
  return `${spoiled} of ${chosen.name} = ${value}${seed % 3 === 0 ? ', golden made anew' : ''}`;
}

function change(draft: Draft, work: (weights: Weights) => void): void {
  const all = weightsOf(draft.onnx);
  const names = all.map(({ name }) => name);
  if (!names.includes('scale') || !names.includes('shift')) {
    throw new Error(`the ranker has no scale and shift of its heads, but ${names.join(', ')}`);
  }
  for (const weights of all) {
    work(weights);
    store(draft, weights);
  }
}

function store({ onnx }: Draft, { values, at }: Weights): void {
  onnx.set(new Uint8Array(values.buffer), at);
}

/** Golden outputs as the file gives them now; what is not finite cannot be written, and is left out. */
async function resignGolden({ onnx, golden }: Draft): Promise<void> {
  const { dims, data } = golden.inputs.features;
  const session = await InferenceSession.create(onnx, { intraOpNumThreads: 1 });
  try {
    const results = await session.run({ features: new Tensor('float32', Float32Array.from(data), dims) });
    const values = [...(results.probabilities.data as Float32Array)];
    if (values.every(Number.isFinite)) golden.outputs.probabilities.data = values;
    else golden.outputs = {};
  } finally {
    await session.release();
  }
}

function sign(draft: Draft): void {
  const file = (bytes: Uint8Array) => ({
    sha256: createHash('sha256').update(bytes).digest('hex'),
    bytes: bytes.length,
  });
  draft.manifest.files = {
    'model.onnx': file(draft.onnx),
    'golden.json': file(Buffer.from(JSON.stringify(draft.golden))),
  };
}

async function writeVersion({ manifest, onnx, golden }: Draft, modelsDir: string, version: string) {
  const folder = join(modelsDir, 'ranker', version);
  const beside = `${folder}.new`;
  await rm(beside, { recursive: true, force: true });
  await mkdir(beside, { recursive: true });
  const files = manifest.files as Record<string, { sha256: string; bytes: number }>;
  const goldenBytes = Buffer.from(JSON.stringify(golden));
  // The good golden file was formatted otherwise: its checksum is of the text that is written here.
  files['golden.json'] = {
    sha256: createHash('sha256').update(goldenBytes).digest('hex'),
    bytes: goldenBytes.length,
  };
  await writeFile(join(beside, 'model.onnx'), onnx);
  await writeFile(join(beside, 'golden.json'), goldenBytes);
  await writeFile(join(beside, 'manifest.json'), JSON.stringify({ ...manifest, version }));
  await rename(beside, folder);
}
