// Vectors for users without history: the mean of their interests' topic vectors, or the tower's fixed vector.
import type { Post, User } from './contracts.ts';

const CACHE_LIMIT = 10_000;

export class ColdStart {
  readonly #embedPosts: (posts: Pick<Post, 'topic'>[]) => Promise<Float32Array>;
  readonly #fixed: Float32Array;
  readonly #cache = new Map<string, Float32Array>();

  /** @param fixed unit vector [dim] for a user of whom nothing is known. */
  constructor(embedPosts: (posts: Pick<Post, 'topic'>[]) => Promise<Float32Array>, fixed: Float32Array) {
    this.#embedPosts = embedPosts;
    this.#fixed = fixed;
  }

  get fixed(): Float32Array {
    return this.#fixed;
  }

  /** Unit vector [dim]. Rejects as the embed pool does. */
  async vector(user: User | null): Promise<Float32Array> {
    const topics = [...new Set(user?.topics ?? [])].sort();
    if (topics.length === 0) return this.#fixed;
    const key = topics.join('\u0001');
    const cached = this.#cache.get(key);
    if (cached) return cached;
    const vectors = await this.#embedPosts(topics.map((topic) => ({ topic })));
    const mean = unitMean(vectors, this.#fixed.length) ?? this.#fixed;
    if (this.#cache.size >= CACHE_LIMIT) this.#cache.clear();
    this.#cache.set(key, mean);
    return mean;
  }
}

/** Mean of `[N, dim]` vectors, normalised; null when they cancel out. */
function unitMean(vectors: Float32Array, dim: number): Float32Array | null {
  const mean = new Float32Array(dim);
  for (let i = 0; i < vectors.length; i++) mean[i % dim] += vectors[i];
  const norm = Math.hypot(...mean);
  if (!(norm > 1e-6)) return null;
  return mean.map((value) => value / norm);
}
