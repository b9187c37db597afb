import { describe, expect, it } from 'vitest';
import { simulate, type Tally } from './simulate.ts';

/** `SIMULATION_SEEDS=10000` for the long run; `SIMULATION_FIRST_SEED` to repeat one that failed. */
const SEEDS = Number(process.env.SIMULATION_SEEDS ?? 1000);
const FIRST = Number(process.env.SIMULATION_FIRST_SEED ?? 1);

describe('the resilience logic on a virtual clock', () => {
  it(`holds over ${SEEDS} seeds of faults: no lost acknowledgement, no late or empty answer, recovery`, async () => {
    const tally: Tally = { pages: 0, degraded: 0, refused: 0, acked: 0, hung: 0 };
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) await simulate(seed, tally);
    // The faults did bite: a simulation in which nothing goes wrong says nothing.
    if (SEEDS >= 100) {
      expect(tally.degraded).toBeGreaterThan(tally.pages / 10);
      expect(tally.refused).toBeGreaterThan(0);
      expect(tally.acked).toBeGreaterThan(0);
      expect(tally.hung).toBeGreaterThan(0);
    }
  }, 600_000);
});
