// A model folder: model.onnx, manifest.json, golden.json. Nothing reaches ONNX Runtime before its bytes match the
// manifest, and a session serves only after it reproduced the golden outputs (a flipped weight loads silently).
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { z } from 'zod';
import { FeedrankError, messageOf } from '../errors.ts';

/** Rounding to 8 bits differs between CPUs; sums that saturate are off by far more than this probability. */
const INT8_TOLERANCE = 0.02;

const fileSchema = z.object({
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.number().int().positive(),
});

const manifestSchema = z.looseObject({
  name: z.string().min(1),
  version: z.string().min(1),
  kind: z.enum(['post-tower', 'user-tower', 'ranker']),
  createdAt: z.iso.datetime(),
  dim: z.number().int().positive().optional(),
  files: z.record(z.string(), fileSchema),
  hash: z.record(z.string(), z.unknown()).optional(),
  inputs: z.array(z.string()),
  outputs: z.array(z.string()),
  /** The post space this model fits: `post-tower@1`. */
  tower: z.string().optional(),
  metrics: z.record(z.string(), z.unknown()).optional(),
  int8: z
    .looseObject({
      serve: z.boolean().optional(),
      /** Outputs of the int8 form for the inputs of golden.json, [rows][columns]. */
      golden: z.record(z.string(), z.array(z.array(z.number()))).optional(),
    })
    .optional(),
  data: z.record(z.string(), z.unknown()).optional(),
});

const tensorSchema = z.object({
  dims: z.array(z.number().int().nonnegative()),
  type: z.enum(['float32', 'int32', 'int64']),
  data: z.array(z.number()),
});

const goldenSchema = z.object({
  inputs: z.record(z.string(), tensorSchema),
  outputs: z.record(z.string(), tensorSchema),
  tolerance: z.number().positive(),
});

export type ModelManifest = z.infer<typeof manifestSchema>;
export type ModelGolden = z.infer<typeof goldenSchema>;

export interface ModelArtifact {
  manifest: ModelManifest;
  bytes: Uint8Array;
  golden: ModelGolden;
  /** The int8 form that was exported beside it, where there is one that can be probed. */
  int8?: Int8Artifact;
}

export interface Int8Artifact {
  bytes: Uint8Array;
  golden: ModelGolden;
  /** Its exporter found it fast enough to serve in place of `bytes`. */
  serve: boolean;
}

/** Reads and verifies a model folder. Throws FeedrankError(corrupt_artifact) naming the file and the reason. */
export async function loadModelArtifact(dir: string): Promise<ModelArtifact> {
  const manifestPath = join(dir, 'manifest.json');
  const manifest = parse(manifestPath, manifestSchema, await read(manifestPath));
  const verified = async (name: string) => {
    const path = join(dir, name);
    const expected = manifest.files[name];
    if (!expected) throw corrupt(manifestPath, `does not list ${name}`);
    const bytes = await read(path);
    if (bytes.length !== expected.bytes) {
      throw corrupt(path, `has ${bytes.length} bytes, the manifest says ${expected.bytes}`);
    }
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    if (sha256 !== expected.sha256) throw corrupt(path, 'sha256 differs from the manifest');
    return bytes;
  };
  const bytes = await verified('model.onnx');
  const golden = parse(join(dir, 'golden.json'), goldenSchema, await verified('golden.json'));
  const about = manifest.int8;
  if (!about?.golden || !manifest.files['model.int8.onnx']) return { manifest, bytes, golden };
  const outputs = Object.entries(golden.outputs).map(([name, output]) => {
    return [name, { ...output, data: about.golden?.[name]?.flat() ?? [] }] as const;
  });
  const int8 = {
    bytes: await verified('model.int8.onnx'),
    golden: { inputs: golden.inputs, outputs: Object.fromEntries(outputs), tolerance: INT8_TOLERANCE },
    serve: about.serve === true,
  };
  return { manifest, bytes, golden, int8 };
}

/** A CPU session with one thread that does not spin. Blocks its thread: workers only. */
export async function createSession(artifact: ModelArtifact): Promise<InferenceSession> {
  const session = await InferenceSession.create(artifact.bytes, {
    executionProviders: ['cpu'],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  try {
    await probeGolden(session, artifact.golden);
    return session;
  } catch (error) {
    await session.release();
    throw corrupt(`${artifact.manifest.name}@${artifact.manifest.version}`, messageOf(error));
  }
}

/** Runs the golden inputs; throws when an output is missing, misshapen, not finite or beyond the tolerance. */
export async function probeGolden(session: InferenceSession, golden: ModelGolden): Promise<void> {
  const feeds: Record<string, Tensor> = {};
  for (const [name, { type, dims, data }] of Object.entries(golden.inputs))
    feeds[name] = tensor(type, dims, data);
  const results = await session.run(feeds);
  for (const [name, expected] of Object.entries(golden.outputs)) {
    const got = results[name];
    if (!got) throw new Error(`golden output ${name} is missing`);
    const values = got.data as ArrayLike<number | bigint>;
    if (values.length !== expected.data.length) {
      throw new Error(`golden output ${name} has ${values.length} values, expected ${expected.data.length}`);
    }
    for (let i = 0; i < values.length; i++) {
      const difference = Math.abs(Number(values[i]) - expected.data[i]);
      if (!(difference <= golden.tolerance)) {
        throw new Error(`golden output ${name}[${i}] is ${values[i]}, expected ${expected.data[i]}`);
      }
    }
  }
}

function tensor(type: 'float32' | 'int32' | 'int64', dims: number[], data: number[]): Tensor {
  if (type === 'float32') return new Tensor(type, Float32Array.from(data), dims);
  if (type === 'int32') return new Tensor(type, Int32Array.from(data), dims);
  return new Tensor(type, BigInt64Array.from(data, BigInt), dims);
}

async function read(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw corrupt(path, messageOf(error));
  }
}

function parse<T>(path: string, schema: z.ZodType<T>, bytes: Uint8Array): T {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw corrupt(path, `not JSON: ${messageOf(error)}`);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw corrupt(path, `${issue.path.join('.')}: ${issue.message}`);
}

function corrupt(path: string, reason: string): FeedrankError {
  return new FeedrankError('corrupt_artifact', `model artifact ${path}: ${reason}`);
}
