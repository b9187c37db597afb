// One deadline a request, made at the door and handed down to every call.
import { FeedrankError } from './errors.ts';
import { steadyNow } from './steady-clock.ts';

export interface Deadline {
  /** On steady-clock.ts's clock: Unix milliseconds, but for corrections since the process began. */
  readonly atMs: number;
  /** Milliseconds left, never negative. */
  remainingMs(): number;
  /** A deadline for a part of the work: at most `ms` from now, never after this one. */
  within(ms: number): Deadline;
}

export function deadlineIn(ms: number, now: () => number = steadyNow): Deadline {
  return deadlineAt(now() + ms, now);
}

export function deadlineAt(atMs: number, now: () => number = steadyNow): Deadline {
  return {
    atMs,
    remainingMs: () => Math.max(0, atMs - now()),
    within: (ms) => deadlineAt(Math.min(atMs, now() + ms), now),
  };
}

/** Rejects with code `timeout` when `work` has not settled by the deadline; `work` itself goes on. */
export function raceDeadline<T>(work: Promise<T>, deadline: Deadline, what: string): Promise<T> {
  // One promise: each call to a store is raced several times over, and Promise.race would make five.
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new FeedrankError('timeout', `${what} did not answer within its time`)),
      deadline.remainingMs(),
    );
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
