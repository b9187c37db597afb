// What a post is worth to its reader: a weighted sum of the heads' probabilities. The weights are product choices and
// come from the configuration; the probabilities are calibrated, so that a weight means what it says.
import type { PostExplanation } from '../contracts.ts';
import { invalid } from '../errors.ts';
import { HEADS, type Head } from '../vocabulary.ts';

export type ValueWeights = Record<Head, number>;

/** A share or reply is worth a few likes, and one rejection costs more than any single engagement gives. */
export const DEFAULT_WEIGHTS: ValueWeights = {
  click: 1,
  like: 2,
  reply: 3,
  share: 3,
  dwell: 1.5,
  negative: -8,
};
const MAX_WEIGHT = 1000;

/**
 * Reads weights from parsed configuration; heads that are left out keep their default.
 * @throws FeedrankError(invalid_input) naming an unknown head, a weight that is no number within ±1000, or all zero.
 */
export function parseValueWeights(input: unknown, field = 'weights'): ValueWeights {
  if (input === undefined) return { ...DEFAULT_WEIGHTS };
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw invalid(field, 'must be an object of weights by head');
  }
  const weights = { ...DEFAULT_WEIGHTS };
  for (const [head, weight] of Object.entries(input)) {
    if (!(HEADS as readonly string[]).includes(head)) {
      throw invalid(`${field}.${head.slice(0, 40)}`, `unknown head; the heads are ${HEADS.join(', ')}`);
    }
    if (typeof weight !== 'number' || !(Math.abs(weight) <= MAX_WEIGHT)) {
      throw invalid(`${field}.${head}`, `must be a number within ±${MAX_WEIGHT}`);
    }
    weights[head as Head] = weight;
  }
  if (HEADS.every((head) => weights[head] === 0)) throw invalid(field, 'at least one weight must not be 0');
  return weights;
}

export class ValueModel {
  readonly weights: Readonly<ValueWeights>;
  /** [HEADS.length] */
  readonly #byHead: Float64Array;

  constructor(weights: ValueWeights = DEFAULT_WEIGHTS) {
    this.weights = weights;
    this.#byHead = Float64Array.from(HEADS, (head) => weights[head]);
  }

  /** Score of the probabilities `[at, at + HEADS.length)`. */
  scoreAt(probabilities: Float32Array, at: number): number {
    let score = 0;
    for (let h = 0; h < this.#byHead.length; h++) score += this.#byHead[h] * probabilities[at + h];
    return score;
  }

  /** Scores of `size` rows of probabilities [size × heads]. */
  scoreAll(probabilities: Float32Array, size: number): Float32Array {
    const scores = new Float32Array(size);
    for (let i = 0; i < size; i++) scores[i] = this.scoreAt(probabilities, i * HEADS.length);
    return scores;
  }

  /** Every head's probability × weight; the contributions sum to the score. */
  explain(probabilities: Float32Array, at: number): PostExplanation['heads'] {
    return HEADS.map((head, h) => {
      const probability = probabilities[at + h];
      const weight = this.weights[head];
      return { head, probability, weight, contribution: probability * weight };
    });
  }
}
