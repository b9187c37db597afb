// The port of the ranking stage: candidates in, the same candidates by falling score out.
import type { CandidateSet, Catalogue, FeedQuery, RankedSet } from '../contracts.ts';
import type { ChunkModel, ForkJoin } from './fork-join.ts';
import type { Provider } from './onnx-session.ts';
import type { ValueModel } from './value-model.ts';

export interface Ranker {
  /** `ranker@3`, `ranker-light@1`, `retrieval`. */
  readonly model: string;
  /** Milliseconds that `rows` candidates are expected to take, from the runs so far. */
  expectedMs(rows: number): number;
  /**
   * Ranks all candidates; a candidate's score does not depend on the others.
   * @throws FeedrankError(timeout) when the deadline passes or is sure to; (unavailable) when the model fails or
   * gives a number that is no probability.
   */
  score(
    query: FeedQuery,
    catalogue: Catalogue,
    candidates: CandidateSet,
    deadlineAtMs: number,
    value: ValueModel,
  ): Promise<Scored>;
}

/** A ranker of a models folder, on the CPU of its feed worker or on the device. */
export interface ServableRanker extends Ranker {
  readonly provider: Provider;
  /** `post-tower@1`: the space whose vectors it was trained on. */
  readonly tower: string | undefined;
  /** True when its features read single coordinates of the vectors: then it fits that space only. */
  readonly needsTower: boolean;
  /** Candidates that the light ranker is to leave to this one; absent or 0 = all. */
  readonly preRank?: number;
  /** What serves otherwise than its manifest says, if anything. */
  readonly problem?: string | null;
  /** On the CPU: lets idle workers take part in long runs, and takes part in theirs, known by the key. */
  readonly shareKey?: number;
  shareBy?(fork: ForkJoin): void;
  runShared?: ChunkModel['run'];
  /** The ranker is of no use afterwards. */
  release(): Promise<void>;
}

export interface Scored extends RankedSet {
  /** Time spent on the features and on the model. */
  encodeMs: number;
  runMs: number;
}

const bits = new Float32Array(1);
const word = new Uint32Array(bits.buffer);

/**
 * Candidate indices by falling score, equal scores in candidate order; NaN last. Sorts packed numbers (score bits
 * above, index below) natively: .05 ms per 1000 against .4 ms with a comparator.
 */
export function orderByScore(scores: Float32Array, size: number): Uint32Array {
  const keys = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    bits[0] = Number.isNaN(scores[i]) ? -Infinity : scores[i] + 0; // + 0: −0 and 0 are equal
    const rising = word[0] >>> 31 ? ~word[0] >>> 0 : (word[0] | 0x8000_0000) >>> 0;
    keys[i] = (0xffff_ffff - rising) * 2 ** 20 + i;
  }
  keys.sort();
  const order = new Uint32Array(size);
  // The index is what is left of the key after whole multiples of 2^20; no modulo of a float is needed for that.
  for (let i = 0; i < size; i++) order[i] = keys[i] - Math.floor(keys[i] * 2 ** -20) * 2 ** 20;
  return order;
}

/** Puts scores, and probabilities where there are some, into the order of `orderByScore`. */
export function rankedSet(
  model: string,
  candidates: CandidateSet,
  scores: Float32Array,
  probabilities: Float32Array | null,
): RankedSet {
  const { size } = candidates;
  const candidate = orderByScore(scores, size);
  const heads = probabilities ? probabilities.length / Math.max(1, size) : 0;
  const sorted = probabilities ? new Float32Array(probabilities.length) : null;
  const rows = new Uint32Array(size);
  const sortedScores = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const from = candidate[i];
    rows[i] = candidates.rows[from];
    sortedScores[i] = scores[from];
  }
  if (probabilities) for (let i = 0; i < size; i++) copyRow(probabilities, candidate[i], sorted!, i, heads);
  return { rows, scores: sortedScores, probabilities: sorted, candidate, size, model };
}

function copyRow(from: Float32Array, source: number, to: Float32Array, target: number, heads: number): void {
  for (let h = 0; h < heads; h++) to[target * heads + h] = from[source * heads + h];
}
