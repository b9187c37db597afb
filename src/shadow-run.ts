// Scores one request's candidates by the model that serves and by the one on trial. In a feed worker, beside its
// requests: it gives way between two chunks, so a request waits for a few milliseconds at most.
import type { Retriever } from './candidates/retrieve.ts';
import type { CandidateSet, Catalogue, FeedQuery } from './contracts.ts';
import { rankCorrelation } from './ranking/lifecycle/rank-correlation.ts';
import {
  addScored,
  compareShadow,
  newShadowScores,
  type ShadowSample,
} from './ranking/lifecycle/shadow-comparison.ts';
import type { Ranker } from './ranking/ranker.ts';
import type { ValueModel } from './ranking/value-model.ts';
import { steadyNow } from './steady-clock.ts';
import { SOURCES } from './vocabulary.ts';

/** Candidates that are compared, evenly spread over the request's: the correlation of 250 is within ±.04. */
const ROWS = 250;
const CHUNK_ROWS = 50;
const CHUNK_MS = 2000;

export interface ShadowParts {
  catalogue: Catalogue;
  retriever: Retriever;
  pinned: Uint32Array;
  value: ValueModel;
  serving: Ranker;
  trial: Ranker;
  /** Whose order both are to come near: the main ranker, where light ones are compared; else null. */
  reference: Ranker | null;
  /** Resolves when no request is being worked on in this thread. */
  idle(): Promise<void>;
}

/**
 * With a reference `topOverlap` is 1 + the trial's rank correlation with it − the serving one's: below 1 = further away.
 * null where the request has too few candidates to compare. @throws what the model on trial throws.
 */
export async function runShadow(query: FeedQuery, parts: ShadowParts): Promise<ShadowSample | null> {
  const { catalogue, retriever, pinned, value, serving, trial, reference, idle } = parts;
  await idle();
  // The retriever's buffers belong to the next request: the sample is a copy.
  const rows = evenly(retriever.retrieve(query, catalogue, pinned).candidates, ROWS);
  if (rows.length < 2) return null;
  const [first, second, third] = [serving, trial, reference].map(() => newShadowScores(rows.length));
  for (let from = 0; from < rows.length; from += CHUNK_ROWS) {
    const chunk = candidatesOf(rows.subarray(from, from + CHUNK_ROWS));
    for (const [ranker, scores] of [
      [serving, first],
      [trial, second],
      [reference, third],
    ] as const) {
      if (ranker === null) continue;
      await idle();
      addScored(scores, await ranker.score(query, catalogue, chunk, steadyNow() + CHUNK_MS, value), from);
    }
  }
  const sample = compareShadow(first, second);
  if (reference === null) return sample;
  const nearness = ({ scores }: typeof first) => rankCorrelation(third.scores, scores);
  return { ...sample, topOverlap: 1 + nearness(second) - nearness(first) };
}

function evenly({ rows, size }: CandidateSet, count: number): Uint32Array {
  const taken = Math.min(size, count);
  return Uint32Array.from({ length: taken }, (_, i) => rows[Math.floor((i * size) / taken)]);
}

/** Models read rows only; what retrieval says of them is not needed. */
function candidatesOf(rows: Uint32Array): CandidateSet {
  return {
    rows,
    similarity: new Float32Array(rows.length),
    sources: new Uint8Array(rows.length),
    sourceRanks: new Uint16Array(rows.length * SOURCES.length),
    size: rows.length,
  };
}
