// Ranked lists over a small real catalogue, for the tests of re-ranking.
import type { PostTable } from '../../../src/candidates/index/post-table.ts';
import type { CandidateSet, FeedQuery, RankedSet } from '../../../src/contracts.ts';
import { rerank } from '../../../src/rerank/rerank.ts';
import { parseRules } from '../../../src/rerank/rules-config.ts';
import { SOURCES } from '../../../src/vocabulary.ts';
import { buildTable, feedQuery, type TestPost } from '../candidates/test-world.ts';

/** Everything off that reorders: each test switches on what it is about. */
const PLAIN = {
  diversity: { method: 'none' },
  authorCap: { perWindow: null, decay: 1 },
  topicCap: { perWindow: null, decay: 1 },
  network: { minAuthorDistance: 1 },
  freshSlots: { every: null },
};

function rankAll(scores: readonly number[]): { ranked: RankedSet; candidates: CandidateSet } {
  const size = scores.length;
  const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b);
  return {
    ranked: {
      rows: Uint32Array.from(order),
      scores: Float32Array.from(order, (row) => scores[row]),
      probabilities: null,
      candidate: Uint32Array.from(order),
      size,
      model: 'test@1',
    },
    candidates: {
      rows: Uint32Array.from({ length: size }, (_, i) => i),
      similarity: new Float32Array(size),
      sources: new Uint8Array(size).fill(1),
      sourceRanks: new Uint16Array(size * SOURCES.length),
      size,
    },
  };
}

/** Tests that re-rank one list under many seeds build its table once. */
const TABLES = new WeakMap<readonly TestPost[], PostTable>();

/** Re-ranks, with explanations, posts that score 1, 1 − 1/n, … in the given order unless `scores` says otherwise. */
export function rerankPosts(
  posts: readonly TestPost[],
  rules: object = {},
  query: Partial<FeedQuery> = {},
  scores: readonly number[] = posts.map((_, i) => 1 - i / (posts.length + 1)),
) {
  const table = TABLES.get(posts) ?? buildTable(posts, posts.length);
  TABLES.set(posts, table);
  const { ranked, candidates } = rankAll(scores);
  const { slate, sampled } = rerank({
    ranked,
    candidates,
    catalogue: table,
    query: feedQuery({ slateSize: posts.length, explain: 1, ...query }),
    rules: parseRules({ ...PLAIN, ...rules }),
  });
  return { slate, sampled, rows: slate.map((entry) => entry.row), table };
}
