// Takes posts in: validates each, names the language of those without one, commits, then puts them in force here.
import type { Change, Post, PostStore } from '../contracts.ts';
import type { Deadline } from '../deadline.ts';
import { detectLanguage } from '../features/detect-language.ts';
import { fieldProblems, postSchema } from '../features/domain-schema.ts';
import type { ApplyAfterCommit } from './apply-after-commit.ts';
import { type BatchOutcome, rejected } from './batch-result.ts';
import { CLOCK_SKEW_MS } from './event-ingestion.ts';
import { GroupCommit } from './group-commit.ts';
import type { ItemResult } from './response-schemas.ts';

export interface PostIngestionParts {
  store: Pick<PostStore, 'putPosts'>;
  clock: { now(): number };
  apply: ApplyAfterCommit;
}

export class PostIngestion {
  readonly #parts: PostIngestionParts;
  readonly #commits: GroupCommit<Post>;

  constructor(parts: PostIngestionParts) {
    this.#parts = parts;
    this.#commits = new GroupCommit('storing posts', (posts, deadline) =>
      parts.store.putPosts(posts, deadline),
    );
  }

  /** One result an item, in order. Rejects when the store did not commit: then nothing was stored. */
  async ingest(items: readonly unknown[], deadline: Deadline): Promise<BatchOutcome> {
    const { apply } = this.#parts;
    const results: ItemResult[] = new Array(items.length);
    const firstOf = new Map<string, string>();
    const valid: { index: number; post: Post }[] = [];
    items.forEach((item, index) => {
      const post = this.#read(item, index, firstOf);
      if ('status' in post) results[index] = post;
      else valid.push({ index, post });
    });
    const posts = valid.map(({ post }) => post);
    const isNew = await this.#commits.add(posts, deadline);
    const changes: Change[] = [];
    valid.forEach(({ index, post }, i) => {
      results[index] = { index, id: post.id, status: isNew[i] ? 'stored' : 'duplicate' };
      if (isNew[i]) changes.push({ kind: 'post', post });
    });
    return { results, degraded: await apply.soon(changes) };
  }

  #read(item: unknown, index: number, firstOf: Map<string, string>): Post | ItemResult {
    const path = `posts[${index}]`;
    const parsed = postSchema.safeParse(item);
    if (!parsed.success) {
      const [problem] = fieldProblems(parsed.error, path);
      return rejected(index, item, problem);
    }
    const post = parsed.data;
    if (post.createdAt > this.#parts.clock.now() + CLOCK_SKEW_MS) {
      return rejected(index, item, { field: `${path}.createdAt`, reason: 'lies in the future' });
    }
    const content = JSON.stringify(post);
    const first = firstOf.get(post.id);
    if (first !== undefined) {
      if (first === content) return { index, id: post.id, status: 'duplicate' };
      const reason = 'stands in this batch before, with other content';
      return rejected(index, item, { field: `${path}.id`, reason });
    }
    firstOf.set(post.id, content);
    if (post.language !== undefined) return post;
    const language = detectLanguage([post.title, post.text].filter(Boolean).join('. '));
    return language === undefined ? post : { ...post, language };
  }
}
