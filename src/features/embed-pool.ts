// Embed workers on the main thread's side: new posts and changed users become vectors without blocking the loop.
// A worker is never terminated inside a run; one that dies or hangs rejects its job and is replaced.
import { Worker } from 'node:worker_threads';
import { FeedrankError } from '../errors.ts';
import type { EmbedRequest, EmbedResponse, EmbedWorkerData } from './embed-worker.ts';
import { buffersOf, type PackedUsers, packUsers, type UserTowerInput } from './packed-users.ts';
import type { PostTowerInput } from './post-tower.ts';

export interface EmbedPoolOptions extends EmbedWorkerData {
  workers: number;
  /** Jobs (of at most JOB_SIZE posts or users) that may wait; one more is refused with `overloaded`. */
  queueLimit?: number;
  onWorkerExit?: (error: Error) => void;
  /** Wait before a dead worker is replaced, times the deaths in a row. */
  respawnDelayMs?: number;
  /** A job unanswered for so long is rejected, and its worker replaced. Default HANG_MS. */
  hangMs?: number;
  /** Entry of the workers, when it is not embed-worker.ts. */
  script?: URL;
}

type Work = { kind: 'posts'; posts: readonly PostTowerInput[] } | { kind: 'users'; users: PackedUsers };

interface Job {
  work: Work;
  resolve(vectors: Float32Array): void;
  reject(error: Error): void;
}

interface Member {
  worker: Worker;
  ready: boolean;
  job: Job | undefined;
  timer: NodeJS.Timeout | undefined;
  exited: Promise<void>;
  markExited(): void;
}

/** Rows a job: a large request spreads over the workers, and a small one waits for at most one such job. */
const JOB_SIZE = 256;
const QUEUE_LIMIT = 4096;
/** Deaths in a row, without an answer between them, after which a worker is not replaced any more. */
const MAX_DEATHS = 5;
const RESPAWN_DELAY_MS = 200;
/** A job takes some .1 s of a core; also a worker that gets a hundredth of one has answered by then. */
const HANG_MS = 15_000;
/** Hung workers, each with its memory, beyond which they are not replaced. */
const MAX_LOST = 2;

export class EmbedPool {
  dim = 0;
  /** `post-tower@1`. */
  postTower = '';
  userTower = '';
  readonly #options: EmbedPoolOptions;
  readonly #members = new Set<Member>();
  /** Workers that hang: nothing is expected of them. */
  readonly #lost = new Set<Member>();
  /** Users and single posts pass bulk work (imports, re-embedding), which is cut into jobs. */
  readonly #urgent: Job[] = [];
  readonly #bulk: Job[] = [];
  #coldStart: Float32Array = new Float32Array(0);
  #nextId = 1;
  #deaths = 0;
  #closing: Promise<void> | undefined;
  /** Set when no worker is left and none will be started. */
  #dead: Error | undefined;

  private constructor(options: EmbedPoolOptions) {
    this.#options = options;
  }

  /** Resolves when every worker has loaded and probed both towers; rejects with the first refusal. */
  static async start(options: EmbedPoolOptions): Promise<EmbedPool> {
    const pool = new EmbedPool(options);
    const size = Math.max(1, options.workers);
    const starts = await Promise.allSettled(Array.from({ length: size }, () => pool.#spawn()));
    const refused = starts.find((start) => start.status === 'rejected');
    if (!refused) return pool;
    await pool.close();
    throw refused.reason;
  }

  /** What is not in order, for /health/ready; null when nothing is. */
  get trouble(): string | null {
    if (this.#dead) return `nothing can be embedded: ${this.#dead.message}`;
    return this.#lost.size > 0 ? `${this.#lost.size} embed workers hang` : null;
  }

  /** `[N, dim]` row-major float32, unit norm. */
  embedPosts(posts: readonly PostTowerInput[]): Promise<Float32Array> {
    return this.#submit(posts, (part) => ({ kind: 'posts', posts: part }));
  }

  /** `[U, dim]` row-major float32, unit norm. The inputs are read before it returns. */
  embedUsers(users: readonly UserTowerInput[]): Promise<Float32Array> {
    return this.#submit(users, (part) => ({ kind: 'users', users: packUsers(part, this.dim) }));
  }

  /** Unit vector [dim] of a user without history. */
  coldStart(): Float32Array {
    return this.#coldStart.slice();
  }

  /** Lets running jobs finish, rejects waiting ones, ends the workers. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  async #submit<T>(rows: readonly T[], work: (part: readonly T[]) => Work): Promise<Float32Array> {
    if (this.#closing) throw closed();
    if (this.#dead) throw this.#dead;
    if (rows.length === 0) return new Float32Array(0);
    const jobs = Math.ceil(rows.length / JOB_SIZE);
    const queue = jobs === 1 ? this.#urgent : this.#bulk;
    if (queue.length > 0 && queue.length + jobs > (this.#options.queueLimit ?? QUEUE_LIMIT)) {
      throw new FeedrankError('overloaded', 'the embedding queue is full', { retryAfterSeconds: 1 });
    }
    const parts: Promise<Float32Array>[] = [];
    for (let at = 0; at < rows.length; at += JOB_SIZE) {
      const part = work(rows.slice(at, at + JOB_SIZE));
      parts.push(new Promise((resolve, reject) => queue.push({ work: part, resolve, reject })));
    }
    this.#dispatch();
    const vectors = await Promise.all(parts);
    if (vectors.length === 1) return vectors[0];
    const out = new Float32Array(rows.length * this.dim);
    for (let i = 0; i < vectors.length; i++) out.set(vectors[i], i * JOB_SIZE * this.dim);
    return out;
  }

  #dispatch(): void {
    for (const member of this.#members) {
      if (!member.ready || member.job) continue;
      const job = this.#urgent.shift() ?? this.#bulk.shift();
      if (!job) return;
      const request: EmbedRequest = { id: this.#nextId++, ...job.work };
      try {
        member.worker.postMessage(request, request.kind === 'users' ? buffersOf(request.users) : []);
        member.job = job;
        member.timer = setTimeout(() => this.#lose(member), this.#options.hangMs ?? HANG_MS);
      } catch (error) {
        job.reject(error as Error);
      }
    }
  }

  #spawn(): Promise<void> {
    const { postTowerDir, userTowerDir, script } = this.#options;
    const worker = new Worker(script ?? new URL('./embed-worker.ts', import.meta.url), {
      workerData: { postTowerDir, userTowerDir } satisfies EmbedWorkerData,
    });
    const { promise: exited, resolve: markExited } = Promise.withResolvers<void>();
    const member: Member = { worker, ready: false, job: undefined, timer: undefined, exited, markExited };
    this.#members.add(member);
    return new Promise((resolve, reject) => {
      let cause: Error | undefined;
      worker.on('message', (response: EmbedResponse) => {
        if (response.kind === 'ready') {
          this.#adopt(response);
          member.ready = true;
          resolve();
        } else if (response.kind === 'refused') {
          cause = new FeedrankError('corrupt_artifact', response.error);
        } else {
          const job = member.job;
          member.job = undefined;
          clearTimeout(member.timer);
          this.#deaths = 0;
          if (this.#lost.delete(member)) this.#found(member);
          if (response.kind === 'result') job?.resolve(response.vectors);
          else job?.reject(new FeedrankError('internal', `embedding failed: ${response.error}`));
        }
        this.#dispatch();
      });
      worker.on('error', (error: Error) => {
        cause ??= error;
      });
      worker.on('exit', (code) => {
        const isReplaced = !this.#members.delete(member) && this.#lost.delete(member);
        clearTimeout(member.timer);
        const reason = cause?.message ?? `exit code ${code}`;
        const error =
          cause instanceof FeedrankError
            ? cause
            : new FeedrankError('unavailable', `an embed worker ended: ${reason}`, { cause });
        member.job?.reject(error);
        reject(error);
        markExited();
        if (member.ready && !this.#closing && (!isReplaced || this.#dead)) this.#replace(error);
      });
    });
  }

  /** Its job hangs: nothing more is expected of it. */
  #lose(member: Member): void {
    const error = new FeedrankError('timeout', 'an embed worker hangs');
    member.job?.reject(error);
    member.job = undefined;
    this.#members.delete(member);
    this.#lost.add(member);
    member.worker.unref();
    member.markExited();
    if (!this.#closing) this.#replace(error);
  }

  /** A hung worker answered: it ends where another has its place. */
  #found(member: Member): void {
    if (this.#closing || !this.#dead) {
      member.worker.postMessage({ id: 0, kind: 'close' } satisfies EmbedRequest);
      return;
    }
    this.#dead = undefined;
    member.worker.ref();
    this.#members.add(member);
  }

  #adopt(ready: Extract<EmbedResponse, { kind: 'ready' }>): void {
    this.dim = ready.dim;
    this.postTower = ready.postTower;
    this.userTower = ready.userTower;
    this.#coldStart = new Float32Array(ready.coldStart);
  }

  #replace(error: Error): void {
    this.#options.onWorkerExit?.(error);
    this.#deaths++;
    const delayMs = this.#options.respawnDelayMs ?? RESPAWN_DELAY_MS;
    if (this.#deaths <= MAX_DEATHS && this.#lost.size <= MAX_LOST) {
      setTimeout(() => {
        if (!this.#closing) this.#spawn().catch((refusal: Error) => this.#replace(refusal));
      }, delayMs * this.#deaths);
      return;
    }
    if (this.#members.size > 0) return;
    this.#dead = error;
    this.#rejectWaiting(error);
  }

  #rejectWaiting(error: Error): void {
    for (const job of [...this.#urgent.splice(0), ...this.#bulk.splice(0)]) job.reject(error);
  }

  async #shutDown(): Promise<void> {
    this.#rejectWaiting(closed());
    const members = [...this.#members];
    for (const { worker } of [...members, ...this.#lost])
      worker.postMessage({ id: 0, kind: 'close' } satisfies EmbedRequest);
    await Promise.all(members.map((member) => member.exited));
  }
}

function closed(): FeedrankError {
  return new FeedrankError('unavailable', 'the embed pool is closed');
}
