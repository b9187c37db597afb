// Pre-ranking: the light model scores all candidates, the main one only the best of them. What is left keeps the light
// model's score, so that a slate is as long and as varied as without it. Called by the ladder, one in each feed worker.
import type { CandidateSet, Catalogue, FeedQuery } from '../contracts.ts';
import { HEADS, SOURCES } from '../vocabulary.ts';
import { type Ranker, rankedSet, type Scored } from './ranker.ts';
import type { ValueModel } from './value-model.ts';

/** Candidates of a light model's order, kept for the main one. */
export interface PreRanked {
  kept: CandidateSet;
  /** By the light model, all candidates. */
  light: Scored;
}

/**
 * The light model's order and its best `keep` as candidates of their own.
 * @throws what the light model throws.
 */
export async function preRank(
  light: Ranker,
  keep: number,
  query: FeedQuery,
  catalogue: Catalogue,
  candidates: CandidateSet,
  deadlineAtMs: number,
  value: ValueModel,
): Promise<PreRanked> {
  const scored = await light.score(query, catalogue, candidates, deadlineAtMs, value);
  const kept: CandidateSet = {
    rows: scored.rows.slice(0, keep),
    similarity: new Float32Array(keep),
    sources: new Uint8Array(keep),
    sourceRanks: new Uint16Array(keep * SOURCES.length),
    size: keep,
  };
  for (let i = 0; i < keep; i++) {
    const from = scored.candidate[i];
    kept.similarity[i] = candidates.similarity[from];
    kept.sources[i] = candidates.sources[from];
    for (let s = 0; s < SOURCES.length; s++) {
      kept.sourceRanks[i * SOURCES.length + s] = candidates.sourceRanks[from * SOURCES.length + s];
    }
  }
  return { kept, light: scored };
}

/**
 * All candidates in one order: by the main model's score where it saw the post, else by the light one's. Both are
 * calibrated, so that their values are on one scale; a shift of the rest below the last of the main one costs the
 * slate its variety (with fatigue .9 % of NDCG@50 on a generated world).
 */
export function joinRanked(main: Scored, { light }: PreRanked, candidates: CandidateSet): Scored {
  const { size } = light;
  const heads = HEADS.length;
  const scores = new Float32Array(size);
  const probabilities = light.probabilities && main.probabilities ? new Float32Array(size * heads) : null;
  const byMain = new Uint8Array(size);
  for (let i = 0; i < size; i++) {
    const at = light.candidate[i];
    scores[at] = light.scores[i];
    probabilities?.set(light.probabilities!.subarray(i * heads, (i + 1) * heads), at * heads);
  }
  for (let i = 0; i < main.size; i++) {
    const at = light.candidate[main.candidate[i]];
    byMain[at] = 1;
    scores[at] = main.scores[i];
    probabilities?.set(main.probabilities!.subarray(i * heads, (i + 1) * heads), at * heads);
  }
  const { encodeMs, runMs } = main;
  const ranked = rankedSet(main.model, candidates, scores, probabilities);
  const preRanked = { model: light.model, kept: main.size, byMain, ms: light.encodeMs + light.runMs };
  return { ...ranked, encodeMs, runMs, preRanked };
}
