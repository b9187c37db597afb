import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { Admission, PRIORITIES, type Priority, qualityAt } from '../../../src/admission.ts';
import { requestPriority } from '../../../src/api/request-priority.ts';
import { GradientLimit } from '../../../src/resilience/gradient-limit.ts';

const LIMIT = { min: 4, max: 64, start: 16, unqueued: 1, targetMs: 100 };

/** Answers to requests that found so many in flight; by default as many as the limit lets in. */
function feed(limit: GradientLimit, latencyMs: number, answers: number, inFlight?: number): void {
  for (let i = 0; i < answers; i++) limit.observe(latencyMs, inFlight ?? limit.limit, (clock += 30));
}
let clock = 0;

describe('GradientLimit', () => {
  it('stays within its bounds, whatever it sees', () => {
    const answer = fc.record({
      latencyMs: fc.double({ min: 0.01, max: 1e6, noNaN: true }),
      inFlight: fc.integer({ min: 1, max: 1000 }),
      stepMs: fc.double({ min: 0, max: 1000, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(answer, { maxLength: 300 }), (answers) => {
        const limit = new GradientLimit(LIMIT);
        let now = 0;
        for (const { latencyMs, inFlight, stepMs } of answers) {
          limit.observe(latencyMs, inFlight, (now += stepMs));
          expect(limit.limit).toBeGreaterThanOrEqual(LIMIT.min);
          expect(limit.limit).toBeLessThanOrEqual(LIMIT.max);
        }
      }),
    );
  });

  it('grows while it is used and latency is good, shrinks to its least when latency is bad, and recovers', () => {
    const limit = new GradientLimit(LIMIT);
    feed(limit, 8, 50, 1);
    feed(limit, 20, 2000);
    expect(limit.limit).toBe(64);
    feed(limit, 2000, 2000);
    expect(limit.limit).toBeLessThanOrEqual(6);
    feed(limit, 20, 2000);
    expect(limit.limit).toBe(64);
  });

  it('does not grow by requests that hardly use it', () => {
    const limit = new GradientLimit(LIMIT);
    feed(limit, 8, 2000, 2);
    expect(limit.limit).toBe(16);
  });

  it('does not take a long overload for the usual: the baseline is that of requests without a queue', () => {
    const limit = new GradientLimit(LIMIT);
    feed(limit, 8, 200, 1);
    feed(limit, 400, 20_000);
    expect(limit.baselineMs).toBeCloseTo(8, 1);
    expect(limit.limit).toBeLessThanOrEqual(6);
  });

  it('gives back what a fault took also while it is hardly used', () => {
    const limit = new GradientLimit(LIMIT);
    feed(limit, 8, 50, 1);
    feed(limit, 2000, 500);
    expect(limit.limit).toBeLessThanOrEqual(6);
    feed(limit, 8, 2000, 2);
    expect(limit.limit).toBeGreaterThanOrEqual(LIMIT.start);
    expect(limit.limit).toBeLessThanOrEqual(LIMIT.start + 1);
  });
});

describe('Admission', () => {
  const open = (workers = 2) => new Admission({ workers, deadlineMs: 300 });

  /** Starts so many requests that stay; how many came in. */
  function fill(admission: Admission, priority: Priority, count: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const done = Array.from({ length: count }, () =>
      admission
        .run(priority, () => promise)
        .then(
          () => true,
          () => false,
        ),
    );
    return { inside: admission.inFlight(priority), resolve, done: Promise.all(done) };
  }

  it('refuses background work first, then prefetches, and readers last', async () => {
    const admission = open();
    expect(fill(admission, 'background', 100).inside).toBe(12);
    expect(fill(admission, 'prefetch', 100).inside).toBe(12);
    expect(fill(admission, 'interactive', 100).inside).toBe(24);
  });

  it('a flood of prefetches leaves half of the places to readers', () => {
    const admission = open();
    fill(admission, 'prefetch', 10_000);
    expect(fill(admission, 'interactive', 24).inside).toBe(24);
  });

  it('refuses with `overloaded` and a time to come back, without running the work', async () => {
    const admission = open();
    fill(admission, 'interactive', 48);
    let ran = false;
    const refused = admission.run('interactive', async () => {
      ran = true;
    });
    await expect(refused).rejects.toMatchObject({ code: 'overloaded' });
    const error = await refused.catch((thrown) => thrown);
    expect(error.retryAfterSeconds).toBeGreaterThanOrEqual(1);
    expect(error.retryAfterSeconds).toBeLessThanOrEqual(3);
    expect(ran).toBe(false);
  });

  it('gives its places back, also of work that failed', async () => {
    const admission = open();
    for (let i = 0; i < 1000; i++) {
      await admission.run('interactive', () => Promise.reject(new Error('no'))).catch(() => {});
    }
    expect(PRIORITIES.map((priority) => admission.inFlight(priority))).toEqual([0, 0, 0]);
    const held = fill(admission, 'interactive', 48);
    held.resolve();
    expect((await held.done).every(Boolean)).toBe(true);
    expect(admission.inFlight('interactive')).toBe(0);
  });

  it('keeps the place of a request that the workers missed until its deadline, unless no worker answers at all', async () => {
    vi.useFakeTimers();
    try {
      let answer = true;
      const admission = new Admission({ workers: 2, deadlineMs: 300, workersAnswer: () => answer });
      const miss = () =>
        admission.run('interactive', async (grant) => {
          grant.outcome = 'missed';
        });
      await miss();
      expect(admission.inFlight('interactive')).toBe(1);
      await vi.advanceTimersByTimeAsync(300);
      expect(admission.inFlight('interactive')).toBe(0);
      answer = false;
      await miss();
      expect(admission.inFlight('interactive')).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('shrinks the share of candidates before it refuses anybody', async () => {
    const admission = open();
    const shares: number[] = [];
    for (let i = 0; i < 48; i++) {
      void admission.run('interactive', (grant) => {
        shares.push(grant.quality);
        return new Promise(() => {});
      });
    }
    expect(shares.slice(0, 24)).toEqual(Array(24).fill(1));
    expect(shares.at(-1)).toBe(0.25);
    expect([...shares].sort((a, b) => b - a)).toEqual(shares);
  });

  it('the share falls steadily from 1 to a quarter', () => {
    const use = fc.double({ min: 0, max: 5, noNaN: true });
    fc.assert(
      fc.property(use, use, (a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        expect(qualityAt(low)).toBeGreaterThanOrEqual(qualityAt(high));
        expect(qualityAt(a)).toBeGreaterThanOrEqual(0.25);
        expect(qualityAt(a)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe('a request says how urgent it is', () => {
  it('by its parameter, by our header, by that of a browser that prefetches, else it is interactive', () => {
    expect(requestPriority('background', { 'x-feedrank-priority': 'interactive' })).toBe('background');
    expect(requestPriority(undefined, { 'x-feedrank-priority': 'prefetch' })).toBe('prefetch');
    expect(requestPriority(undefined, { 'sec-purpose': 'prefetch;prerender' })).toBe('prefetch');
    expect(requestPriority(undefined, { 'x-feedrank-priority': 'urgent!' })).toBe('interactive');
    expect(requestPriority(undefined, {})).toBe('interactive');
  });
});
