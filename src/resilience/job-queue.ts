// Jobs that wait for a feed worker, the most urgent first: a job whose turn would not come in time is refused when it
// arrives, one whose deadline passes all the same is dropped. Called by pool.ts.
import { FeedrankError } from '../errors.ts';
import { steadyNow } from '../steady-clock.ts';
import { expectedLeftMs, expectedWaitMs } from './expected-wait.ts';

export interface Job {
  kind: string;
  payload: unknown;
  deadlineAtMs: number;
  /** Lower goes first. */
  priority: number;
  resolve(value: unknown): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout | undefined;
}

/** Weight of the newest job in the usual time of its kind. */
const NEWEST = 0.1;

export class JobQueue {
  readonly #limit: number;
  readonly #jobs: Job[] = [];
  readonly #usualMs = new Map<string, number>();

  /** @param limit jobs that may wait, however soon their turn would come. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#jobs.length;
  }

  /** A job of this kind was done. */
  learn(kind: string, tookMs: number): void {
    const before = this.#usualMs.get(kind) ?? tookMs;
    this.#usualMs.set(kind, before + (tookMs - before) * NEWEST);
  }

  /**
   * Takes the job in, or rejects it with `overloaded`. `runningMs`: how long each worker that takes jobs has been at
   * its present one; empty where none is ready yet.
   */
  push(job: Job, runningMs: readonly number[]): void {
    const leftMs = Math.max(0, job.deadlineAtMs - steadyNow());
    const at = this.#placeOf(job);
    const reason = this.#refusal(job.kind, at, leftMs, runningMs);
    if (reason) {
      job.reject(new FeedrankError('overloaded', reason, { retryAfterSeconds: 1 }));
      return;
    }
    this.#jobs.splice(at, 0, job);
    job.timer = setTimeout(() => this.#expire(job), leftMs);
  }

  shift(): Job | undefined {
    const job = this.#jobs.shift();
    clearTimeout(job?.timer);
    return job;
  }

  /** Rejects the job if it still waits. */
  remove(job: Job, error: Error): void {
    const at = this.#jobs.indexOf(job);
    if (at < 0) return;
    this.#jobs.splice(at, 1);
    clearTimeout(job.timer);
    job.reject(error);
  }

  rejectAll(error: Error): void {
    for (const job of this.#jobs.splice(0)) {
      clearTimeout(job.timer);
      job.reject(error);
    }
  }

  /** Behind every waiting job that is as urgent. */
  #placeOf({ priority, deadlineAtMs }: Job): number {
    const before = (other: Job) =>
      other.priority < priority || (other.priority === priority && other.deadlineAtMs <= deadlineAtMs);
    return this.#jobs.findLastIndex(before) + 1;
  }

  #refusal(kind: string, position: number, timeLeftMs: number, runningMs: readonly number[]): string | null {
    if (this.#jobs.length >= this.#limit) return 'the feed queue is full';
    const usualMs = this.#usualMs.get(kind);
    if (usualMs === undefined || runningMs.length === 0) return null;
    const leftMs = runningMs.map((elapsedMs) => expectedLeftMs(elapsedMs, usualMs));
    const doneMs = expectedWaitMs(leftMs, position, usualMs) + usualMs;
    return doneMs <= timeLeftMs ? null : 'no feed worker will be free in time';
  }

  #expire(job: Job): void {
    this.remove(
      job,
      new FeedrankError('timeout', 'no feed worker was free in time', { retryAfterSeconds: 1 }),
    );
  }
}
