// The newest posts of followed authors: a k-way merge over the authors' chains of posts, newest first.
import type { Catalogue, FeedQuery, Hits } from '../contracts.ts';
import { createdAtMs, FIELD, FLAG, RECORD_WORDS } from '../post-record.ts';
import type { RetrievalConfig } from './retrieval-config.ts';
import type { AgeWindow, CandidateSource } from './source.ts';
import { TopRows } from './top-rows.ts';

export class FollowingSource implements CandidateSource {
  readonly name = 'following';
  readonly #config: RetrievalConfig['following'];
  #newest = new TopRows(0);

  constructor(config: RetrievalConfig['following']) {
    this.#config = config;
  }

  /**
   * Work is bounded by authors × perAuthor chain steps; a chain is left as soon as a post of it does not enter the
   * newest `quota`, so a user with thousands of follows costs little more than one look-up for each.
   */
  retrieve(query: FeedQuery, catalogue: Catalogue, window: AgeWindow, quota: number, out: Hits): void {
    const follows = query.user.follows;
    const authors = follows.length >>> 1;
    const looked = Math.min(authors, this.#config.maxAuthors);
    const wanted = Math.min(quota, looked * this.#config.perAuthor);
    if (this.#newest.capacity !== wanted) this.#newest = new TopRows(wanted);
    this.#newest.clear();
    const stride = looked === 0 ? 1 : authors / looked;
    const offset = looked < authors ? (query.seed >>> 0) % authors : 0;
    for (let i = 0; i < looked; i++) {
      const author = (offset + Math.floor(i * stride)) % authors;
      this.#walk(catalogue, window, catalogue.newestByAuthor(follows[2 * author], follows[2 * author + 1]));
    }
    this.#newest.drain(out);
  }

  #walk(catalogue: Catalogue, window: AgeWindow, newest: number): void {
    const { records, rows, baseRows } = catalogue;
    let row = newest;
    for (let step = 0; step < this.#config.perAuthor && row >= 0 && row < rows; step++) {
      const at = createdAtMs(records, row);
      // Base posts of a chain only get older; a live post may have arrived late and says nothing about the next.
      if (row < baseRows && (at < window.oldestMs || at < this.#newest.threshold)) return;
      const deleted = records.u32[row * RECORD_WORDS + FIELD.flags] & FLAG.deleted;
      if (!deleted && at >= window.oldestMs && at <= window.newestMs) this.#newest.offer(row, at);
      row = records.u32[row * RECORD_WORDS + FIELD.previousByAuthor] - 1;
    }
  }
}
