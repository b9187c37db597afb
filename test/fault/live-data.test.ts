// The soak of live data in small: an updater killed, a replica stopped, and nothing lost, counted twice or different from
// a rebuild. What rests on the machine's speed at the moment is not asked here, `npm run replay -- --soak` asks for it.
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { REPOSITORY } from '../../scripts/faults/fault-world.ts';
import { Impossible } from '../../scripts/faults/scenario.ts';
import type { Clicks } from '../../scripts/replay/clicks.ts';
import { type SoakReport, soak } from '../../scripts/replay/soak.ts';

const LIMIT_MS = 300_000;
const CLICKS_A_SECOND = 40;
const SECONDS = 40;

/** Regular ones, a few articles more popular than the rest. */
function clicks(): Clicks {
  const numbers = Array.from({ length: CLICKS_A_SECOND * SECONDS }, (_, i) => i);
  return {
    users: Uint32Array.from(numbers, (i) => (i * 7919) % 211),
    articles: Uint32Array.from(numbers, (i) => (i % 3 === 0 ? i % 5 : (i * 31) % 97)),
    at: Float64Array.from(numbers, (i) => (i * 1000) / CLICKS_A_SECOND),
    left: 0,
  };
}

it('keeps every click and the users’ state over kill -9 and SIGSTOP', {
  timeout: LIMIT_MS,
}, async (context) => {
  let report: SoakReport;
  try {
    report = await soak({
      clicks: clicks(),
      speed: 1,
      accounts: 0,
      feedsPerSecond: 8,
      minutes: 0.6,
      kills: 1,
      pauseSeconds: 10,
      quick: true,
      cacheDir: join(REPOSITORY, '.cache'),
      note: () => {},
    });
  } catch (error) {
    if (error instanceof Impossible) context.skip(error.message);
    throw error;
  }
  expect(report.replay.sent.events).toBeGreaterThan(1000);
  expect(report.kills).toBe(1);
  expect(report.pause?.flagged).toBeGreaterThan(0);
  expect(report.rebuilt.users).toBeGreaterThan(500);
  const asked = report.criteria.filter(({ timed }) => !timed);
  expect(asked.filter(({ pass }) => !pass)).toEqual([]);
});
