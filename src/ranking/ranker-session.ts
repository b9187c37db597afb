// The form of a ranker that serves: float32, or on the CPU int8 where its manifest serves it, it reproduces its golden
// outputs here and is faster here. Called by OnnxRanker; a run blocks its thread.
import type { InferenceSession } from 'onnxruntime-node';
import { FeedrankError, messageOf } from '../errors.ts';
import { type Int8Artifact, type ModelArtifact, probeGolden } from '../features/model-artifact.ts';
import { createRankerSession, type Provider, runRows } from './onnx-session.ts';
import { corruptRanker, type RankerArtifact } from './ranker-artifact.ts';

/** `manifest`: int8 as the manifest says; `on`: also where it does not say so; `off`: never. */
export type Int8Choice = 'manifest' | 'on' | 'off';

/** The int8 form moves probabilities a little: it must be faster by this much. */
const FASTER = 0.9;
const TIMED_RUNS = 5;

export class RankerSession {
  readonly model: string;
  readonly form: 'fp32' | 'int8';
  /** Why the int8 form that should serve does not. */
  readonly problem: string | null;
  /** Milliseconds of a row, measured when it was opened. */
  readonly msPerRow: number;
  readonly #session: InferenceSession;
  readonly #width: number;

  private constructor({ model, encoder }: RankerArtifact, opened: Opened, problem: string | null) {
    this.model = model;
    this.form = opened.form;
    this.msPerRow = opened.msPerRow;
    this.problem = problem;
    this.#session = opened.session;
    this.#width = encoder.width;
  }

  /**
   * Blocks its thread while it loads. `rows`: of a run, for the measurement.
   * @throws FeedrankError(corrupt_artifact) for a failed golden probe, (unavailable) naming the provider when it
   * cannot run the model.
   */
  static async open(
    artifact: ModelArtifact,
    spec: RankerArtifact,
    provider: Provider,
    rows: number,
    choice: Int8Choice = 'manifest',
  ): Promise<RankerSession> {
    const session = await createRankerSession(artifact.bytes, spec.model, provider);
    try {
      await probeGolden(session, artifact.golden);
      const fp32: Opened = { session, form: 'fp32', msPerRow: await timeRow(session, spec, rows) };
      const { int8 } = artifact;
      if (provider !== 'cpu' || !int8 || choice === 'off' || !(int8.serve || choice === 'on')) {
        return new RankerSession(spec, fp32, null);
      }
      const found = await openInt8(int8, spec, rows, fp32.msPerRow);
      if (typeof found === 'string') return new RankerSession(spec, fp32, int8.serve ? found : null);
      await session.release();
      return new RankerSession(spec, found, null);
    } catch (error) {
      await session.release();
      throw error instanceof FeedrankError ? error : corruptRanker(spec.model, messageOf(error));
    }
  }

  /**
   * Probabilities [rows × heads], not looked at.
   * @param features [≥ rows, D] row-major
   * @param user [U], null where the model has no such input
   * @throws FeedrankError(unavailable) when the model fails or gives another shape.
   */
  run(features: Float32Array, rows: number, user: Float32Array | null): Promise<Float32Array> {
    const part = features.subarray(0, rows * this.#width);
    return runRows(this.#session, this.model, part, rows, this.#width, user);
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

interface Opened {
  session: InferenceSession;
  form: 'fp32' | 'int8';
  msPerRow: number;
}

/** The int8 form, or why it does not serve. */
async function openInt8(
  { bytes, golden }: Int8Artifact,
  spec: RankerArtifact,
  rows: number,
  fp32MsPerRow: number,
): Promise<Opened | string> {
  const refused = (reason: string) => `model ${spec.model}: its int8 form ${reason}; float32 serves`;
  let session: InferenceSession;
  try {
    session = await createRankerSession(bytes, spec.model, 'cpu');
  } catch (error) {
    return refused(`does not load (${messageOf(error)})`);
  }
  try {
    await probeGolden(session, golden);
    const msPerRow = await timeRow(session, spec, rows);
    if (msPerRow <= FASTER * fp32MsPerRow) return { form: 'int8', msPerRow, session };
    await session.release();
    return refused(`takes ${(msPerRow / fp32MsPerRow).toFixed(2)} times as long here`);
  } catch (error) {
    await session.release();
    return refused(`is another here (${messageOf(error)})`);
  }
}

/** The fastest of some runs: what others do on the machine only adds to it. The first ones allocate. */
async function timeRow(session: InferenceSession, spec: RankerArtifact, rows: number): Promise<number> {
  const { width } = spec.encoder;
  const features = new Float32Array(rows * width);
  const user = spec.user && new Float32Array(spec.user.width);
  let best = Infinity;
  for (let i = 0; i < TIMED_RUNS; i++) {
    const began = performance.now();
    await runRows(session, spec.model, features, rows, width, user);
    best = Math.min(best, performance.now() - began);
  }
  return best / rows;
}
