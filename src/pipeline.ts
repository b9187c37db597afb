// The straight line of a feed request, inside a feed worker: retrieve → rank → re-rank → answer. All I/O is over
// before it starts; same query, generation, rules and seed give the same slate.
import type { Retriever } from './candidates/retrieve.ts';
import type {
  CandidateSet,
  Catalogue,
  FeedAnswer,
  FeedQuery,
  PostExplanation,
  RankedSet,
  SlateEntry,
  Stage,
} from './contracts.ts';
import { featureRecord } from './feature-record.ts';
import { AnswerColumns, type PackedAnswer, unpackAnswer } from './packed-answer.ts';
import type { RankerLadder } from './ranking/ranker-ladder.ts';
import type { ValueModel } from './ranking/value-model.ts';
import { rerank } from './rerank/rerank.ts';
import type { RulesConfig } from './rerank/rules-config.ts';
import { explorationRecord } from './rerank/sampled-order.ts';
import { HEADS, SOURCES } from './vocabulary.ts';

/** What a request runs on; a generation's parts with the rules of the moment. */
export interface PipelineParts {
  catalogue: Catalogue;
  retriever: Retriever;
  ladder: RankerLadder;
  value: ValueModel;
  /** How the nearest posts are searched, for explain: `hnsw`, `exact`, `none`. */
  search: string;
  rules: RulesConfig;
  rulesVersion: string;
  /** hash64 pairs of pinned posts. */
  pinned: Uint32Array;
}

/** Time left to re-ranking, presentation and the way back (bench feed: about 2 ms, with room for a busy core). */
const AFTER_RANKING_MS = 10;

/** Runs one request to its end. A stage that fails falls down its own ladder and is named in `degraded`. */
export async function runPipeline(query: FeedQuery, parts: PipelineParts): Promise<FeedAnswer> {
  return unpackAnswer(await runPacked(query, parts));
}

/** The same, its answer as it crosses to the main thread. */
export async function runPacked(query: FeedQuery, parts: PipelineParts): Promise<PackedAnswer> {
  const { catalogue, retriever, ladder, value, rules } = parts;
  const retrieved = retriever.retrieve(query, catalogue, parts.pinned);
  const { candidates } = retrieved;

  const rankedAt = performance.now();
  const rankBy = query.deadlineAtMs - AFTER_RANKING_MS;
  const { ranked, degraded, errors } = await ladder.rank(query, catalogue, candidates, rankBy, value);
  const rerankedAt = performance.now();
  const { slate, sampled } = rerank({ ranked, candidates, catalogue, query, rules });
  const presentedAt = performance.now();

  const columns = present(slate, ranked, candidates, query, parts);
  const exploration = sampled && explorationRecord(sampled, ranked, value.weights, catalogue);
  const stageMs: Partial<Record<Stage, number>> = {
    retrieve: retrieved.retrieveMs,
    filter: retrieved.filterMs,
    ...(ranked.preRanked ? { prerank: ranked.preRanked.ms } : {}),
    encode: ranked.encodeMs,
    rank: rerankedAt - rankedAt - ranked.encodeMs - (ranked.preRanked?.ms ?? 0),
    rerank: presentedAt - rerankedAt,
    present: performance.now() - presentedAt,
  };
  return columns.packed({
    requestId: query.requestId,
    generation: catalogue.generation,
    model: ranked.model,
    rules: parts.rulesVersion,
    search: parts.search,
    degraded: [...retrieved.degraded, ...degraded],
    failures: [...retrieved.failures.map(({ source, message }) => `${source}: ${message}`), ...errors],
    stageMs,
    ...(exploration ? { exploration } : {}),
    ...(query.logFeatures ? { features: featureRecord(query, catalogue, slate) } : {}),
    counts: {
      retrieved: retrieved.retrieved,
      kept: retrieved.kept,
      ranked: ranked.size,
      ...preRankedCount(ranked),
    },
    ...(query.explain === 2
      ? {
          dropped: retrieved.removed.map(({ row, reason }) => ({ postId: catalogue.keyOf(row), reason })),
        }
      : {}),
  });
}

function present(
  slate: readonly SlateEntry[],
  ranked: RankedSet,
  candidates: CandidateSet,
  query: FeedQuery,
  parts: PipelineParts,
): AnswerColumns {
  const { probabilities } = ranked;
  const explained = query.explain > 0;
  const columns = new AnswerColumns(slate.length, probabilities !== null, explained);
  for (const entry of slate) {
    const candidate = ranked.candidate[entry.ranked];
    const post = {
      postId: parts.catalogue.keyOf(entry.row),
      score: entry.score,
      propensity: entry.propensity,
      similarity: candidates.similarity[candidate],
      explain: explained ? explain(entry, candidate, ranked, candidates.sourceRanks, parts) : undefined,
    };
    columns.add(post, candidates.sources[candidate], probabilities, entry.ranked * HEADS.length);
  }
  return columns;
}

function explain(
  entry: SlateEntry,
  candidate: number,
  ranked: RankedSet,
  sourceRanks: Uint16Array,
  { value }: PipelineParts,
): PostExplanation {
  const ranks = SOURCES.map((source, i) => ({ source, rank: sourceRanks[candidate * SOURCES.length + i] }));
  return {
    sources: ranks.filter(({ rank }) => rank > 0),
    heads: ranked.probabilities ? value.explain(ranked.probabilities, entry.ranked * HEADS.length) : [],
    rules: entry.rules,
    rankedPosition: entry.ranked,
    rankedBy: rankedBy(ranked, entry.ranked),
  };
}

function preRankedCount({ preRanked }: RankedSet): { preRanked?: number } {
  return preRanked ? { preRanked: preRanked.kept } : {};
}

function rankedBy({ model, probabilities, candidate, preRanked }: RankedSet, at: number): string | null {
  if (probabilities === null) return null;
  return preRanked && preRanked.byMain[candidate[at]] === 0 ? preRanked.model : model;
}
