// A ranker's ONNX Runtime session and one run of it, on any execution provider. A node that the provider does not take
// is an error, never a silent fallback to the CPU. Called by onnx-ranker.ts, device/device-models.ts and the benchmarks.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { FeedrankError, messageOf } from '../errors.ts';
import { HEADS } from '../vocabulary.ts';

export type Provider = 'cpu' | 'cuda' | 'webgpu';

/**
 * Blocks its thread while it loads. `source`: the file's bytes, or its path where weights lie in a file beside it.
 * @throws FeedrankError(unavailable) naming the provider when it cannot be loaded or does not take every node.
 */
export async function createRankerSession(
  source: Uint8Array | string,
  model: string,
  provider: Provider,
): Promise<InferenceSession> {
  const quiet = { intra_op: { allow_spinning: '0' } };
  const options: InferenceSession.SessionOptions = {
    executionProviders: [provider],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // Without this a node that the provider cannot run falls back to the CPU silently.
    extra: { session: provider === 'cpu' ? quiet : { ...quiet, disable_cpu_ep_fallback: '1' } },
  };
  try {
    return typeof source === 'string'
      ? await InferenceSession.create(source, options)
      : await InferenceSession.create(source, options);
  } catch (cause) {
    throw new FeedrankError(
      'unavailable',
      `execution provider ${provider} cannot run ${model}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

/**
 * Probabilities `[rows, HEADS.length]` of `features` `[rows, width]`; `user` [userRows, U], one row for all or one for
 * each: where the model has that input.
 * @throws FeedrankError(unavailable) when the run fails or gives another shape.
 */
export async function runRows(
  session: InferenceSession,
  model: string,
  features: Float32Array,
  rows: number,
  width: number,
  user: Float32Array | null = null,
  userRows = 1,
): Promise<Float32Array> {
  const feeds: Record<string, Tensor> = { features: new Tensor('float32', features, [rows, width]) };
  if (user !== null) feeds.user = new Tensor('float32', user, [userRows, user.length / userRows]);
  let outputs: InferenceSession.ReturnType;
  try {
    outputs = await session.run(feeds);
  } catch (cause) {
    throw new FeedrankError('unavailable', `${model} failed: ${messageOf(cause)}`, { cause });
  }
  const data = outputs.probabilities?.data;
  if (!(data instanceof Float32Array) || data.length !== rows * HEADS.length) {
    throw new FeedrankError('unavailable', `${model} gave no [${rows}, ${HEADS.length}] probabilities`);
  }
  return data;
}

/** Copies a chunk's output; a number outside [0, 1] means that the model failed. @throws FeedrankError(unavailable). */
export function copyProbabilities(output: Float32Array, into: Float32Array, at: number, model: string): void {
  for (let i = 0; i < output.length; i++) {
    const p = output[i];
    if (!(p >= 0 && p <= 1)) {
      throw new FeedrankError('unavailable', `${model} gave ${p} for ${HEADS[i % HEADS.length]}`);
    }
    into[at + i] = p;
  }
}
