import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectedLeftMs, expectedWaitMs } from '../../../src/resilience/expected-wait.ts';

const ms = fc.integer({ min: 0, max: 1000 });
const workers = fc.array(ms, { minLength: 1, maxLength: 8 });

/** When each job of a queue starts, by going through time: the next job on the worker that is free first. */
function starts(leftMs: readonly number[], jobs: number, serviceMs: number): number[] {
  const freeAt = [...leftMs];
  return Array.from({ length: jobs }, () => {
    freeAt.sort((a, b) => a - b);
    const start = freeAt[0];
    freeAt[0] += serviceMs;
    return start;
  });
}

describe('expectedWaitMs', () => {
  it('is when the job would start if every job took the usual time', () => {
    fc.assert(
      fc.property(workers, ms, fc.integer({ min: 0, max: 50 }), (left, service, position) => {
        const expected = starts(left, position + 1, service)[position];
        expect(expectedWaitMs([...left], position, service)).toBe(expected);
      }),
    );
  });

  it('grows with the place in the queue and shrinks with one more worker', () => {
    fc.assert(
      fc.property(workers, ms, ms, fc.integer({ min: 0, max: 50 }), (left, more, service, position) => {
        const wait = expectedWaitMs([...left], position, service);
        expect(expectedWaitMs([...left], position + 1, service)).toBeGreaterThanOrEqual(wait);
        expect(expectedWaitMs([...left, more], position, service)).toBeLessThanOrEqual(wait);
      }),
    );
  });

  it('is endless without workers', () => {
    expect(expectedWaitMs([], 0, 5)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('expectedLeftMs', () => {
  it('is what is left of the usual time, and its age once a job is overdue', () => {
    expect(expectedLeftMs(3, 10)).toBe(7);
    expect(expectedLeftMs(15, 10)).toBe(0);
    expect(expectedLeftMs(500, 10)).toBe(500);
  });
});
