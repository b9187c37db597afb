// The one feature definition: what a model's manifest may name, in which order and how wide. Append-only: a change of
// meaning is a new version beside the old one, so that live models go on. Read by the encoder, the trainer, ranking.
import { FeedrankError } from '../errors.ts';

export type FeatureGroup = 'user' | 'context' | 'post' | 'cross' | 'interaction';

export interface Feature {
  /** `name@version` as manifests write it. */
  id: string;
  group: FeatureGroup;
  width: number;
  /** Needs the user's history: a trainer zeroes these together so that missing history is trained for. */
  fromHistory: boolean;
}

function feature(id: string, group: FeatureGroup, width: number, fromHistory = false): Feature {
  return { id, group, width, fromHistory };
}

/**
 * Every feature the code can compute; absent information is always 0. Counts enter as ln(1 + x), rates as
 * ln(smoothed rate / prior), times in hours as ln(1 + h).
 */
export const FEATURES = [
  feature('user_history_size@1', 'user', 1, true), // ln(1 + entries) / ln(51)
  feature('user_mix@1', 'user', 6, true), // share of click, like, reply, share, long dwell, negative
  feature('user_recency@1', 'user', 1, true), // hours since the newest engagement
  feature('user_account_age@1', 'user', 1), // days, ln(1 + d)
  feature('user_follows@1', 'user', 1), // authors followed
  feature('user_cold@1', 'user', 1), // 1 when the vector is a cold-start one
  feature('context_hour@1', 'context', 2), // sin, cos of the UTC hour
  feature('context_weekday@1', 'context', 2), // sin, cos of the UTC weekday
  feature('context_position@1', 'context', 2), // ln(1 + position), 1 if known; training only, see ranker.py
  feature('post_age@1', 'post', 1), // hours
  feature('post_age_bucket@1', 'post', 6), // one-hot, see AGE_BUCKET_HOURS
  feature('post_heat@1', 'post', 3), // engagement with a fast and a slow half-life, impressions with the slow one
  feature('post_slow_rate@1', 'post', 1), // slow engagement per slow impression
  feature('post_rates@1', 'post', 6), // click, like, reply, share, long dwell, negative per impression
  feature('post_totals@1', 'post', 2), // impressions, engagements
  feature('post_dwell@1', 'post', 1), // smoothed seconds per impression
  feature('post_text_length@1', 'post', 1), // ln(1 + characters)
  feature('post_kind@1', 'post', 4), // sensitive, reply, has media, has text
  feature('author_counters@1', 'post', 3), // followers, posts, impressions
  feature('author_rates@1', 'post', 2), // engagements and negatives per impression over the author's posts
  feature('user_similarity@1', 'cross', 1), // cosine of the user's and the post's vector
  feature('history_similarity@1', 'cross', 4, true), // best, mean of top 3, mean cosine to recent likes; 1 if any
  feature('negative_similarity@1', 'cross', 2, true), // best cosine to recently rejected posts; 1 if any
  feature('author_affinity@1', 'cross', 3, true), // decayed positives, count of positives, decayed negatives
  feature('topic_affinity@1', 'cross', 4, true), // decayed positives, share of all with a topic, decayed negatives, no topic
  feature('follows_author@1', 'cross', 1),
  feature('interest_topic@1', 'cross', 1), // the topic is one the user named
  feature('language_match@1', 'cross', 2), // is one the user reads; is one the user does not read
  feature('history_duplicate@1', 'cross', 1, true), // 1 − smallest Hamming distance of simhashes / 32, at least 0
  feature('hadamard@1', 'interaction', 64), // user ⊙ post vector
] as const satisfies readonly Feature[];

export type FeatureId = (typeof FEATURES)[number]['id'];

/** Columns of all features side by side, in the order of FEATURES. */
export const FULL_WIDTH = FEATURES.reduce((sum, { width }) => sum + width, 0);

const OFFSETS = new Map<string, number>();
let offset = 0;
for (const { id, width } of FEATURES) {
  OFFSETS.set(id, offset);
  offset += width;
}

/** First column of a feature within the full row. */
export function fullOffset(id: FeatureId): number {
  return OFFSETS.get(id)!;
}

export interface FeaturePlan {
  features: readonly Feature[];
  /** D: columns of the encoded matrix. */
  width: number;
  /** [D] column of the full row that each encoded column is taken from. */
  columns: Uint16Array;
  has(id: FeatureId): boolean;
}

/**
 * Compiles a manifest's `feature@version` list.
 * @throws FeedrankError(corrupt_artifact) naming a feature that the code does not have, or one named twice.
 */
export function compilePlan(ids: readonly string[]): FeaturePlan {
  if (ids.length === 0) throw new FeedrankError('corrupt_artifact', 'features: the list is empty');
  const seen = new Set<string>();
  const features: Feature[] = [];
  const columns: number[] = [];
  for (const id of ids) {
    const known = FEATURES.find((candidate) => candidate.id === id);
    if (!known)
      throw new FeedrankError('corrupt_artifact', `features: unknown feature ${JSON.stringify(id)}`);
    if (seen.has(id)) throw new FeedrankError('corrupt_artifact', `features: ${id} is named twice`);
    seen.add(id);
    features.push(known);
    for (let i = 0; i < known.width; i++) columns.push(OFFSETS.get(id)! + i);
  }
  return {
    features,
    width: columns.length,
    columns: Uint16Array.from(columns),
    has: (id) => seen.has(id),
  };
}
