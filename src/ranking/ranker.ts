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

/** Bits of a key that one pass of `orderByScore` sorts by. */
const DIGIT = 8;
const DIGITS = 1 << DIGIT;
const PASSES = 4;
const counts = new Uint32Array(PASSES * DIGITS);

/**
 * Candidate indices by falling score, equal scores in candidate order; NaN last. A radix sort over the scores' bits: .01 ms
 * per 1000 against .03 ms natively by packed numbers and .4 ms with a comparator.
 */
export function orderByScore(scores: Float32Array, size: number): Uint32Array {
  let keys = new Uint32Array(size);
  let order = new Uint32Array(size);
  counts.fill(0);
  for (let i = 0; i < size; i++) {
    bits[0] = Number.isNaN(scores[i]) ? -Infinity : scores[i] + 0; // + 0: −0 and 0 are equal
    // Falls as the score rises: positive numbers rise with their bits, negative ones fall.
    const key = (word[0] >>> 31 ? word[0] : ~word[0] & 0x7fff_ffff) >>> 0;
    keys[i] = key;
    order[i] = i;
    counts[key & (DIGITS - 1)]++;
    counts[DIGITS + ((key >>> DIGIT) & (DIGITS - 1))]++;
    counts[2 * DIGITS + ((key >>> (2 * DIGIT)) & (DIGITS - 1))]++;
    counts[3 * DIGITS + (key >>> (3 * DIGIT))]++;
  }
  let nextKeys = new Uint32Array(size);
  let nextOrder = new Uint32Array(size);
  for (let pass = 0; pass < PASSES; pass++) {
    const at = pass * DIGITS;
    const shift = pass * DIGIT;
    let before = 0;
    for (let digit = at; digit < at + DIGITS; digit++) {
      const count = counts[digit];
      counts[digit] = before;
      before += count;
    }
    for (let i = 0; i < size; i++) {
      const to = counts[at + ((keys[i] >>> shift) & (DIGITS - 1))]++;
      nextKeys[to] = keys[i];
      nextOrder[to] = order[i];
    }
    [keys, nextKeys] = [nextKeys, keys];
    [order, nextOrder] = [nextOrder, order];
  }
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
