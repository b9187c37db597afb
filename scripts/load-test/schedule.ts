// When requests are due, decided before and apart from how the server answers: the open loop of Schroeder, Wierman
// and Harchol-Balter ("Open versus closed", NSDI 2006). Pure and seeded. Called by phase-run.ts.
import type { Rng } from '../generate/rng.ts';

export const ARRIVAL_KINDS = ['poisson', 'burst', 'constant'] as const;
export type ArrivalKind = (typeof ARRIVAL_KINDS)[number];

export interface ScheduleOptions {
  kind: ArrivalKind;
  /** Mean arrivals a second. */
  rate: number;
  durationMs: number;
  /** Requests that fall due at one instant, with `burst`: groups arrive as a Poisson process of rate / burstSize. */
  burstSize: number;
  /** Shifts a constant schedule, so that generators interleave: 0 ≤ phase < 1 of an interval. */
  phase: number;
}

/** Successive due times in ms after the start, never falling; Infinity from the end of the schedule on. */
export function schedule(options: ScheduleOptions, rng: Rng): () => number {
  const { kind, rate, durationMs, burstSize, phase } = options;
  const meanGapMs = 1000 / rate;
  let at = 0;
  let drawn = 0;
  const advance = (): number => {
    if (kind === 'constant') return (drawn++ + phase) * meanGapMs;
    if (kind === 'poisson') return at + rng.exponential() * meanGapMs;
    return drawn++ % burstSize === 0 ? at + rng.exponential() * meanGapMs * burstSize : at;
  };
  return () => {
    if (at < durationMs) at = advance();
    return at < durationMs ? at : Number.POSITIVE_INFINITY;
  };
}
