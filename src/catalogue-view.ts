// What the HTTP layer sees of the generation that serves: is a post servable, what trends, what is near it.
import type { CatalogueEntry, CatalogueView } from './api/app-context.ts';
import type { RetrievalConfig } from './candidates/retrieval-config.ts';
import { TrendingBoard } from './candidates/trending-board.ts';
import type { Deadline } from './deadline.ts';
import { STALE_MS } from './follower.ts';
import type { Generations } from './generations.ts';
import { NewPosts, type NewPostsCount, type NewPostsQuery } from './new-posts.ts';
import type { WorkerPool } from './pool.ts';
import { FIELD, FLAG, RECORD_WORDS } from './post-record.ts';
import type { SimilarQuery } from './worker.ts';

export class GenerationView implements CatalogueView {
  readonly #generations: Generations;
  readonly #pool: WorkerPool;
  readonly #board: TrendingBoard;
  readonly #newPosts = new NewPosts();

  constructor(generations: Generations, pool: WorkerPool, config: RetrievalConfig) {
    this.#generations = generations;
    this.#pool = pool;
    this.#board = new TrendingBoard(config.trending);
  }

  find(postId: string): CatalogueEntry | null {
    const { table } = this.#generations.current;
    const row = table.rowOfId(postId);
    if (row < 0 || table.isDeleted(row)) return null;
    const { u32 } = table.records;
    const at = row * RECORD_WORDS;
    return {
      authorLo: u32[at + FIELD.authorLo],
      authorHi: u32[at + FIELD.authorHi],
      topic: u32[at + FIELD.topic],
      sensitive: (u32[at + FIELD.flags] & FLAG.sensitive) !== 0,
    };
  }

  trending(limit: number): string[] {
    const { table } = this.#generations.current;
    this.#board.advance(table, Date.now());
    const rows = new Set<number>();
    const hits = this.#board.list(null)?.hits;
    for (let i = 0; hits && i < hits.size && rows.size < limit; i++) {
      if (!table.isDeleted(hits.rows[i])) rows.add(hits.rows[i]);
    }
    for (let row = table.rows - 1; row >= 0 && rows.size < limit; row--) {
      if (!table.isDeleted(row)) rows.add(row);
    }
    return [...rows].map((row) => table.keyOf(row));
  }

  isStale(): boolean {
    return this.#generations.current.follower.ageMs > STALE_MS;
  }

  countNew(query: NewPostsQuery): NewPostsCount {
    return this.#newPosts.count(this.#generations.current.table, query);
  }

  similar(
    postId: string,
    limit: number,
    deadline: Deadline,
  ): Promise<{ postId: string; similarity: number }[] | null> {
    return this.#generations.use(async ({ id, table }) => {
      const row = table.rowOfId(postId);
      if (row < 0 || table.isDeleted(row)) return null;
      const query: SimilarQuery = { generation: id, row, limit };
      const found = await this.#pool.run('similar', query, deadline.atMs);
      return found as { postId: string; similarity: number }[];
    });
  }
}
