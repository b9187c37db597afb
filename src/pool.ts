// The feed workers' pool, on the main thread: one job in flight a worker, a bounded queue ordered by priority and
// deadline, and no job handed out after its deadline. A worker is never terminated inside native code: one that hangs
// is left alone, and another takes its place.
import { Worker } from 'node:worker_threads';
import { FeedrankError } from './errors.ts';
import type { Member, PoolResponse, PoolWorker, WorkerPoolOptions } from './pool-protocol.ts';
import { type Job, JobQueue } from './resilience/job-queue.ts';
import { RespawnBackoff } from './resilience/respawn-backoff.ts';
import { steadyNow } from './steady-clock.ts';

export type { PoolRequest, PoolResponse, PoolWorker } from './pool-protocol.ts';

/** Workers beyond the pool's size while hung ones hold their memory. */
const MAX_SPARES = 1;
/** What a worker that does not answer any more is counted as having answered to a setting. */
const LOST = Symbol('lost');

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #members: Member[] = [];
  /** Hung workers: they hold their memory, and nothing is expected of them. */
  readonly #lost = new Set<Member>();
  readonly #queue: JobQueue;
  #nextId = 1;
  /** On performance.now()'s clock. */
  #lastAnswerAtMs = 0;
  #closing = false;
  readonly #backoff = new RespawnBackoff();
  #respawns = 0;
  /** Replayed, in order, to a worker that replaces another. */
  readonly #setupLog = new Map<string, { kind: string; payload: unknown }>();

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#queue = new JobQueue(options.queueLimit ?? 256);
    for (let i = 0; i < options.size; i++) this.#members.push(this.#spawn('serving'));
  }

  get queued(): number {
    return this.#queue.length;
  }

  /** Workers that can take work: alive, ready and not hung. */
  get available(): number {
    return this.#members.filter(({ state }) => state === 'serving').length;
  }

  /** Milliseconds since a worker last did a job. */
  get silentMs(): number {
    return performance.now() - this.#lastAnswerAtMs;
  }

  /** Workers that hang. */
  get lost(): number {
    return this.#lost.size;
  }

  /**
   * Sends a message to every worker and waits for all that do not hang. `key` names the setting: the last message of
   * each key is what a replacement starts from; null is not kept, nor is what a worker refused. `inTurn`: one worker
   * after the other, which gets no jobs meanwhile if another can take them; for work that takes long.
   */
  async broadcast(kind: string, payload: unknown, key: string | null, inTurn = false): Promise<unknown[]> {
    const before = key === null ? undefined : this.#setupLog.get(key);
    if (key !== null) this.#setupLog.set(key, { kind, payload });
    // A hung worker that comes back has then missed nothing.
    for (const { worker } of this.#lost) worker.postMessage({ id: this.#nextId++, kind, payload });
    try {
      const tell = (member: Member) => this.#setup(member, kind, payload);
      const answers = inTurn ? await this.#inTurn(tell) : await Promise.all(this.#members.map(tell));
      return answers.filter((answer) => answer !== LOST);
    } catch (error) {
      if (key !== null && before) this.#setupLog.set(key, before);
      else if (key !== null) this.#setupLog.delete(key);
      throw error;
    }
  }

  /**
   * Sends a message to one idle worker without making it busy: a job may start there at any moment, and the work
   * must give way to it. null when no worker is idle or a job waits.
   */
  background(kind: string, payload: unknown): Promise<unknown> | null {
    if (this.#closing || this.#queue.length > 0) return null;
    const idle = this.#members.find(({ state, busy }) => state === 'serving' && busy === undefined);
    if (!idle) return null;
    return this.#setup(idle, kind, payload).then((value) => {
      if (value === LOST) throw new FeedrankError('unavailable', 'its feed worker hangs');
      return value;
    });
  }

  /** Forgets a kept setting, so that a replacement worker is not given it. */
  forget(key: string): void {
    this.#setupLog.delete(key);
  }

  /**
   * Runs one job on the next free worker. Of jobs that wait the lower `priority` goes first, then the nearer deadline.
   * One that waits when `signal` is aborted leaves the queue; one that runs is finished.
   * @throws FeedrankError `overloaded` (it would wait too long), `timeout` (deadline passed), `unavailable` (its worker
   * died, every one hangs, or the signal took it out).
   */
  run(
    kind: string,
    payload: unknown,
    deadlineAtMs: number,
    priority = 0,
    signal?: AbortSignal,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(notWanted());
      if (this.#closing) return reject(new FeedrankError('unavailable', 'the feed workers are closing'));
      const job: Job = { kind, payload, deadlineAtMs, priority, resolve, reject, timer: undefined };
      const leftMs = deadlineAtMs - steadyNow();
      if (leftMs <= 0) return reject(new FeedrankError('timeout', 'no time is left for the feed workers'));
      const idle = this.#members.find(({ state, busy }) => state === 'serving' && busy === undefined);
      if (idle) return this.#start(idle, job);
      const takers = this.#members.filter(({ state }) => state === 'serving');
      if (takers.length === 0 && this.#lost.size > 0) {
        return reject(new FeedrankError('unavailable', 'every feed worker hangs'));
      }
      const now = performance.now();
      this.#queue.push(
        job,
        takers.map(({ startedAtMs }) => now - startedAtMs),
      );
      signal?.addEventListener('abort', () => this.#queue.remove(job, notWanted()), { once: true });
    });
  }

  /** Waits for work in flight, then ends the workers, but for those that hang. Waiting jobs are refused. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#queue.rejectAll(new FeedrankError('unavailable', 'the service is shutting down'));
    const alive = this.#members.filter((member) => member.worker.threadId !== -1);
    await Promise.allSettled(alive.map((member) => this.#setup(member, 'close', null)));
  }

  #start(member: Member, job: Job): void {
    member.busy = job;
    member.startedAtMs = performance.now();
    const hangMs = this.#options.hangMs ?? 1000;
    const left = Math.max(0, job.deadlineAtMs - steadyNow());
    job.timer = setTimeout(() => {
      job.reject(new FeedrankError('timeout', 'the feed worker did not answer in time'));
      job.timer = setTimeout(() => this.#lose(member), hangMs);
    }, left);
    member.worker.postMessage({ id: 0, kind: job.kind, payload: job.payload });
  }

  async #inTurn(tell: (member: Member) => Promise<unknown>): Promise<unknown[]> {
    const answers: unknown[] = [];
    for (const member of [...this.#members]) {
      if (!this.#members.includes(member)) continue;
      const aside = member.state === 'serving' && this.available > 1;
      if (aside) member.state = 'starting';
      const back = () => {
        if (!aside || member.state !== 'starting') return;
        member.state = 'serving';
        this.#next(member);
      };
      answers.push(await tell(member).finally(back));
    }
    return answers;
  }

  #setup(member: Member, kind: string, payload: unknown): Promise<unknown> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      member.setups.set(id, { resolve, reject });
      member.worker.postMessage({ id, kind, payload });
    });
  }

  #next(member: Member): void {
    if (member.state !== 'serving' || member.busy) return;
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
    if (job) {
      clearTimeout(job.timer);
      if ('value' in response) {
        this.#lastAnswerAtMs = performance.now();
        this.#queue.learn(job.kind, this.#lastAnswerAtMs - member.startedAtMs);
        job.resolve(response.value);
      } else {
        job.reject(new FeedrankError(response.code as 'internal', response.error));
      }
    }
    if (member.state === 'lost') this.#found(member);
    this.#next(member);
  }

  /** Its job hangs: nothing more is expected of it. */
  #lose(member: Member): void {
    member.state = 'lost';
    this.#members.splice(this.#members.indexOf(member), 1);
    this.#lost.add(member);
    for (const setup of member.setups.values()) setup.resolve(LOST);
    member.setups.clear();
    this.#options.onWorkerLost?.();
    this.#fill();
  }

  /** A hung worker answered: it takes its place again, or ends where another has it. */
  #found(member: Member): void {
    this.#lost.delete(member);
    if (this.#closing || this.#members.length + this.#respawns >= this.#options.size) {
      member.worker.postMessage({ id: this.#nextId++, kind: 'close', payload: null });
      this.#fill();
      return;
    }
    member.state = 'serving';
    this.#members.push(member);
  }

  /** Starts workers up to the pool's size, as far as those that hang leave room. */
  #fill(): void {
    const { size } = this.#options;
    const used = () => this.#members.length + this.#respawns;
    while (!this.#closing && used() < size && used() + this.#lost.size < size + MAX_SPARES) this.#replace();
  }

  #spawn(state: Member['state']): Member {
    const { script, workerData, heapMb, spawn } = this.#options;
    const resourceLimits = heapMb === undefined ? undefined : { maxOldGenerationSizeMb: heapMb };
    const worker: PoolWorker = spawn?.() ?? new Worker(script, { workerData, resourceLimits });
    const member: Member = { worker, busy: undefined, startedAtMs: 0, state, setups: new Map() };
    let failure: Error | undefined;
    worker.on('message', (response) => this.#answer(member, response));
    worker.on('error', (error) => {
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
    const at = this.#members.indexOf(member);
    // One that another has replaced ends as it was told to.
    if (this.#closing || (at < 0 && !this.#lost.delete(member))) return;
    if (at >= 0) this.#members.splice(at, 1);
    this.#options.onWorkerExit?.(failure);
    this.#respawns++;
    setTimeout(() => {
      this.#respawns--;
      this.#fill();
    }, this.#backoff.died()).unref();
  }

  #replace(): void {
    const replacement = this.#spawn('starting');
    this.#members.push(replacement);
    const replays = [...this.#setupLog.values()].map((setup) =>
      this.#setup(replacement, setup.kind, setup.payload),
    );
    Promise.all(replays).then(
      () => {
        replacement.state = 'serving';
        this.#next(replacement);
      },
      () => {},
    );
  }
}

function notWanted(): FeedrankError {
  return new FeedrankError('unavailable', 'nobody waits for the answer');
}
