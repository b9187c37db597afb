// Everything a ranker must do before a feed worker opens it: files whole, its own manifest, features and heads known,
// golden outputs reproduced, and on varied rows: probabilities, not all the same, the same alone as in a batch, in time.
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { FeedrankError, messageOf } from '../errors.ts';
import {
  type Int8Artifact,
  loadModelArtifact,
  type ModelArtifact,
  probeGolden,
} from '../features/model-artifact.ts';
import { HEADS } from '../vocabulary.ts';
import { weightsOf } from './onnx-weights.ts';
import { readRankerArtifact } from './ranker-artifact.ts';

export interface ModelCheck {
  modelsDir: string;
  name: string;
  version: string;
  /** Rows a request ranks, and the time that may take here, milliseconds; absent = not timed. */
  rows?: number;
  budgetMs?: number;
}

export interface CheckedModel {
  model: string;
  tower: string | undefined;
  /** Median time of a row on this machine, one thread. */
  msPerRow: number;
}

const PROBE_ROWS = 250;
const TIMED_RUNS = 5;
/** Scores of a candidate alone and in a batch may differ by float32 rounding. */
const ALONE_TOLERANCE = 1e-4;
/** Sums of whole numbers are exact: an int8 form whose scales are its own does not know its batch. */
const INT8_ALONE_TOLERANCE = 1e-6;
/** Probabilities that never differ by more than this over the probe do not rank. */
const LEAST_SPREAD = 1e-6;

/** @throws FeedrankError(corrupt_artifact) naming the first thing that is wrong. Blocks its thread while it runs. */
export async function checkRanker({
  modelsDir,
  name,
  version,
  rows,
  budgetMs,
}: ModelCheck): Promise<CheckedModel> {
  const dir = join(modelsDir, name, version);
  const artifact = await loadModelArtifact(dir);
  const { manifest } = artifact;
  const model = `${name}@${version}`;
  const refuse = (reason: string) => new FeedrankError('corrupt_artifact', `model ${model}: ${reason}`);
  if (manifest.name !== name || manifest.version !== version) {
    throw refuse(`its manifest is that of ${manifest.name}@${manifest.version}`);
  }
  const { encoder, user: plan } = readRankerArtifact(artifact);
  const { width } = encoder;
  const session = await openSession(artifact.bytes, refuse);
  try {
    // −∞ is left alone: attention masks are made of it.
    const broken = weightsOf(artifact.bytes).find(({ values }) => values.some((x) => !(x < Infinity)));
    if (broken) throw refuse(`a weight of ${broken.name} is no finite number`);
    if (!artifact.golden.outputs.probabilities) {
      throw refuse('golden.json names no probabilities, so that nothing could be probed');
    }
    await probeGolden(session, artifact.golden).catch((error) => {
      throw refuse(messageOf(error));
    });
    const probe = probeRows(artifact, width, refuse);
    const user = plan && userRow(artifact, plan.width, refuse);
    const run = (input: Float32Array) => runRows(session, input, width, user, refuse);
    const all = await run(probe);
    checkSpread(all, refuse);
    await checkAlone(run, probe, all, ALONE_TOLERANCE, refuse);
    if (artifact.int8) await checkInt8(artifact.int8, probe, width, user, refuse);
    const msPerRow = await timeRow(() => run(probe));
    if (rows !== undefined && budgetMs !== undefined && msPerRow * rows > budgetMs) {
      const took = Math.round(msPerRow * rows);
      throw refuse(`is slow: ${took} ms for ${rows} candidates, a request has ${Math.round(budgetMs)} ms`);
    }
    return { model, tower: manifest.tower, msPerRow };
  } finally {
    await session.release();
  }
}

/** The int8 form: a row gives the same alone and in a batch. Whether it is itself on this CPU is seen when it serves. */
async function checkInt8(
  { bytes }: Int8Artifact,
  probe: Float32Array,
  width: number,
  user: Float32Array | null,
  refuse: (reason: string) => FeedrankError,
): Promise<void> {
  const refuseInt8 = (reason: string) => refuse(`its int8 form ${reason}`);
  const session = await openSession(bytes, refuseInt8);
  try {
    const run = (input: Float32Array) => runRows(session, input, width, user, refuseInt8);
    await checkAlone(run, probe, await run(probe), INT8_ALONE_TOLERANCE, refuseInt8);
  } finally {
    await session.release();
  }
}

async function checkAlone(
  run: (input: Float32Array) => Promise<Float32Array>,
  probe: Float32Array,
  all: Float32Array,
  tolerance: number,
  refuse: (reason: string) => FeedrankError,
): Promise<void> {
  const width = probe.length / PROBE_ROWS;
  for (const row of [0, PROBE_ROWS >> 1, PROBE_ROWS - 1]) {
    const alone = await run(probe.slice(row * width, (row + 1) * width));
    for (let h = 0; h < HEADS.length; h++) {
      const difference = Math.abs(alone[h] - all[row * HEADS.length + h]);
      if (difference <= tolerance) continue;
      throw refuse(`${HEADS[h]} of a candidate is ${difference.toPrecision(3)} apart alone and in a batch`);
    }
  }
}

/** [U] of the golden request. */
function userRow(
  { golden }: ModelArtifact,
  width: number,
  refuse: (reason: string) => FeedrankError,
): Float32Array {
  const input = golden.inputs.user;
  if (input?.data.length === width) return Float32Array.from(input.data);
  throw refuse(`its request has ${width} columns, the golden one ${input?.data.length ?? 0}`);
}

async function openSession(
  bytes: Uint8Array,
  refuse: (reason: string) => FeedrankError,
): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(bytes, {
      executionProviders: ['cpu'],
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    });
  } catch (error) {
    throw refuse(`ONNX Runtime cannot load it: ${messageOf(error)}`);
  }
}

/** [PROBE_ROWS, width]: mixtures of the golden rows, stretched and shifted a little, always the same. */
function probeRows(
  { golden }: ModelArtifact,
  width: number,
  refuse: (reason: string) => FeedrankError,
): Float32Array {
  const input = golden.inputs.features;
  if (!input || input.dims.at(-1) !== width || input.data.length === 0) {
    throw refuse(`its features make rows of ${width}, its golden rows have ${input?.dims.at(-1) ?? 0}`);
  }
  const rows = input.data.length / width;
  return Float32Array.from({ length: PROBE_ROWS * width }, (_, i) => {
    const row = Math.floor(i / width);
    const column = i % width;
    const a = input.data[(row % rows) * width + column];
    const b = input.data[((row * 7 + 3) % rows) * width + column];
    const mix = (row % 11) / 10;
    return a * mix + b * (1 - mix) + 0.3 * Math.sin(row * 1.3 + column * 0.7);
  });
}

async function runRows(
  session: InferenceSession,
  input: Float32Array,
  width: number,
  user: Float32Array | null,
  refuse: (reason: string) => FeedrankError,
): Promise<Float32Array> {
  const rows = input.length / width;
  const feeds: Record<string, Tensor> = { features: new Tensor('float32', input, [rows, width]) };
  if (user) feeds.user = new Tensor('float32', user, [1, user.length]);
  let outputs: InferenceSession.ReturnType;
  try {
    outputs = await session.run(feeds);
  } catch (error) {
    throw refuse(`fails on ${rows} rows of ${width} features: ${messageOf(error)}`);
  }
  const data = outputs.probabilities?.data;
  if (!(data instanceof Float32Array) || data.length !== rows * HEADS.length) {
    throw refuse(`gives no [${rows}, ${HEADS.length}] probabilities`);
  }
  const bad = data.findIndex((p) => !(p >= 0 && p <= 1));
  if (bad >= 0) throw refuse(`gives ${data[bad]} for ${HEADS[bad % HEADS.length]}`);
  return data;
}

function checkSpread(probabilities: Float32Array, refuse: (reason: string) => FeedrankError): void {
  const columns = HEADS.map((_, h) => probabilities.filter((_, i) => i % HEADS.length === h));
  const certain = columns.findIndex((column) => column.every((p) => p === 0 || p === 1));
  if (certain >= 0) throw refuse(`gives nothing but 0 and 1 for ${HEADS[certain]}`);
  const spread = columns.map((column) => Math.max(...column) - Math.min(...column));
  if (Math.max(...spread) < LEAST_SPREAD) throw refuse('gives every candidate the same probabilities');
}

async function timeRow(run: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < TIMED_RUNS; i++) {
    const began = performance.now();
    await run();
    times.push((performance.now() - began) / PROBE_ROWS);
  }
  return times.sort((a, b) => a - b)[TIMED_RUNS >> 1];
}
