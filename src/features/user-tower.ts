// A user's recent engagements → unit vector in the space of one post tower; the cold-start vector without any.
// Runs ONNX synchronously: used inside embed workers and offline jobs, never on the serving loop.
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { FeedrankError } from '../errors.ts';
import { createSession, loadModelArtifact } from './model-artifact.ts';
import { type PackedUsers, packUsers, TOWER_ROWS, type UserTowerInput } from './packed-users.ts';

const CHUNK = 64;

export class UserTower {
  readonly dim: number;
  readonly version: string;
  /** The post tower whose space the vectors live in: `post-tower@1`. */
  readonly postTower: string;
  readonly #session: InferenceSession;
  #cold: Float32Array = new Float32Array(0);

  private constructor(session: InferenceSession, dim: number, version: string, postTower: string) {
    this.dim = dim;
    this.version = version;
    this.postTower = postTower;
    this.#session = session;
  }

  /** Throws FeedrankError(corrupt_artifact) when a file or a golden output is not right. */
  static async load(dir: string): Promise<UserTower> {
    const artifact = await loadModelArtifact(dir);
    const { manifest } = artifact;
    if (manifest.kind !== 'user-tower' || !manifest.dim || !manifest.tower) {
      throw new FeedrankError('corrupt_artifact', `${dir}: not a user tower that this version can run`);
    }
    const session = await createSession(artifact);
    const version = `${manifest.name}@${manifest.version}`;
    const tower = new UserTower(session, manifest.dim, version, manifest.tower);
    tower.#cold = await tower.embed([{ vectors: [], types: [], ageHours: [] }]);
    return tower;
  }

  /** Unit vector [dim] of a user without history. */
  coldStart(): Float32Array {
    return this.#cold.slice();
  }

  /** `[U, dim]` row-major float32, unit norm. Vectors that are not finite or of another length are left out. */
  async embed(users: readonly UserTowerInput[]): Promise<Float32Array> {
    return this.embedPacked(packUsers(users, this.dim));
  }

  /** As `embed`. */
  async embedPacked(users: PackedUsers): Promise<Float32Array> {
    const out = new Float32Array(users.count * this.dim);
    for (let at = 0; at < users.count; at += CHUNK) {
      const result = await this.#session.run(this.#tensors(users, at, Math.min(CHUNK, users.count - at)));
      out.set(result.vector.data as Float32Array, at * this.dim);
    }
    return out;
  }

  async release(): Promise<void> {
    await this.#session.release();
  }

  #tensors({ history, types, ages }: PackedUsers, from: number, n: number): Record<string, Tensor> {
    const [first, end] = [from * TOWER_ROWS, (from + n) * TOWER_ROWS];
    const vectors = history.subarray(first * this.dim, end * this.dim);
    return {
      history: new Tensor('float32', vectors, [n, TOWER_ROWS, this.dim]),
      types: new Tensor('int32', types.subarray(first, end), [n, TOWER_ROWS]),
      age_hours: new Tensor('float32', ages.subarray(first, end), [n, TOWER_ROWS]),
    };
  }
}
