import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { deadlineIn } from '../../src/deadline.ts';
import { steadyNow } from '../../src/steady-clock.ts';

const MODULE = new URL('../../src/steady-clock.ts', import.meta.url).href;

afterEach(() => vi.useRealTimers());

/** A thread whose wall clock is wrong by so much when it starts. */
function askedInThread(offByMs: number): Promise<number> {
  const source = `
    const { parentPort } = require('node:worker_threads');
    const now = Date.now;
    Date.now = () => now() + ${offByMs};
    import(${JSON.stringify(MODULE)}).then(({ steadyNow }) => parentPort.postMessage(steadyNow()));`;
  const worker = new Worker(source, { eval: true });
  return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
}

describe('the clock of deadlines', () => {
  it('is Unix time to begin with', () => {
    expect(Math.abs(steadyNow() - Date.now())).toBeLessThan(60_000);
  });

  it.each([-3_600_000, 3_600_000])('is not moved by a step of the wall clock of %i ms', (stepMs) => {
    const deadline = deadlineIn(300);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + stepMs });
    const leftMs = deadline.remainingMs();
    expect(leftMs).toBeGreaterThan(0);
    expect(leftMs).toBeLessThanOrEqual(300);
  });

  it.each([0, -3_600_000, 3_600_000])(
    'is the same in a thread that starts when the wall clock has moved by %i ms',
    async (offByMs) => {
      const before = steadyNow();
      const there = await askedInThread(offByMs);
      expect(there).toBeGreaterThanOrEqual(before - 1);
      expect(there).toBeLessThanOrEqual(steadyNow() + 1);
    },
  );
});
