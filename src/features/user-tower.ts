// A user's recent engagements → unit vector in the space of one post tower; the cold-start vector without any.
// Runs ONNX synchronously: used inside embed workers and offline jobs, never on the serving loop.
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { FeedrankError } from '../errors.ts';
import { createSession, loadModelArtifact } from './model-artifact.ts';

/** Parallel lists, newest engagement first; entries beyond the tower's history are ignored. */
export interface UserTowerInput {
  /** Unit post vectors [dim]. */
  vectors: Float32Array[];
  /** ENGAGEMENT_CODES: 1 click, 2 like, 3 reply, 4 share, 5 long dwell, 6 negative; 0 is ignored. */
  types: number[];
  ageHours: number[];
}

const HISTORY = 30;
const MAX_TYPE = 6;
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
    const out = new Float32Array(users.length * this.dim);
    for (let at = 0; at < users.length; at += CHUNK) {
      const n = Math.min(CHUNK, users.length - at);
      const result = await this.#session.run(this.#encode(users, at, n));
      out.set(result.vector.data as Float32Array, at * this.dim);
    }
    return out;
  }

  async release(): Promise<void> {
    await this.#session.release();
  }

  #encode(users: readonly UserTowerInput[], from: number, n: number): Record<string, Tensor> {
    const { dim } = this;
    const history = new Float32Array(n * HISTORY * dim);
    const types = new Int32Array(n * HISTORY);
    const ages = new Float32Array(n * HISTORY);
    for (let u = 0; u < n; u++) {
      const user = users[from + u];
      const length = Math.min(user.vectors.length, HISTORY);
      for (let h = 0; h < length; h++) {
        const vector = user.vectors[h];
        const type = user.types[h];
        const at = u * HISTORY + h;
        if (!(type > 0 && type <= MAX_TYPE) || vector.length !== dim || !allFinite(vector)) continue;
        history.set(vector, at * dim);
        types[at] = type;
        ages[at] = Number.isFinite(user.ageHours[h]) ? Math.max(0, user.ageHours[h]) : 0;
      }
    }
    return {
      history: new Tensor('float32', history, [n, HISTORY, dim]),
      types: new Tensor('int32', types, [n, HISTORY]),
      age_hours: new Tensor('float32', ages, [n, HISTORY]),
    };
  }
}

function allFinite(vector: Float32Array): boolean {
  for (let i = 0; i < vector.length; i++) if (!Number.isFinite(vector[i])) return false;
  return true;
}
