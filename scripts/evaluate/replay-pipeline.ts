// The service's request path over a replayed catalogue: its sources, its ONNX ranker, its value model, its rules.
// Called by the replays.
import { openIndex } from '../../src/candidates/index/two-tier-index.ts';
import { parseRetrievalConfig } from '../../src/candidates/retrieval-config.ts';
import { Retriever, standardSources } from '../../src/candidates/retrieve.ts';
import { TrendingBoard } from '../../src/candidates/trending-board.ts';
import type { CandidateSet, FeedAnswer } from '../../src/contracts.ts';
import { loadModelArtifact } from '../../src/features/model-artifact.ts';
import { runPipeline } from '../../src/pipeline.ts';
import { OnnxRanker } from '../../src/ranking/onnx-ranker.ts';
import { RankerLadder } from '../../src/ranking/ranker-ladder.ts';
import { ValueModel, type ValueWeights } from '../../src/ranking/value-model.ts';
import { parseRules } from '../../src/rerank/rules-config.ts';
import { HEADS, SOURCES } from '../../src/vocabulary.ts';
import type { ReplayedService } from './replay-service.ts';

const NOTHING = new Uint32Array(0);
/** Rules that leave the ranked order as it is. */
export const UNTOUCHED = {
  diversity: { method: 'none' },
  authorCap: { perWindow: null, decay: 1 },
  topicCap: { perWindow: null, decay: 1 },
  network: { minAuthorDistance: 1 },
  freshSlots: { every: null },
};

/**
 * A mean of the replay's item vectors is not a reader's vector: readers and items have a matrix each, where the towers
 * share one space. Two interests cost .058 of KuaiRand's recall@1000 there (.752 → .694, standard error .006).
 */
const ONE_VECTOR = { nearest: { interests: 0 } };

/** The service's retrieval over a replayed catalogue. */
export async function replayedRetriever({ table }: ReplayedService, retrieval: object): Promise<Retriever> {
  const config = parseRetrievalConfig({ ...ONE_VECTOR, ...retrieval });
  const { index } = await openIndex(table, null);
  const sources = standardSources(index, new TrendingBoard(config.trending), config);
  return new Retriever(sources, config);
}

/** What the service would serve with a ranker that was trained on its own features. */
export class ReplayedPipeline {
  readonly #service: ReplayedService;
  readonly #retriever: Retriever;
  readonly #ranker: OnnxRanker;
  readonly #value: ValueModel;

  private constructor(
    service: ReplayedService,
    retriever: Retriever,
    ranker: OnnxRanker,
    weights: ValueWeights,
  ) {
    this.#service = service;
    this.#retriever = retriever;
    this.#ranker = ranker;
    this.#value = new ValueModel(weights);
  }

  static async open(
    service: ReplayedService,
    modelDir: string,
    { weights, retrieval }: { weights: ValueWeights; retrieval: object },
  ): Promise<ReplayedPipeline> {
    const retriever = await replayedRetriever(service, retrieval);
    const ranker = await OnnxRanker.open(await loadModelArtifact(modelDir), 'cpu');
    return new ReplayedPipeline(service, retriever, ranker, weights);
  }

  /** Probabilities [rows, HEADS.length] of given posts by the service's ranker, in their order. */
  async probabilities(user: number, rows: Uint32Array, nowMs: number): Promise<Float32Array> {
    const candidates: CandidateSet = {
      rows,
      similarity: new Float32Array(rows.length),
      sources: new Uint8Array(rows.length),
      sourceRanks: new Uint16Array(rows.length * SOURCES.length),
      size: rows.length,
    };
    const query = this.#service.query(user, nowMs, rows.length, rows.length);
    const { table } = this.#service;
    const scored = await this.#ranker.score(query, table, candidates, query.deadlineAtMs, this.#value);
    const sorted = scored.probabilities!;
    const out = new Float32Array(sorted.length);
    for (let i = 0; i < scored.size; i++) {
      out.set(sorted.subarray(i * HEADS.length, (i + 1) * HEADS.length), scored.candidate[i] * HEADS.length);
    }
    return out;
  }

  /** retrieve → rank → re-rank, as for a request. `rules` as in the rules file; `exclude` as hash64 pairs. */
  feed(
    user: number,
    nowMs: number,
    candidates: number,
    slateSize: number,
    rules: object,
    exclude: Uint32Array = NOTHING,
  ): Promise<FeedAnswer> {
    const query = { ...this.#service.query(user, nowMs, candidates, slateSize), exclude };
    return runPipeline(query, {
      catalogue: this.#service.table,
      retriever: this.#retriever,
      ladder: new RankerLadder({ main: this.#ranker, light: null }),
      value: this.#value,
      search: 'exact',
      rules: parseRules(rules),
      rulesVersion: 'replay',
      pinned: NOTHING,
    });
  }

  close(): Promise<void> {
    return this.#ranker.release();
  }
}
