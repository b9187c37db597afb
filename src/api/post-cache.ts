// Posts by id, from memory where they were read before. A change to a post drops it, also while it is being read, so
// that what the cache gives was true after the last change this replica knows of.
import type { CacheOutcome } from '../cache-outcome.ts';
import type { Change, Post, PostStore } from '../contracts.ts';
import { type Deadline, raceDeadline } from '../deadline.ts';
import { LruMap } from '../lru-map.ts';

/** A post that was not there is not asked for again for so long, where that may be believed. */
const MISSING_MS = 2000;
/** Share of the capacity that is kept of them: names that nobody has cannot push out posts. */
const MISSING_SHARE = 0.25;

/** One read of the store. */
interface Read {
  ids: Set<string>;
  posts: Promise<Map<string, Post | null>>;
  /** Changed while it was read: not kept, and not given to those who ask from now on. */
  changed: Set<string>;
}

export class PostCache {
  readonly #store: Pick<PostStore, 'getPosts'>;
  readonly #posts: LruMap<Post>;
  /** Until when each is believed to be missing. */
  readonly #missing: LruMap<number>;
  readonly #reads = new Set<Read>();
  readonly #onRequest: (outcome: CacheOutcome, posts: number) => void;

  constructor(
    store: Pick<PostStore, 'getPosts'>,
    capacity: number,
    onRequest: (outcome: CacheOutcome, posts: number) => void = () => {},
  ) {
    this.#store = store;
    this.#posts = new LruMap(capacity);
    this.#missing = new LruMap(Math.ceil(capacity * MISSING_SHARE));
    this.#onRequest = onRequest;
  }

  onChange(change: Change): void {
    const id =
      change.kind === 'post' ? change.post.id : change.kind === 'post_deleted' ? change.postId : undefined;
    if (id === undefined) return;
    this.#posts.delete(id);
    this.#missing.delete(id);
    for (const { changed } of this.#reads) changed.add(id);
  }

  /**
   * In the order of `ids`; null where there is no such post. Rejects with the store's error or `timeout`.
   * @param believeMissing what was missing a moment ago is null without asking; false where a post that another
   *   replica has just made must be found.
   */
  async getPosts(
    ids: readonly string[],
    deadline: Deadline,
    believeMissing = false,
  ): Promise<(Post | null)[]> {
    const known = this.peek(ids);
    if (!known.includes(null)) {
      if (ids.length > 0) this.#onRequest('hit', ids.length);
      return known;
    }
    const found = new Map<string, Post | null>();
    const joined = new Map<Read, string[]>();
    const missing: string[] = [];
    const counts = { hit: 0, negative: 0, joined: 0, miss: 0 };
    for (const id of new Set(ids)) {
      const post = this.#posts.get(id);
      const running = post ? undefined : this.#readOf(id);
      if (post) {
        found.set(id, post);
        counts.hit++;
      } else if (believeMissing && (this.#missing.get(id) ?? 0) > Date.now()) {
        found.set(id, null);
        counts.negative++;
      } else if (running) {
        joined.set(running, [...(joined.get(running) ?? []), id]);
        counts.joined++;
      } else {
        missing.push(id);
        counts.miss++;
      }
    }
    for (const [outcome, posts] of Object.entries(counts)) {
      if (posts > 0) this.#onRequest(outcome as CacheOutcome, posts);
    }
    // Another request's read ends by that request's deadline: where it failed, this one asks for itself.
    const reads = [...joined].map(([read, wanted]) => read.posts.catch(() => this.#read(wanted, deadline)));
    if (missing.length > 0) reads.push(this.#read(missing, deadline));
    for (const posts of await raceDeadline(Promise.all(reads), deadline, 'the post store')) {
      for (const [id, post] of posts) found.set(id, post);
    }
    return ids.map((id) => found.get(id) ?? null);
  }

  /** What is in memory only; null where it is not. */
  peek(ids: readonly string[]): (Post | null)[] {
    return ids.map((id) => this.#posts.get(id) ?? null);
  }

  #readOf(id: string): Read | undefined {
    for (const read of this.#reads) if (read.ids.has(id) && !read.changed.has(id)) return read;
    return undefined;
  }

  #read(ids: string[], deadline: Deadline): Promise<Map<string, Post | null>> {
    const work = this.#store.getPosts(ids, deadline);
    const posts = raceDeadline(work, deadline, 'the post store').then(
      (read) => new Map(ids.map((id, i) => [id, read[i]])),
    );
    const read: Read = { ids: new Set(ids), posts, changed: new Set() };
    this.#reads.add(read);
    posts
      .then((byId) => {
        for (const [id, post] of byId) {
          if (read.changed.has(id)) continue;
          if (post) this.#posts.set(id, post);
          else this.#missing.set(id, Date.now() + MISSING_MS);
        }
      })
      .catch(() => {})
      .finally(() => this.#reads.delete(read));
    return posts;
  }
}
