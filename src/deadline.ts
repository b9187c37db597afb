// One deadline a request, made at the door and handed down to every call.
import { FeedrankError } from './errors.ts';

export interface Deadline {
  /** Unix milliseconds. */
  readonly atMs: number;
  /** Milliseconds left, never negative. */
  remainingMs(): number;
  /** A deadline for a part of the work: at most `ms` from now, never after this one. */
  within(ms: number): Deadline;
}

export function deadlineIn(ms: number, now: () => number = Date.now): Deadline {
  return deadlineAt(now() + ms, now);
}

export function deadlineAt(atMs: number, now: () => number = Date.now): Deadline {
  return {
    atMs,
    remainingMs: () => Math.max(0, atMs - now()),
    within: (ms) => deadlineAt(Math.min(atMs, now() + ms), now),
  };
}

/** Rejects with code `timeout` when `work` has not settled by the deadline; `work` itself goes on. */
export async function raceDeadline<T>(work: Promise<T>, deadline: Deadline, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new FeedrankError('timeout', `${what} did not answer within its time`)),
      deadline.remainingMs(),
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
