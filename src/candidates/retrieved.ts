// The result of the retrieval stage and how the kept entries of a merge become a CandidateSet.
import type { CandidateSet, Removal } from '../contracts.ts';
import { REMOVAL_REASONS, SOURCES, type Source } from '../vocabulary.ts';
import { KEPT, REMOVED } from './filters.ts';
import type { CandidateMerge } from './merge.ts';

const WIDTH = SOURCES.length;

export interface Retrieved {
  /** At most `query.candidates`, all of them eligible. */
  candidates: CandidateSet;
  /** Distinct posts that the sources proposed. */
  retrieved: number;
  /** Of these, left by the filters before the cut. */
  kept: number;
  /** Removed by each reason, in the order of REMOVAL_REASONS. */
  removedByReason: Uint32Array;
  /** With `explain` = 2, else empty. `kept` and `removed` make up what was retrieved. */
  removed: Removal[];
  /** `nearest_failed`, `index_unavailable`, …: causes, empty = full quality. */
  degraded: string[];
  /** What failed, for the log. */
  failures: { source: Source; message: string }[];
  /** Widening steps taken, 0–3. */
  widened: number;
  retrieveMs: number;
  filterMs: number;
}

export function emptyRetrieved(): Retrieved {
  return {
    candidates: candidateSet(new Uint32Array(0), null),
    retrieved: 0,
    kept: 0,
    removedByReason: new Uint32Array(REMOVAL_REASONS.length),
    removed: [],
    degraded: [],
    failures: [],
    widened: 0,
    retrieveMs: 0,
    filterMs: 0,
  };
}

/** Entries of a merge in state KEPT. */
export function keptEntries(states: Uint8Array, size: number): Uint32Array {
  const kept = new Uint32Array(size);
  let count = 0;
  for (let i = 0; i < size; i++) if (states[i] === KEPT) kept[count++] = i;
  return kept.subarray(0, count);
}

/** Copies the `chosen` entries of a merge. */
export function candidateSet(chosen: Uint32Array, merge: CandidateMerge | null): CandidateSet {
  const size = chosen.length;
  const set = {
    rows: new Uint32Array(size),
    similarity: new Float32Array(size),
    sources: new Uint8Array(size),
    sourceRanks: new Uint16Array(size * WIDTH),
    size,
  };
  for (let i = 0; i < size && merge; i++) {
    const entry = chosen[i];
    set.rows[i] = merge.rows[entry];
    set.similarity[i] = merge.similarity[entry];
    set.sources[i] = merge.sources[entry];
    for (let s = 0; s < WIDTH; s++) set.sourceRanks[i * WIDTH + s] = merge.sourceRanks[entry * WIDTH + s];
  }
  return set;
}

/** Adds what was removed to the counts, and to the list when `listed`. */
export function countRemoved(
  result: Retrieved,
  merge: CandidateMerge,
  states: Uint8Array,
  listed: boolean,
): void {
  for (let i = 0; i < merge.size; i++) {
    if (states[i] < REMOVED) continue;
    const code = states[i] - REMOVED;
    result.removedByReason[code]++;
    if (listed) result.removed.push({ row: merge.rows[i], reason: REMOVAL_REASONS[code] });
  }
}
