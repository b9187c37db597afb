// The gates of what is on trial beside rankers: rules, index versions and light rankers; and which judge is whose. Pure.
import type { ArmFigures } from './arm-evidence.ts';
import {
  atLeast,
  compare,
  eventGates,
  failureGate,
  type GateResult,
  judgeCanary,
  judgeRules,
  judgeShadow,
  shadowGates,
  type Verdict,
  verdict,
} from './gates.ts';
import type { Gates, Schedule } from './rollout-config.ts';
import type { ShadowFigures } from './shadow-evidence.ts';

/** Share of an index's candidates that what serves has too: both follow the same changes, but not in step. */
const LEAST_ELIGIBLE = 0.95;
/** Rank correlation with the main ranker that a new light one may lose: its share of the gate minCorrelation's .4. */
const MOST_AGREEMENT_LOST = 0.1;

/**
 * An index on trial: what was summed as correlation is the overlap of the candidates, and as overlap at the top the share
 * of them that what serves has as servable posts (index-shadow.ts).
 */
export function judgeIndexShadow(figures: ShadowFigures, gates: Gates, schedule: Schedule): Verdict {
  return verdict(figures.samples >= schedule.shadowSamples, indexGates(figures, gates, schedule));
}

/** What counts as late is an answer without a post, and the time is retrieval's. */
export function judgeIndexCanary(
  canary: ArmFigures,
  control: ArmFigures,
  shadow: ShadowFigures,
  gates: Gates,
  schedule: Schedule,
): Verdict {
  const compared = compare(canary, control, gates, schedule);
  return verdict(compared.complete, [
    failureGate(canary, gates),
    ...indexGates(shadow, gates, schedule).slice(1),
    ...compared.speed('retrieve_time', 'empty'),
    ...compared.pages,
    ...eventGates(canary, control, gates, schedule),
  ]);
}

/** An index that came to everybody a short time ago against what served before; it never ends in an advance. */
export function judgeIndexProbation(
  promoted: ArmFigures,
  before: ArmFigures,
  gates: Gates,
  schedule: Schedule,
): Verdict {
  const compared = compare(promoted, before, gates, schedule);
  const rest = [...compared.speed('retrieve_time', 'empty'), ...compared.pages];
  return verdict(false, [failureGate(promoted, gates), ...rest]);
}

/**
 * A light ranker on trial: it is seldom what answers, so that the shadow decides, and of canary and control only what is
 * bad counts. What was summed as overlap at the top is how near it comes to the main ranker (shadow-run.ts).
 */
export function judgeLightShadow(figures: ShadowFigures, gates: Gates, schedule: Schedule): Verdict {
  return verdict(figures.samples >= schedule.shadowSamples, lightGates(figures, gates, schedule));
}

export function judgeLightCanary(
  canary: ArmFigures,
  control: ArmFigures,
  shadow: ShadowFigures,
  gates: Gates,
  schedule: Schedule,
): Verdict {
  const { speed, pages } = compare(canary, control, gates, schedule);
  return verdict(shadow.samples >= schedule.shadowSamples, [
    failureGate(canary, gates),
    ...lightGates(shadow, gates, schedule).map((one) =>
      one.gate === 'errors' ? { ...one, gate: 'shadow_errors' } : one,
    ),
    ...[...speed('rank_time'), ...pages].filter(({ status }) => status !== 'waiting'),
  ]);
}

function lightGates(figures: ShadowFigures, gates: Gates, schedule: Schedule): GateResult[] {
  const [errors, correlation, ...rest] = shadowGates(figures, gates, schedule);
  const known = correlation.status !== 'waiting';
  return [
    errors,
    correlation,
    atLeast('agreement', figures.topOverlap - 1, -MOST_AGREEMENT_LOST, known),
    ...rest,
  ];
}

function indexGates(figures: ShadowFigures, gates: Gates, schedule: Schedule): GateResult[] {
  const [errors, overlap, drift, latency] = shadowGates(figures, gates, schedule);
  return [
    errors,
    { ...overlap, gate: 'overlap' },
    atLeast('eligible', figures.topOverlap, LEAST_ELIGIBLE, overlap.status !== 'waiting'),
    { ...drift, gate: 'similarity_drift' },
    latency,
  ];
}

export interface Judges {
  shadow: typeof judgeShadow;
  canary: typeof judgeCanary;
}

export const RANKER_JUDGES: Judges = { shadow: judgeShadow, canary: judgeCanary };
export const LIGHT_JUDGES: Judges = { shadow: judgeLightShadow, canary: judgeLightCanary };
/** Rules have no shadow. */
export const RULES_JUDGES: Judges = { shadow: judgeShadow, canary: judgeRules };
export const INDEX_JUDGES: Judges = { shadow: judgeIndexShadow, canary: judgeIndexCanary };
