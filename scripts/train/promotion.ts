// Whether what was trained is to serve at once, and why. Pure; called by train.ts.
import { MAIN_RANKER } from '../../src/ranking/model-registry.ts';
import type { Comparison } from './train-ranker.ts';
import { comparisonText } from './training-report.ts';

/** Of the main ranker, per 1000 rows on one core; a slower one is not promoted by itself. */
const CPU_BUDGET_MS = 5;

export interface PromotionRules {
  /** `auto`: the service's gates decide on a ranker, and nobody passes them by: not these figures, nor `force`. */
  rollout: 'auto' | 'manual';
  noPromote: boolean;
  /** Also what does worse, or is too slow. */
  force: boolean;
}

/** `msPer1000Rows`: null for what is no ranker. */
export function promotion(
  name: string,
  { rollout, noPromote, force }: PromotionRules,
  comparison: Comparison | null,
  msPer1000Rows: number | null = null,
): { promoted: boolean; reason: string } {
  const compared = comparisonText(comparison);
  if (noPromote) return { promoted: false, reason: `--no-promote; ${compared}` };
  if (name === MAIN_RANKER && rollout === 'auto') {
    return {
      promoted: false,
      reason: `MODEL_ROLLOUT=auto: the service tries it before it serves; ${compared}`,
    };
  }
  const isSlow = name === MAIN_RANKER && msPer1000Rows !== null && msPer1000Rows > CPU_BUDGET_MS;
  const slow = isSlow ? `${msPer1000Rows} ms per 1000 rows, ${CPU_BUDGET_MS} are the budget` : null;
  const against = slow ?? (comparison?.worse ? compared : null);
  if (against === null) return { promoted: true, reason: compared };
  return force
    ? { promoted: true, reason: `--force; ${against}` }
    : { promoted: false, reason: `${against}; --force promotes it anyway` };
}
