// What the pool is made from, and what it and its workers say to each other; worker.ts is the other side.
import type { Job } from './resilience/job-queue.ts';

/** Messages to a worker. `setup` messages go to every worker, `job`s to one. */
export interface PoolRequest {
  id: number;
  kind: string;
  payload: unknown;
}

export type PoolResponse = { id: number; value: unknown } | { id: number; code: string; error: string };

/** The part of worker_threads.Worker that the pool uses. */
export interface PoolWorker {
  readonly threadId: number;
  postMessage(message: PoolRequest): void;
  on(event: 'message', listener: (response: PoolResponse) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'exit', listener: () => void): unknown;
}

/** A worker as the pool keeps it. */
export interface Member {
  worker: PoolWorker;
  busy: Job | undefined;
  /** On performance.now()'s clock. */
  startedAtMs: number;
  /** `lost`: its job outlived its deadline by far; it gets no work until it answers. */
  state: 'starting' | 'serving' | 'lost';
  setups: Map<number, { resolve(value: unknown): void; reject(error: Error): void }>;
}

export interface WorkerPoolOptions {
  script: URL;
  size: number;
  workerData: unknown;
  /** Jobs that may wait, however soon their turn would come; one more is refused with `overloaded`. */
  queueLimit?: number;
  /** A job unanswered this long after its deadline loses its worker. */
  hangMs?: number;
  /** JavaScript heap of a worker; one that needs more ends, and is replaced. Shared and native memory is not in it. */
  heapMb?: number;
  onWorkerExit?: (error: Error | undefined) => void;
  /** A worker hangs and gets no more work. */
  onWorkerLost?: () => void;
  /** Starts a worker in another way, for tests on a fake clock. */
  spawn?: () => PoolWorker;
}
