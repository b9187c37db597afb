// The feed workers' pool, on the main thread: one job in flight a worker, a bounded queue ordered by deadline,
// and no job handed out after its deadline. A worker is never terminated inside native code.
import { Worker } from 'node:worker_threads';
import { FeedrankError } from './errors.ts';

/** Messages to a worker. `setup` messages go to every worker, `job`s to one. */
export interface PoolRequest {
  id: number;
  kind: string;
  payload: unknown;
}

export type PoolResponse = { id: number; value: unknown } | { id: number; code: string; error: string };

/** A worker that keeps dying is replaced more and more slowly. */
const DEATHS_WINDOW_MS = 60_000;
const MAX_RESPAWN_MS = 5000;

interface Job {
  kind: string;
  payload: unknown;
  deadlineAtMs: number;
  resolve(value: unknown): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout | undefined;
}

interface Member {
  worker: Worker;
  busy: Job | undefined;
  /** Set when a job outlived its deadline by far: gets no work until it answers. */
  quarantined: boolean;
  setups: Map<number, { resolve(value: unknown): void; reject(error: Error): void }>;
}

export interface WorkerPoolOptions {
  script: URL;
  size: number;
  workerData: unknown;
  /** Jobs that may wait; one more is refused with `overloaded`. */
  queueLimit?: number;
  /** A job unanswered this long after its deadline quarantines its worker. */
  hangMs?: number;
  onWorkerExit?: (error: Error | undefined) => void;
}

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #members: Member[] = [];
  readonly #queue: Job[] = [];
  #nextId = 1;
  #closing = false;
  #deaths: number[] = [];
  /** Replayed, in order, to a worker that replaces a dead one. */
  readonly #setupLog = new Map<string, { kind: string; payload: unknown }>();

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    for (let i = 0; i < options.size; i++) this.#members.push(this.#spawn());
  }

  get queued(): number {
    return this.#queue.length;
  }

  /** Workers that can take work: alive and not quarantined. */
  get available(): number {
    return this.#members.filter((member) => !member.quarantined).length;
  }

  /**
   * Sends a message to every worker and waits for all answers. `key` names the setting: the last message of each
   * key is what a replacement worker starts from; null is not kept.
   */
  async broadcast(kind: string, payload: unknown, key: string | null): Promise<unknown[]> {
    if (key !== null) this.#setupLog.set(key, { kind, payload });
    return Promise.all(this.#members.map((member) => this.#setup(member, kind, payload)));
  }

  /** Forgets a kept setting, so that a replacement worker is not given it. */
  forget(key: string): void {
    this.#setupLog.delete(key);
  }

  /**
   * Runs one job on the next free worker.
   * @throws FeedrankError `overloaded` (queue full), `timeout` (deadline passed), `unavailable` (worker died).
   */
  run(kind: string, payload: unknown, deadlineAtMs: number): Promise<unknown> {
    if (this.#closing)
      return Promise.reject(new FeedrankError('unavailable', 'the feed workers are closing'));
    const limit = this.#options.queueLimit ?? 256;
    return new Promise((resolve, reject) => {
      const job: Job = { kind, payload, deadlineAtMs, resolve, reject, timer: undefined };
      const idle = this.#members.find((member) => member.busy === undefined && !member.quarantined);
      if (idle) return this.#start(idle, job);
      if (this.#queue.length >= limit) {
        return reject(new FeedrankError('overloaded', 'the feed queue is full', { retryAfterSeconds: 1 }));
      }
      const at = this.#queue.findLastIndex((other) => other.deadlineAtMs <= deadlineAtMs);
      this.#queue.splice(at + 1, 0, job);
      job.timer = setTimeout(() => this.#expire(job), Math.max(0, deadlineAtMs - Date.now()));
    });
  }

  /** Waits for work in flight, then ends the workers. Waiting jobs are refused. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const job of this.#queue.splice(0)) {
      clearTimeout(job.timer);
      job.reject(new FeedrankError('unavailable', 'the service is shutting down'));
    }
    const alive = this.#members.filter((member) => member.worker.threadId !== -1);
    await Promise.allSettled(alive.map((member) => this.#setup(member, 'close', null)));
  }

  #expire(job: Job): void {
    const at = this.#queue.indexOf(job);
    if (at >= 0) this.#queue.splice(at, 1);
    job.reject(new FeedrankError('timeout', 'no feed worker was free in time', { retryAfterSeconds: 1 }));
  }

  #start(member: Member, job: Job): void {
    clearTimeout(job.timer);
    member.busy = job;
    const hangMs = this.#options.hangMs ?? 2000;
    const left = Math.max(0, job.deadlineAtMs - Date.now());
    job.timer = setTimeout(() => {
      job.reject(new FeedrankError('timeout', 'the feed worker did not answer in time'));
      job.timer = setTimeout(() => {
        member.quarantined = true;
      }, hangMs);
    }, left);
    member.worker.postMessage({ id: 0, kind: job.kind, payload: job.payload } satisfies PoolRequest);
  }

  #setup(member: Member, kind: string, payload: unknown): Promise<unknown> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      member.setups.set(id, { resolve, reject });
      member.worker.postMessage({ id, kind, payload } satisfies PoolRequest);
    });
  }

  #next(member: Member): void {
    if (member.quarantined || member.busy) return;
    const job = this.#queue.shift();
    if (job) this.#start(member, job);
  }

  #answer(member: Member, response: PoolResponse): void {
    if (response.id !== 0) {
      const setup = member.setups.get(response.id);
      member.setups.delete(response.id);
      if ('value' in response) setup?.resolve(response.value);
      else setup?.reject(new FeedrankError(response.code as 'internal', response.error));
      return;
    }
    const job = member.busy;
    member.busy = undefined;
    member.quarantined = false;
    if (job) {
      clearTimeout(job.timer);
      if ('value' in response) job.resolve(response.value);
      else job.reject(new FeedrankError(response.code as 'internal', response.error));
    }
    this.#next(member);
  }

  #spawn(): Member {
    const worker = new Worker(this.#options.script, { workerData: this.#options.workerData });
    const member: Member = { worker, busy: undefined, quarantined: false, setups: new Map() };
    let failure: Error | undefined;
    worker.on('message', (response: PoolResponse) => this.#answer(member, response));
    worker.on('error', (error: Error) => {
      failure = error;
    });
    worker.on('exit', () => this.#exited(member, failure));
    return member;
  }

  #exited(member: Member, failure: Error | undefined): void {
    const reason = new FeedrankError(
      'unavailable',
      `a feed worker ended: ${failure?.message ?? 'no reason given'}`,
    );
    if (member.busy) {
      clearTimeout(member.busy.timer);
      member.busy.reject(reason);
      member.busy = undefined;
    }
    for (const setup of member.setups.values()) {
      if (this.#closing) setup.resolve(null);
      else setup.reject(reason);
    }
    member.setups.clear();
    if (this.#closing) return;
    this.#options.onWorkerExit?.(failure);
    member.quarantined = true;
    const now = Date.now();
    this.#deaths = [...this.#deaths.filter((at) => at > now - DEATHS_WINDOW_MS), now];
    const delayMs = Math.min(MAX_RESPAWN_MS, 2 ** (this.#deaths.length - 1) * 50 - 50);
    setTimeout(() => this.#replace(member), delayMs).unref();
  }

  #replace(member: Member): void {
    if (this.#closing) return;
    const replacement = this.#spawn();
    replacement.quarantined = true;
    this.#members[this.#members.indexOf(member)] = replacement;
    const replays = [...this.#setupLog.values()].map((setup) =>
      this.#setup(replacement, setup.kind, setup.payload),
    );
    Promise.all(replays).then(
      () => {
        replacement.quarantined = false;
        this.#next(replacement);
      },
      () => {},
    );
  }
}
