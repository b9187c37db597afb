// Runs a multi-task ranker in ONNX Runtime: encodes a chunk, runs it, looks at the clock, goes on. One in each feed
// worker. A run cannot be interrupted, so chunks are what makes a deadline hold and a worker safe to stop.
import type { CandidateSet, Catalogue, FeedQuery } from '../contracts.ts';
import { FeedrankError } from '../errors.ts';
import type { FeatureEncoder } from '../features/feature-encoder.ts';
import type { FeaturePlan } from '../features/feature-schema.ts';
import type { ModelArtifact } from '../features/model-artifact.ts';
import { hash32 } from '../hashing.ts';
import { steadyNow } from '../steady-clock.ts';
import { HEADS } from '../vocabulary.ts';
import type { ForkJoin } from './fork-join.ts';
import { copyProbabilities, type Provider } from './onnx-session.ts';
import { rankedSet, type Scored, type ServableRanker } from './ranker.ts';
import { type RankerArtifact, readRankerArtifact } from './ranker-artifact.ts';
import { type Int8Choice, RankerSession } from './ranker-session.ts';
import type { ValueModel } from './value-model.ts';

/**
 * Rows a run, at least and at most. On the CPU as many as take RUN_MS, which bounds how late a deadline is noticed: a run
 * costs .02 ms of its own (ranker@2, 1000 rows: four runs .44 ms, one .40). A GPU wants all rows.
 */
const RUN_ROWS: Record<Provider, { least: number; most: number }> = {
  cpu: { least: 250, most: 1000 },
  cuda: { least: 4096, most: 4096 },
  webgpu: { least: 4096, most: 4096 },
};
const RUN_MS = 0.5;
/** Weight of the newest run in the running mean of its cost. */
const COST_SMOOTHING = 0.1;
/** A run that took this many times the mean says no more than that: the process was stopped, or the thread not run. */
const COST_OUTLIER = 8;
/** What is left of the expected cost after a refusal: an expectation that lets nothing run would never be corrected. */
const COST_FADING = 0.9;

export class OnnxRanker implements ServableRanker {
  readonly model: string;
  readonly provider: Provider;
  /** Which form of the model runs. */
  readonly form: 'fp32' | 'int8';
  /** Candidates that the light ranker is to leave to this one; 0 = all. */
  readonly preRank: number;
  /** `post-tower@1`: the space whose vectors it was trained on. */
  readonly tower: string | undefined;
  /** True when its features read single coordinates of the vectors: then it fits that space only. */
  readonly needsTower: boolean;
  /** Why its int8 form does not run although it should. */
  readonly problem: string | null;
  /** Names model and form to other workers. */
  readonly shareKey: number;
  readonly #session: RankerSession;
  readonly #encoder: FeatureEncoder;
  readonly #userPlan: FeaturePlan | null;
  readonly #features: Float32Array;
  readonly #user: Float32Array | null;
  readonly #runRows: { least: number; most: number };
  /** With encoding, and without. */
  #msPerRow: number;
  #runMsPerRow: number;
  #fork: ForkJoin | null = null;
  /** Requests of one worker queue here: encoder and buffers serve one at a time. */
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(spec: RankerArtifact, session: RankerSession, provider: Provider) {
    this.model = spec.model;
    this.provider = provider;
    this.form = session.form;
    this.preRank = spec.preRank;
    this.tower = spec.tower;
    this.needsTower = spec.needsTower;
    this.problem = session.problem;
    this.shareKey = hash32(`${spec.model} ${session.form}`) | 0;
    this.#session = session;
    this.#encoder = spec.encoder;
    this.#userPlan = spec.user;
    this.#user = spec.user && new Float32Array(spec.user.width);
    this.#runRows = RUN_ROWS[provider];
    this.#features = new Float32Array(this.#runRows.most * spec.encoder.width);
    this.#msPerRow = this.#runMsPerRow = session.msPerRow;
  }

  /**
   * Opens a verified artifact on one execution provider. Blocks its thread while it loads.
   * @throws FeedrankError(corrupt_artifact) for unknown features, other heads or a failed golden probe;
   * (unavailable) naming the provider when it cannot run the model.
   */
  static async open(
    artifact: ModelArtifact,
    provider: Provider,
    int8: Int8Choice = 'manifest',
  ): Promise<OnnxRanker> {
    const spec = readRankerArtifact(artifact);
    const session = await RankerSession.open(artifact, spec, provider, RUN_ROWS[provider].least, int8);
    return new OnnxRanker(spec, session, provider);
  }

  /** Lets idle workers take part in long runs. */
  shareBy(fork: ForkJoin): void {
    if (this.provider === 'cpu') this.#fork = fork;
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

  /** Rows of another worker's request, encoded there; may run beside a request of one's own. Throws as a run does. */
  runShared(features: Float32Array, rows: number, user: Float32Array | null): Promise<Float32Array> {
    return this.#session.run(features, rows, user);
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
    const began = performance.now();
    const { size, rows } = candidates;
    const { width } = this.#encoder;
    const probabilities = new Float32Array(size * HEADS.length);
    const check = (left: number) => {
      if (steadyNow() + this.expectedMs(left) <= deadlineAtMs) return;
      this.#msPerRow *= COST_FADING;
      throw new FeedrankError('timeout', `${this.model} would not rank ${size} posts within its time`);
    };
    const take = (from: number, _to: number, output: Float32Array) =>
      copyProbabilities(output, probabilities, from * HEADS.length, this.model);
    check(size);
    this.#encoder.begin(query.user, catalogue, { nowMs: query.nowMs });
    if (this.#userPlan) this.#encoder.encodeRequest(this.#userPlan, this.#user!);
    const shared = { rows: size, width, userWidth: this.#user?.length ?? 0 };
    const room = this.#fork?.room(shared, this.#runMsPerRow) ?? null;
    let encodeMs = 0;
    if (room !== null) {
      this.#encoder.encode(catalogue, rows, 0, size, room.features);
      if (this.#user) room.user.set(this.#user);
      encodeMs = performance.now() - began;
      const own = async (from: number, to: number) => {
        const part = room.features.slice(from * width, to * width);
        take(from, to, await this.#run(part, to - from));
      };
      const msPerRow = this.#runMsPerRow;
      await this.#fork!.run({ ...shared, key: this.shareKey, msPerRow, own, take, check });
    } else {
      const { least, most } = this.#runRows;
      const runRows = Math.min(most, Math.max(least, Math.floor(RUN_MS / this.#runMsPerRow)));
      for (let from = 0; from < size; from += runRows) {
        if (from > 0) check(size - from);
        const to = Math.min(size, from + runRows);
        const chunkAt = performance.now();
        this.#encoder.encode(catalogue, rows, from, to, this.#features);
        encodeMs += performance.now() - chunkAt;
        take(from, to, await this.#run(this.#features, to - from));
        this.#msPerRow = learned(this.#msPerRow, (performance.now() - chunkAt) / (to - from));
      }
    }
    const scores = value.scoreAll(probabilities, size);
    const runMs = performance.now() - began - encodeMs;
    return { ...rankedSet(this.model, candidates, scores, probabilities), encodeMs, runMs };
  }

  async #run(features: Float32Array, rows: number): Promise<Float32Array> {
    const began = performance.now();
    const output = await this.#session.run(features, rows, this.#user);
    this.#runMsPerRow = learned(this.#runMsPerRow, (performance.now() - began) / rows);
    return output;
  }
}

function learned(mean: number, newest: number): number {
  return mean + COST_SMOOTHING * (Math.min(newest, mean * COST_OUTLIER) - mean);
}
