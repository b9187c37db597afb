// Re-ranking: ordered pure rules from the ranked list to the slate. Same input and seed, same slate; a post appears
// at most once and only if it was ranked. Called by the pipeline in a feed worker.
import type { CandidateSet, Catalogue, FeedQuery, RankedSet, SlateEntry } from '../contracts.ts';
import { arrange, type Sampling } from './arrange.ts';
import { authorCap } from './author-cap.ts';
import { applyBoosts } from './boosts.ts';
import type { Constraint } from './constraint.ts';
import { diversify } from './diversity.ts';
import { type Draft, openDraft } from './draft.ts';
import { explorationLogits } from './exploration.ts';
import { pinnedItems } from './pins.ts';
import { authorDistance, followedShare } from './placement.ts';
import { decayRepetition } from './repetition-decay.ts';
import type { RulesConfig } from './rules-config.ts';
import { type SampledOrder, sampledOrder } from './sampled-order.ts';
import { seededRandom } from './seeded-random.ts';
import { topicCap } from './topic-cap.ts';

export interface RerankInput {
  ranked: RankedSet;
  candidates: CandidateSet;
  catalogue: Catalogue;
  query: FeedQuery;
  rules: RulesConfig;
}

export interface Reranked {
  slate: SlateEntry[];
  /** How an explored request's order was sampled; null for any other. */
  sampled: SampledOrder | null;
}

/**
 * The slate: min(slateSize, ranked.size) entries, best first. `score` is the ranker's, `ranked` its position there.
 * `propensity` is the probability that this post stands at this position given the posts above it: 1 where the
 * order is deterministic, 1/n in a fresh slot, the Plackett–Luce probability in an explored request. The product
 * over a slate is the probability of the whole order.
 *
 * In an explored request the order is sampled from the boosted scores; caps, placement and pins hold, the decay of
 * repetition and diversity are left out, since they would order the sample once more.
 */
export function rerank({ ranked, candidates, catalogue, query, rules }: RerankInput): Reranked {
  const draft = openDraft(ranked, candidates, catalogue, query);
  const length = Math.min(draft.size, Math.max(0, Math.floor(query.slateSize) || 0));
  if (length === 0) return { slate: [], sampled: null };

  const unboosted = query.explore ? draft.utility.slice() : null;
  applyBoosts(draft, rules.boosts);
  if (!query.explore) {
    // Further down the caps alone keep the variety: nobody reads to there in one sitting, and each position costs.
    decayRepetition(draft, rules.authorCap, rules.topicCap, Math.min(length, rules.diversity.pool));
    diversify(draft, rules.diversity);
  }
  const constraints = [
    authorCap(draft, rules.authorCap),
    topicCap(draft, rules.topicCap),
    followedShare(draft, rules.network),
    authorDistance(draft, rules.network),
  ];
  const sampling = query.explore ? samplingOf(draft, rules.exploration) : null;
  const placed = arrange(draft, {
    length,
    constraints: constraints.filter((constraint): constraint is Constraint => constraint !== null),
    pins: pinnedItems(draft, rules.pins, length),
    freshSlots: rules.freshSlots,
    sampling,
    random: seededRandom(query.seed),
  });
  const slate = placed.map(({ item, propensity }) => ({
    row: draft.rows[item],
    score: ranked.scores[item],
    propensity,
    ranked: item,
    rules: draft.effects[item] ?? [],
  }));
  const { temperature } = rules.exploration;
  const sampled =
    sampling && unboosted && sampledOrder(placed, sampling, temperature, unboosted, draft.utility);
  return { slate, sampled };
}

function samplingOf(draft: Draft, config: RulesConfig['exploration']): Sampling {
  const pool = draft.order.slice(0, config.pool);
  return { pool, logits: explorationLogits(draft, pool, config.temperature), depth: config.depth };
}
