// One request scored by the model that serves and by the one on trial, over the same candidates: what differs.
// Made in a feed worker, added up on the main thread.
import { HEADS } from '../../vocabulary.ts';
import type { Scored } from '../ranker.ts';
import { rankCorrelation } from './rank-correlation.ts';
import { decileCounts } from './score-drift.ts';

/** Places at the top whose members are compared: about two pages. */
const TOP = 50;

export interface ShadowSample {
  rows: number;
  /** Spearman's, of the values. */
  correlation: number;
  /** Share of the serving model's best TOP that is among the trial's. */
  topOverlap: number;
  /** [10] where the serving and the trial's values lie among the deciles of the serving ones. */
  servingDeciles: number[];
  trialDeciles: number[];
  /** Mean probability of each head. */
  servingMeans: number[];
  trialMeans: number[];
  /** Encoding and running a row, milliseconds; of the fastest chunk, for the others waited for the core. */
  servingMsPerRow: number;
  trialMsPerRow: number;
}

/** What one model made of the sample: by candidate, not by rank. */
export interface ShadowScores {
  scores: Float32Array;
  /** [size, HEADS.length] */
  probabilities: Float32Array;
  msPerRow: number;
}

export function newShadowScores(size: number): ShadowScores {
  return {
    scores: new Float32Array(size),
    probabilities: new Float32Array(size * HEADS.length),
    msPerRow: Infinity,
  };
}

/** Puts a chunk that was ranked on its own at `[from, from + ranked.size)` of the sample. */
export function addScored(into: ShadowScores, ranked: Scored, from: number): void {
  for (let i = 0; i < ranked.size; i++) {
    const at = from + ranked.candidate[i];
    into.scores[at] = ranked.scores[i];
    for (let h = 0; h < HEADS.length; h++) {
      into.probabilities[at * HEADS.length + h] = ranked.probabilities?.[i * HEADS.length + h] ?? 0;
    }
  }
  into.msPerRow = Math.min(into.msPerRow, (ranked.encodeMs + ranked.runMs) / Math.max(1, ranked.size));
}

export function compareShadow(serving: ShadowScores, trial: ShadowScores): ShadowSample {
  return {
    rows: serving.scores.length,
    correlation: rankCorrelation(serving.scores, trial.scores),
    topOverlap: topOverlap(serving.scores, trial.scores),
    servingDeciles: decileCounts(serving.scores, serving.scores),
    trialDeciles: decileCounts(serving.scores, trial.scores),
    servingMeans: headMeans(serving.probabilities),
    trialMeans: headMeans(trial.probabilities),
    servingMsPerRow: serving.msPerRow,
    trialMsPerRow: trial.msPerRow,
  };
}

function topOverlap(a: Float32Array, b: Float32Array): number {
  const top = (scores: Float32Array) =>
    Array.from(scores.keys())
      .sort((i, j) => scores[j] - scores[i])
      .slice(0, TOP);
  const first = top(a);
  const second = new Set(top(b));
  return first.length === 0 ? 1 : first.filter((row) => second.has(row)).length / first.length;
}

function headMeans(probabilities: Float32Array): number[] {
  const rows = Math.max(1, probabilities.length / HEADS.length);
  return HEADS.map((_, h) => {
    let sum = 0;
    for (let at = h; at < probabilities.length; at += HEADS.length) sum += probabilities[at];
    return sum / rows;
  });
}
