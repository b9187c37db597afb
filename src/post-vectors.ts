// Vectors of the posts in users' histories, made when they are asked for and kept while there is room: the updater has
// no catalogue of its own. Oldest entries make room.
import type { Post, PostStore } from './contracts.ts';
import { deadlineIn } from './deadline.ts';
import { hash64 } from './hashing.ts';
import type { VectorLookup } from './user-embedder.ts';

/** 65,536 posts of 64 float32: 16 MB. */
const CAPACITY = 1 << 16;
const STORE_TIMEOUT_MS = 5_000;

export interface PostVectorsOptions {
  posts: Pick<PostStore, 'getPosts'>;
  embedPosts: (posts: Post[]) => Promise<Float32Array>;
  dim: number;
}

export class PostVectors implements VectorLookup {
  readonly dim: number;
  readonly vectors: Float32Array;
  readonly #options: PostVectorsOptions;
  readonly #rows = new Map<string, number>();
  readonly #keys: string[] = [];
  #next = 0;

  constructor(options: PostVectorsOptions) {
    this.#options = options;
    this.dim = options.dim;
    this.vectors = new Float32Array(CAPACITY * options.dim);
  }

  rowOf(keyLo: number, keyHi: number): number {
    return this.#rows.get(`${keyLo} ${keyHi}`) ?? -1;
  }

  /** Makes the vectors that are missing; posts that are gone stay without one. */
  async load(postIds: Iterable<string>): Promise<void> {
    const missing = [...new Set(postIds)].filter((id) => !this.#rows.has(keyOf(id)));
    if (missing.length === 0) return;
    const found = await this.#options.posts.getPosts(missing, deadlineIn(STORE_TIMEOUT_MS));
    const posts = found.filter((post) => post !== null);
    if (posts.length === 0) return;
    const { dim } = this;
    const vectors = await this.#options.embedPosts(posts);
    posts.forEach((post, i) => {
      this.#put(keyOf(post.id), vectors.subarray(i * dim, (i + 1) * dim));
    });
  }

  /** The post changed or is gone. */
  forget(postId: string): void {
    this.#rows.delete(keyOf(postId));
  }

  #put(key: string, vector: Float32Array): void {
    const row = this.#next;
    this.#next = (this.#next + 1) % CAPACITY;
    const old = this.#keys[row];
    if (old !== undefined && this.#rows.get(old) === row) this.#rows.delete(old);
    this.#keys[row] = key;
    this.#rows.set(key, row);
    this.vectors.set(vector, row * this.dim);
  }
}

function keyOf(postId: string): string {
  const { lo, hi } = hash64(postId);
  return `${lo} ${hi}`;
}
