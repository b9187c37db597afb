// Runs a multi-task ranker in ONNX Runtime: encodes a chunk, runs it, looks at the clock, goes on. One in each feed
// worker. A run cannot be interrupted, so chunks are what makes a deadline hold and a worker safe to stop.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { CandidateSet, Catalogue, FeedQuery } from '../contracts.ts';
import { FeedrankError, messageOf } from '../errors.ts';
import { FeatureEncoder } from '../features/feature-encoder.ts';
import { compilePlan } from '../features/feature-schema.ts';
import { type ModelArtifact, probeGolden } from '../features/model-artifact.ts';
import { HEADS } from '../vocabulary.ts';
import { type Ranker, rankedSet, type Scored } from './ranker.ts';
import type { ValueModel } from './value-model.ts';

export type Provider = 'cpu' | 'cuda' | 'webgpu';

/** Rows a run. On the CPU chunks are nearly free and bound how late a deadline is noticed; a GPU wants all rows. */
const CHUNK_ROWS: Record<Provider, number> = { cpu: 250, cuda: 4096, webgpu: 4096 };
const WARM_UP_RUNS = 3;
/** Weight of the newest run in the running mean of its cost. */
const COST_SMOOTHING = 0.1;

export class OnnxRanker implements Ranker {
  readonly model: string;
  readonly provider: Provider;
  /** `post-tower@1`: the space whose vectors it was trained on. */
  readonly tower: string | undefined;
  /** True when its features read single coordinates of the vectors: then it fits that space only. */
  readonly needsTower: boolean;
  readonly #session: InferenceSession;
  readonly #encoder: FeatureEncoder;
  readonly #features: Float32Array;
  readonly #chunkRows: number;
  #msPerRow = 0;
  /** Requests of one worker queue here: encoder and buffers serve one at a time. */
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(
    artifact: ModelArtifact,
    session: InferenceSession,
    encoder: FeatureEncoder,
    provider: Provider,
  ) {
    this.model = `${artifact.manifest.name}@${artifact.manifest.version}`;
    this.provider = provider;
    this.tower = artifact.manifest.tower;
    this.needsTower = encoder.plan.has('hadamard@1');
    this.#session = session;
    this.#encoder = encoder;
    this.#chunkRows = CHUNK_ROWS[provider];
    this.#features = new Float32Array(this.#chunkRows * encoder.width);
  }

  /**
   * Opens a verified artifact on one execution provider. Blocks its thread while it loads.
   * @throws FeedrankError(corrupt_artifact) for unknown features, other heads or a failed golden probe;
   * (unavailable) naming the provider when it cannot run the model.
   */
  static async open(artifact: ModelArtifact, provider: Provider): Promise<OnnxRanker> {
    const { manifest } = artifact;
    const model = `${manifest.name}@${manifest.version}`;
    const { features, heads } = manifest as { features?: unknown; heads?: unknown };
    if (manifest.kind !== 'ranker') throw corrupt(model, `is a ${manifest.kind}, not a ranker`);
    if (!isStrings(features)) throw corrupt(model, 'features: must be a list of feature@version');
    if (!isStrings(heads) || heads.join() !== HEADS.join()) {
      throw corrupt(model, `heads: must be ${HEADS.join(', ')}`);
    }
    const encoder = new FeatureEncoder(compilePlan(features));
    const session = await createSession(artifact, model, provider);
    try {
      await probeGolden(session, artifact.golden);
      const ranker = new OnnxRanker(artifact, session, encoder, provider);
      await ranker.#warmUp();
      return ranker;
    } catch (error) {
      await session.release();
      throw error instanceof FeedrankError ? error : corrupt(model, messageOf(error));
    }
  }

  expectedMs(rows: number): number {
    return rows * this.#msPerRow;
  }

  score(
    query: FeedQuery,
    catalogue: Catalogue,
    candidates: CandidateSet,
    deadlineAtMs: number,
    value: ValueModel,
  ): Promise<Scored> {
    const work = this.#tail.then(() => this.#score(query, catalogue, candidates, deadlineAtMs, value));
    this.#tail = work.catch(() => {});
    return work;
  }

  /** Frees the session after the work in progress; the ranker is of no use afterwards. */
  async release(): Promise<void> {
    await this.#tail;
    await this.#session.release();
  }

  async #score(
    query: FeedQuery,
    catalogue: Catalogue,
    candidates: CandidateSet,
    deadlineAtMs: number,
    value: ValueModel,
  ): Promise<Scored> {
    const { size, rows } = candidates;
    const probabilities = new Float32Array(size * HEADS.length);
    const scores = new Float32Array(size);
    let encodeMs = 0;
    let runMs = 0;
    this.#encoder.begin(query.user, catalogue, { nowMs: query.nowMs });
    for (let from = 0; from < size; from += this.#chunkRows) {
      if (Date.now() + this.expectedMs(size - from) > deadlineAtMs) {
        throw new FeedrankError('timeout', `${this.model} would not rank ${size} posts within its time`);
      }
      const to = Math.min(size, from + this.#chunkRows);
      const began = performance.now();
      this.#encoder.encode(catalogue, rows, from, to, this.#features);
      const encoded = performance.now();
      const output = await this.#run(to - from);
      copyProbabilities(output, probabilities, from * HEADS.length, this.model);
      for (let i = from; i < to; i++) scores[i] = value.scoreAt(probabilities, i * HEADS.length);
      const ended = performance.now();
      encodeMs += encoded - began;
      runMs += ended - encoded;
      this.#learnCost((ended - began) / (to - from));
    }
    return { ...rankedSet(this.model, candidates, scores, probabilities), encodeMs, runMs };
  }

  async #run(rows: number): Promise<Float32Array> {
    const { width } = this.#encoder;
    const features = new Tensor('float32', this.#features.subarray(0, rows * width), [rows, width]);
    let outputs: InferenceSession.ReturnType;
    try {
      outputs = await this.#session.run({ features });
    } catch (cause) {
      throw new FeedrankError('unavailable', `${this.model} failed: ${messageOf(cause)}`, { cause });
    }
    const data = outputs.probabilities?.data;
    if (!(data instanceof Float32Array) || data.length !== rows * HEADS.length) {
      throw new FeedrankError(
        'unavailable',
        `${this.model} gave no [${rows}, ${HEADS.length}] probabilities`,
      );
    }
    return data;
  }

  /** First runs allocate; the last one tells what a row costs. */
  async #warmUp(): Promise<void> {
    for (let i = 0; i < WARM_UP_RUNS; i++) {
      const began = performance.now();
      await this.#run(this.#chunkRows);
      this.#msPerRow = (performance.now() - began) / this.#chunkRows;
    }
  }

  #learnCost(msPerRow: number): void {
    this.#msPerRow += COST_SMOOTHING * (msPerRow - this.#msPerRow);
  }
}

async function createSession(
  { bytes }: ModelArtifact,
  model: string,
  provider: Provider,
): Promise<InferenceSession> {
  const quiet = { intra_op: { allow_spinning: '0' } };
  try {
    return await InferenceSession.create(bytes, {
      executionProviders: [provider],
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      // Without this a node that the provider cannot run falls back to the CPU silently.
      extra: { session: provider === 'cpu' ? quiet : { ...quiet, disable_cpu_ep_fallback: '1' } },
    });
  } catch (cause) {
    throw new FeedrankError(
      'unavailable',
      `execution provider ${provider} cannot run ${model}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

/** Copies a chunk's output; a number outside [0, 1] means that the model failed. */
function copyProbabilities(output: Float32Array, into: Float32Array, at: number, model: string): void {
  for (let i = 0; i < output.length; i++) {
    const p = output[i];
    if (!(p >= 0 && p <= 1)) {
      throw new FeedrankError('unavailable', `${model} gave ${p} for ${HEADS[i % HEADS.length]}`);
    }
    into[at + i] = p;
  }
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function corrupt(model: string, reason: string): FeedrankError {
  return new FeedrankError('corrupt_artifact', `model ${model}: ${reason}`);
}
