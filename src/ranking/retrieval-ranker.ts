// The last step of the ladder: no model, only what retrieval found and the post's counters. Cannot fail or be late.
import type { CandidateSet, Catalogue, FeedQuery } from '../contracts.ts';
import { FIELD, RECORD_WORDS, SLOW_HALF_LIFE_HOURS } from '../post-record.ts';
import { type Ranker, rankedSet, type Scored } from './ranker.ts';

/** One e-fold of decayed engagement weighs as much as this much cosine: nearness leads, heat breaks ties. */
const HEAT_WEIGHT = 0.03;
const HEAT_LIMIT = 12;

export class RetrievalRanker implements Ranker {
  readonly model = 'retrieval';

  expectedMs(): number {
    return 0;
  }

  async score(query: FeedQuery, catalogue: Catalogue, candidates: CandidateSet): Promise<Scored> {
    const began = performance.now();
    const { u32, f32 } = catalogue.records;
    const scores = new Float32Array(candidates.size);
    for (let i = 0; i < candidates.size; i++) {
      const at = candidates.rows[i] * RECORD_WORDS;
      const hours = Math.max(0, query.nowMs / 3_600_000 - u32[at + FIELD.countersAtSec] / 3600);
      const engagement = f32[at + FIELD.slowEngagement] * 2 ** (-hours / SLOW_HALF_LIFE_HOURS);
      const heat = engagement > 0 ? Math.min(HEAT_LIMIT, Math.log(1 + engagement)) : 0;
      const similarity = candidates.similarity[i];
      scores[i] = (Number.isFinite(similarity) ? similarity : 0) + HEAT_WEIGHT * heat;
    }
    const ranked = rankedSet(this.model, candidates, scores, null);
    return { ...ranked, encodeMs: 0, runMs: performance.now() - began };
  }
}
