// Author ids by row, from the distinct ones met while the posts were read: the table keeps hashes.
import type { PostTable } from '../../src/candidates/index/post-table.ts';
import type { Post } from '../../src/contracts.ts';
import { hash64 } from '../../src/hashing.ts';
import { FIELD, RECORD_WORDS } from '../../src/post-record.ts';
import type { PostNames } from './user-histories.ts';

export class NameCollector {
  readonly #authors = new Set<string>();

  /** The same batches, remembered on their way. */
  async *watch(posts: AsyncIterable<Post[]>): AsyncIterable<Post[]> {
    for await (const batch of posts) {
      for (const post of batch) this.#authors.add(post.authorId);
      yield batch;
    }
  }

  names(table: PostTable): PostNames {
    const authors: string[] = [];
    for (const author of this.#authors) {
      const { lo, hi } = hash64(author);
      const slot = table.authorTable.find(lo, hi);
      if (slot >= 0) authors[slot] = author;
    }
    const { u32 } = table.records;
    // A post stands in many histories: its id is decoded once.
    const ids = new Array<string | undefined>(table.rows);
    return {
      postId: (row) => {
        ids[row] ??= table.keyOf(row);
        return ids[row];
      },
      authorId: (row) => authors[u32[row * RECORD_WORDS + FIELD.authorSlot]],
      topic: (row) => u32[row * RECORD_WORDS + FIELD.topic],
    };
  }
}
