// Looks for one request's candidates in the index that serves and in the one on trial: what differs. In a feed worker,
// beside its requests: it gives way between the two searches, so a request waits for one of them at most.
import type { PostTable } from './candidates/index/post-table.ts';
import type { Retriever } from './candidates/retrieve.ts';
import type { FeedQuery } from './contracts.ts';
import { FeedrankError } from './errors.ts';
import { decileCounts } from './ranking/lifecycle/score-drift.ts';
import type { ShadowSample } from './ranking/lifecycle/shadow-comparison.ts';
import { HEADS } from './vocabulary.ts';

export interface ShadowedIndex {
  table: PostTable;
  retriever: Retriever;
}

/** Message `index-shadow` of a feed worker: generations. */
export interface IndexShadowJob {
  serving: string;
  trial: string;
  query: FeedQuery;
}

interface Found {
  ids: string[];
  similarity: Float32Array;
  ms: number;
}

/**
 * In the form of a ranker's sample, so that it is summed, kept and shared like one: `correlation` is the share of the
 * serving index's candidates that the trial finds too, `topOverlap` the share of the trial's that what serves has as
 * servable posts, the deciles are of the similarities, and the times are of a whole retrieval.
 * null where what serves has no candidates either, or one of the two is not open any more. @throws FeedrankError(unavailable) naming what the trial failed in.
 */
export async function compareIndexes(
  job: IndexShadowJob,
  open: (generation: string) => ShadowedIndex | undefined,
  idle: () => Promise<void>,
): Promise<ShadowSample | null> {
  const { query } = job;
  const [serving, trial] = [open(job.serving), open(job.trial)];
  if (!serving || !trial) return null;
  const found = new Map<ShadowedIndex, Found>();
  // Who comes second finds the caches warm: by turns.
  for (const one of query.seed & 1 ? [trial, serving] : [serving, trial]) {
    await idle();
    found.set(one, retrieve(query, one, one === trial));
  }
  const [first, second] = [found.get(serving), found.get(trial)];
  if (!first || !second || first.ids.length === 0) return null;
  if (second.ids.length === 0) {
    throw new FeedrankError('unavailable', `no candidates where what serves has ${first.ids.length}`);
  }
  const known = new Set(second.ids);
  const none = HEADS.map(() => 0);
  return {
    rows: first.ids.length,
    correlation: first.ids.filter((id) => known.has(id)).length / first.ids.length,
    topOverlap: second.ids.filter((id) => isServable(serving.table, id)).length / second.ids.length,
    servingDeciles: decileCounts(first.similarity, first.similarity),
    trialDeciles: decileCounts(first.similarity, second.similarity),
    servingMeans: none,
    trialMeans: none,
    servingMsPerRow: first.ms,
    trialMsPerRow: second.ms,
  };
}

/** The retriever's buffers belong to the next request: what is found is a copy. */
function retrieve(query: FeedQuery, { table, retriever }: ShadowedIndex, isTrial: boolean): Found {
  const { candidates, failures, retrieveMs, filterMs } = retriever.retrieve(query, table);
  if (isTrial && failures.length > 0) {
    throw new FeedrankError('unavailable', `${failures[0].source}: ${failures[0].message}`);
  }
  const { size, rows, similarity } = candidates;
  return {
    ids: Array.from({ length: size }, (_, i) => table.keyOf(rows[i])),
    similarity: similarity.slice(0, size),
    ms: retrieveMs + filterMs,
  };
}

function isServable(table: PostTable, id: string): boolean {
  const row = table.rowOfId(id);
  return row >= 0 && !table.isDeleted(row);
}
