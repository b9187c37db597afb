// Cold-start posts: the newest ones that few people were shown, those near the user first.
import type { Catalogue, FeedQuery, Hits, VectorIndex } from '../contracts.ts';
import { createdAtMs, FIELD, FLAG, RECORD_WORDS } from '../post-record.ts';
import { ageWindow } from './age-window.ts';
import type { RetrievalConfig } from './retrieval-config.ts';
import { rowSimilarity } from './similarity.ts';
import type { AgeWindow, CandidateSource } from './source.ts';
import { TopRows } from './top-rows.ts';

export class FreshSource implements CandidateSource {
  readonly name = 'fresh';
  readonly #config: RetrievalConfig['fresh'];
  readonly #index: VectorIndex | null;
  #best = new TopRows(0);
  #similarities = new Float32Array(0);

  /** `index`: scores rows faster than a loop here does; without one they are scored here. */
  constructor(config: RetrievalConfig['fresh'], index: VectorIndex | null = null) {
    this.#config = config;
    this.#index = index;
  }

  /** Looks at the last `scanRows` rows, live ones first: they are newer than the base but for late arrivals. */
  retrieve(query: FeedQuery, catalogue: Catalogue, window: AgeWindow, quota: number, out: Hits): void {
    if (this.#best.capacity !== quota) this.#best = new TopRows(quota);
    this.#best.clear();
    const { records, baseRows, rows } = catalogue;
    const { scanRows, maxImpressions, recencyWeight, halfLifeHours, maxAgeHours } = this.#config;
    const oldestMs = Math.max(window.oldestMs, query.nowMs - maxAgeHours * 3_600_000);
    const decay = Math.LN2 / (halfLifeHours * 3_600_000);
    const first = Math.max(rows - scanRows, ageWindow(catalogue, query.nowMs, maxAgeHours).firstRow, 0);
    const similarities = this.#score(query.user.embedding, catalogue, first, rows);
    let recency = 1;
    for (let row = rows - 1; row >= first; row--) {
      const found = similarities[row - first];
      // A vector with a hole in it costs the order, not the source.
      const similarity = found - found === 0 ? found : 0;
      // Base rows only get older: the last recency bounds this one, and the record of most posts is not looked at.
      if (row < baseRows - 1 && similarity + recencyWeight * recency < this.#best.threshold) continue;
      const at = createdAtMs(records, row);
      if (at < oldestMs || at > window.newestMs) continue;
      const word = row * RECORD_WORDS;
      if (records.u32[word + FIELD.flags] & FLAG.deleted) continue;
      if (records.f32[word + FIELD.impressions] > maxImpressions) continue;
      recency = Math.exp(-decay * Math.max(0, query.nowMs - at));
      this.#best.offer(row, similarity + recencyWeight * recency);
    }
    this.#best.drain(out);
  }

  /** The similarity to `vector` of the rows [first, end), to be read before the next call. */
  #score(vector: Float32Array, catalogue: Catalogue, first: number, end: number): Float32Array {
    const count = Math.max(0, end - first);
    if (this.#similarities.length < count) this.#similarities = new Float32Array(count);
    const out = this.#similarities.subarray(0, count);
    if (count > 0 && this.#index?.similarities) {
      this.#index.similarities(vector, first, out);
    } else {
      for (let i = 0; i < count; i++)
        out[i] = rowSimilarity(catalogue.vectors, first + i, vector, catalogue.dim);
    }
    return out;
  }
}
