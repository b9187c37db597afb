// Posts by id, from memory where they were read before. A change to a post drops it, also while it is being read, so
// that what the cache gives was true after the last change this replica knows of.
import type { Change, Post, PostStore } from '../contracts.ts';
import { type Deadline, raceDeadline } from '../deadline.ts';
import { LruMap } from './lru-map.ts';

export class PostCache {
  readonly #store: Pick<PostStore, 'getPosts'>;
  readonly #posts: LruMap<Post>;
  /** Reads in flight: ids that changed meanwhile are not kept. */
  readonly #reads = new Set<Set<string>>();

  constructor(store: Pick<PostStore, 'getPosts'>, capacity: number) {
    this.#store = store;
    this.#posts = new LruMap(capacity);
  }

  onChange(change: Change): void {
    const id =
      change.kind === 'post' ? change.post.id : change.kind === 'post_deleted' ? change.postId : undefined;
    if (id === undefined) return;
    this.#posts.delete(id);
    for (const changed of this.#reads) changed.add(id);
  }

  /** In the order of `ids`; null where there is no such post. Rejects with the store's error or `timeout`. */
  async getPosts(ids: readonly string[], deadline: Deadline): Promise<(Post | null)[]> {
    const found = ids.map((id) => this.#posts.get(id) ?? null);
    const missing = [...new Set(ids.filter((_, i) => found[i] === null))];
    if (missing.length === 0) return found;
    const changed = new Set<string>();
    this.#reads.add(changed);
    try {
      const read = await raceDeadline(this.#store.getPosts(missing, deadline), deadline, 'the post store');
      const byId = new Map(missing.map((id, i) => [id, read[i]]));
      for (const [id, post] of byId) if (post && !changed.has(id)) this.#posts.set(id, post);
      return ids.map((id, i) => found[i] ?? byId.get(id) ?? null);
    } finally {
      this.#reads.delete(changed);
    }
  }

  /** What is in memory only; null where it is not. */
  peek(ids: readonly string[]): (Post | null)[] {
    return ids.map((id) => this.#posts.get(id) ?? null);
  }
}
