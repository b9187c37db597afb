// Cold-start posts: the newest ones that few people were shown, those near the user first.
import type { Catalogue, FeedQuery, Hits } from '../contracts.ts';
import { createdAtMs, FIELD, FLAG, RECORD_WORDS } from '../post-record.ts';
import type { RetrievalConfig } from './retrieval-config.ts';
import { rowSimilarity } from './similarity.ts';
import type { AgeWindow, CandidateSource } from './source.ts';
import { TopRows } from './top-rows.ts';

export class FreshSource implements CandidateSource {
  readonly name = 'fresh';
  readonly #config: RetrievalConfig['fresh'];
  #best = new TopRows(0);

  constructor(config: RetrievalConfig['fresh']) {
    this.#config = config;
  }

  /** Looks at the last `scanRows` rows, live ones first: they are newer than the base but for late arrivals. */
  retrieve(query: FeedQuery, catalogue: Catalogue, window: AgeWindow, quota: number, out: Hits): void {
    if (this.#best.capacity !== quota) this.#best = new TopRows(quota);
    this.#best.clear();
    const { records, vectors, dim } = catalogue;
    const { scanRows, maxImpressions, recencyWeight, halfLifeHours, maxAgeHours } = this.#config;
    const oldestMs = Math.max(window.oldestMs, query.nowMs - maxAgeHours * 3_600_000);
    const vector = query.user.embedding;
    const decay = Math.LN2 / (halfLifeHours * 3_600_000);
    const last = Math.max(0, catalogue.rows - scanRows);
    for (let row = catalogue.rows - 1; row >= last; row--) {
      const at = createdAtMs(records, row);
      if (at < oldestMs) {
        if (row < catalogue.baseRows) break;
        continue;
      }
      const word = row * RECORD_WORDS;
      if (at > window.newestMs || records.u32[word + FIELD.flags] & FLAG.deleted) continue;
      if (records.f32[word + FIELD.impressions] > maxImpressions) continue;
      const recency = Math.exp(-decay * Math.max(0, query.nowMs - at));
      this.#best.offer(row, rowSimilarity(vectors, row, vector, dim) + recencyWeight * recency);
    }
    this.#best.drain(out);
  }
}
