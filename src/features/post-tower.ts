// Posts → unit vectors: text, topic, author and id, each of them optional, through the post tower's ONNX model.
// Runs ONNX synchronously: used inside embed workers and offline jobs, never on the serving loop.
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { z } from 'zod';
import { FeedrankError } from '../errors.ts';
import { createSession, loadModelArtifact } from './model-artifact.ts';
import { type HashConfig, hashKey, TextHasher } from './text-hash.ts';

export interface PostTowerInput {
  id?: string;
  authorId?: string;
  topic?: string;
  /** Title and body joined; see MAX_UNITS of the hasher for how much is read. */
  text?: string;
}

/** Posts a run: small enough for the gathered rows [N, T, 64] to stay in cache. */
const CHUNK = 32;

const count = z.number().int().nonnegative();
const hashSchema = z.object({
  algorithm: z.literal('fnv1a-utf16-fmix32'),
  wordRows: count.positive(),
  bigramRows: count,
  charRows: count,
  charMin: count.positive(),
  charMax: count.positive(),
  maxWords: count.positive(),
  maxTokens: count.positive(),
  topicTokens: count.positive(),
  authorRows: count,
  topicRows: count,
  itemRows: count,
});

export class PostTower {
  readonly dim: number;
  /** `post-tower@1`: names the space its vectors live in. */
  readonly version: string;
  readonly #session: InferenceSession;
  readonly #hasher: TextHasher;
  readonly #text: Int32Array;
  readonly #topic: Int32Array;

  private constructor(session: InferenceSession, dim: number, version: string, config: HashConfig) {
    this.dim = dim;
    this.version = version;
    this.#session = session;
    this.#hasher = new TextHasher(config);
    this.#text = new Int32Array(CHUNK * config.maxTokens);
    this.#topic = new Int32Array(CHUNK * config.topicTokens);
  }

  /** Throws FeedrankError(corrupt_artifact) when a file, the hash configuration or a golden output is not right. */
  static async load(dir: string): Promise<PostTower> {
    const artifact = await loadModelArtifact(dir);
    const { manifest } = artifact;
    const config = hashSchema.safeParse(manifest.hash);
    if (manifest.kind !== 'post-tower' || !manifest.dim || !config.success) {
      throw new FeedrankError('corrupt_artifact', `${dir}: not a post tower that this version can run`);
    }
    const session = await createSession(artifact);
    return new PostTower(session, manifest.dim, `${manifest.name}@${manifest.version}`, config.data);
  }

  /** `[N, dim]` row-major float32, unit norm; the cold vector where a post has no known field. */
  async embed(posts: readonly PostTowerInput[]): Promise<Float32Array> {
    const out = new Float32Array(posts.length * this.dim);
    for (let at = 0; at < posts.length; at += CHUNK) {
      const n = Math.min(CHUNK, posts.length - at);
      const result = await this.#session.run(this.#encode(posts, at, n));
      out.set(result.vector.data as Float32Array, at * this.dim);
    }
    return out;
  }

  async release(): Promise<void> {
    await this.#session.release();
  }

  #encode(posts: readonly PostTowerInput[], from: number, n: number): Record<string, Tensor> {
    const { config } = this.#hasher;
    const author = new Int32Array(n);
    const topic = new Int32Array(n);
    const item = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      const post = posts[from + i];
      author[i] = hashKey(post.authorId, config.authorRows);
      topic[i] = hashKey(post.topic, config.topicRows);
      item[i] = hashKey(post.id, config.itemRows);
    }
    const text = this.#bags(posts, from, n, 'text', this.#text, config.maxTokens);
    const topicText = this.#bags(posts, from, n, 'topic', this.#topic, config.topicTokens);
    return {
      text_ids: text,
      topic_text_ids: topicText,
      author_id: new Tensor('int32', author, [n]),
      topic_id: new Tensor('int32', topic, [n]),
      item_id: new Tensor('int32', item, [n]),
    };
  }

  /** Zero-padded rows [n, width] of one text field, as wide as its longest text (at least 1). */
  #bags(
    posts: readonly PostTowerInput[],
    from: number,
    n: number,
    field: 'text' | 'topic',
    scratch: Int32Array,
    limit: number,
  ): Tensor {
    let width = 1;
    for (let i = 0; i < n; i++) {
      const used = this.#hasher.write(posts[from + i][field], scratch, i * limit, limit);
      scratch.fill(0, i * limit + used, (i + 1) * limit);
      if (used > width) width = used;
    }
    const packed = new Int32Array(n * width);
    for (let i = 0; i < n; i++) packed.set(scratch.subarray(i * limit, i * limit + width), i * width);
    return new Tensor('int32', packed, [n, width]);
  }
}
