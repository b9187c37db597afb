// Ranks on the device: encodes here, in the feed worker, and lets the device worker run the rows with those of other
// feed workers. Opened by model-registry.ts where an execution provider other than the CPU is configured.
import type { CandidateSet, Catalogue, FeedQuery } from '../../contracts.ts';
import { FeedrankError } from '../../errors.ts';
import type { ModelArtifact } from '../../features/model-artifact.ts';
import { HEADS } from '../../vocabulary.ts';
import { copyProbabilities, type Provider } from '../onnx-session.ts';
import { rankedSet, type Scored, type ServableRanker } from '../ranker.ts';
import { type RankerArtifact, readRankerArtifact } from '../ranker-artifact.ts';
import type { ValueModel } from '../value-model.ts';
import { DeviceClient } from './device-client.ts';
import { type DeviceHandle, DeviceMemory } from './device-memory.ts';

/** Weight of the newest request in the time that encoding a row takes. */
const NEWEST = 0.1;

export class DeviceRanker implements ServableRanker {
  readonly model: string;
  readonly provider: Provider;
  readonly tower: string | undefined;
  readonly needsTower: boolean;
  readonly #spec: RankerArtifact;
  readonly #client: DeviceClient;
  readonly #features: Float32Array;
  readonly #user: Float32Array | null;
  #encodeMsPerRow = 0;

  /** @throws FeedrankError(corrupt_artifact) as `readRankerArtifact`, or for more columns than the memory has. */
  constructor(artifact: ModelArtifact, provider: Provider, handle: DeviceHandle, id: number) {
    this.#spec = readRankerArtifact(artifact);
    const { model, tower, needsTower, encoder } = this.#spec;
    if (encoder.width > handle.columns) {
      throw new FeedrankError(
        'corrupt_artifact',
        `${model}: ${encoder.width} columns, the device takes ${handle.columns}`,
      );
    }
    this.model = model;
    this.provider = provider;
    this.tower = tower;
    this.needsTower = needsTower;
    this.#client = new DeviceClient(new DeviceMemory(handle), { id, model });
    this.#user = this.#spec.user && new Float32Array(this.#spec.user.width);
    this.#features = new Float32Array(handle.rows * encoder.width);
  }

  expectedMs(rows: number): number {
    return rows * this.#encodeMsPerRow + this.#client.expectedMs(rows);
  }

  /** Blocks its thread from the encoding to the device's answer: nothing comes between, buffers serve one at a time. */
  async score(
    query: FeedQuery,
    catalogue: Catalogue,
    candidates: CandidateSet,
    deadlineAtMs: number,
    value: ValueModel,
  ): Promise<Scored> {
    const { size, rows } = candidates;
    const { encoder, user } = this.#spec;
    const probabilities = new Float32Array(size * HEADS.length);
    let encodeMs = 0;
    let runMs = 0;
    encoder.begin(query.user, catalogue, { nowMs: query.nowMs });
    if (user) encoder.encodeRequest(user, this.#user!);
    for (let from = 0; from < size; from += this.#client.maxRows) {
      const to = Math.min(size, from + this.#client.maxRows);
      this.#client.check(to - from, deadlineAtMs - (to - from) * this.#encodeMsPerRow);
      const began = performance.now();
      encoder.encode(catalogue, rows, from, to, this.#features);
      const encoded = performance.now();
      const part = { features: this.#features, rows: to - from, columns: encoder.width, user: this.#user };
      const output = this.#client.run(part, deadlineAtMs);
      copyProbabilities(output, probabilities, from * HEADS.length, this.model);
      encodeMs += encoded - began;
      runMs += performance.now() - encoded;
      this.#encodeMsPerRow += NEWEST * ((encoded - began) / (to - from) - this.#encodeMsPerRow);
    }
    const scores = value.scoreAll(probabilities, size);
    return { ...rankedSet(this.model, candidates, scores, probabilities), encodeMs, runMs };
  }

  /** The session is the device worker's: nothing to free here. */
  async release(): Promise<void> {}
}
