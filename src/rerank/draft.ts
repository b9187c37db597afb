// The working state of one re-ranking: the ranked posts with a positive utility each and the order so far.
// Rules read and reorder a draft; items are indexes into the RankedSet, so a rule cannot invent a post.
import type { CandidateSet, Catalogue, FeedQuery, RankedSet } from '../contracts.ts';
import { FIELD, RECORD_WORDS } from '../post-record.ts';
import { KeyIds } from './key-ids.ts';

/** Least utility, relative to the best: keeps factors effective at the end of the list. */
const LEAST_UTILITY = 1e-6;

export interface Draft {
  readonly query: FeedQuery;
  readonly catalogue: Catalogue;
  readonly size: number;
  /** Row of each item. */
  readonly rows: Uint32Array;
  /** CandidateSet.sources of each item. */
  readonly sources: Uint8Array;
  /** In (0, 1] before boosts, the best 1: scores over the best score, or min–max scaled where some are negative. */
  readonly utility: Float64Array;
  /** Items, best first; always a permutation. */
  order: Uint32Array;
  /** Dense number of each item's author and topic; items without a topic (−1) are of no topic. */
  readonly authors: Int32Array;
  readonly topics: Int32Array;
  /** 1 where the user follows the author. */
  readonly followed: Uint8Array;
  /** True where the request asked what rules did; else `effects` stays empty. */
  readonly explained: boolean;
  /** What rules did to each item. */
  readonly effects: ({ rule: string; effect: string }[] | undefined)[];
}

/** Opens a draft over the distinct rows of `ranked`; a score that is not a number counts as the worst. */
export function openDraft(
  ranked: RankedSet,
  candidates: CandidateSet,
  catalogue: Catalogue,
  query: FeedQuery,
): Draft {
  const size = Math.min(ranked.size, ranked.rows.length);
  const { u32 } = catalogue.records;
  const authorIds = new KeyIds(size);
  const topicIds = new KeyIds(size);
  const draft: Draft = {
    query,
    catalogue,
    size,
    rows: ranked.rows,
    sources: new Uint8Array(size),
    utility: utilities(ranked.scores, size),
    order: new Uint32Array(size),
    authors: new Int32Array(size),
    topics: new Int32Array(size),
    followed: new Uint8Array(size),
    explained: query.explain > 0,
    effects: query.explain > 0 ? new Array(size) : [],
  };
  for (let item = 0; item < size; item++) {
    const at = ranked.rows[item] * RECORD_WORDS;
    draft.sources[item] = candidates.sources[ranked.candidate[item]] ?? 0;
    draft.authors[item] = authorIds.intern(u32[at + FIELD.authorLo], u32[at + FIELD.authorHi]);
    const topic = u32[at + FIELD.topic];
    draft.topics[item] = topic === 0 ? -1 : topicIds.intern(topic, 0);
  }
  const follows = authorIds.mark(query.user.follows);
  for (let item = 0; item < size; item++) draft.followed[item] = follows[draft.authors[item]];
  draft.order = byUtility(draft.utility);
  return draft;
}

/** Items by falling utility; equal ones stay in ranked order. */
export function byUtility(utility: Float64Array): Uint32Array {
  const order = new Uint32Array(utility.length);
  for (let i = 0; i < order.length; i++) order[i] = i;
  let sorted = true;
  for (let i = 1; i < order.length && sorted; i++) sorted = utility[i - 1] >= utility[i];
  return sorted ? order : order.sort((a, b) => utility[b] - utility[a] || a - b);
}

/** To be called only where the draft is `explained`: the texts cost more than the rules. */
export function addEffect(draft: Draft, item: number, rule: string, effect: string): void {
  (draft.effects[item] ??= []).push({ rule, effect });
}

function utilities(scores: Float32Array, size: number): Float64Array {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < size; i++) {
    if (!Number.isFinite(scores[i])) continue;
    if (scores[i] < low) low = scores[i];
    if (scores[i] > high) high = scores[i];
  }
  const zero = Math.min(low, 0);
  const span = high - zero;
  const utility = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    const value = span > 0 && Number.isFinite(scores[i]) ? (scores[i] - zero) / span : 0;
    utility[i] = span > 0 || !Number.isFinite(scores[i]) ? Math.max(LEAST_UTILITY, value) : 1;
  }
  return utility;
}
