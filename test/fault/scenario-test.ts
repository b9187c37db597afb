// The quick form of a fault scenario as a test: what rests on the machine's speed at the moment is not asked here, the
// suite (npm run test:faults) asks for it.
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { REPOSITORY } from '../../scripts/faults/fault-world.ts';
import { runScenario } from '../../scripts/faults/run-scenario.ts';
import type { Scenario } from '../../scripts/faults/scenario.ts';

const LIMIT_MS = 300_000;

export function faultTest(scenario: Scenario): void {
  it(`withstands fault ${scenario.id}: ${scenario.title}`, { timeout: LIMIT_MS }, async (context) => {
    const { skipped, criteria } = await runScenario(scenario, {
      quick: true,
      soakMinutes: 1,
      cacheDir: join(REPOSITORY, '.cache'),
      note: () => {},
    });
    if (skipped) context.skip(skipped);
    expect(criteria.length).toBeGreaterThan(0);
    expect(criteria.filter(({ pass, timed }) => !pass && !timed)).toEqual([]);
  });
}
