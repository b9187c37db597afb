// The device worker's loop: admits what feed workers queued, takes the next batch, joins and pads its rows, runs it and
// hands the answers back. No timer: it sleeps only while nothing waits. Called by device-worker.ts.
import { steadyNow } from '../../steady-clock.ts';
import { HEADS } from '../../vocabulary.ts';
import { BatchQueue, type Refusal } from './batch-queue.ts';
import { type DeviceMemory, SLOT, type SlotRequest, stateIn } from './device-memory.ts';
import { bucketOf } from './row-buckets.ts';

/** Rows of several requests, one after the other, padded with zeros up to a bucket's height. */
export interface Batch {
  /** [rows, columns] */
  features: Float32Array;
  rows: number;
  columns: number;
  /** [rows, userColumns]: each request's, repeated for its rows. */
  users: Float32Array;
  userColumns: number;
}

/** Runs a batch of an open model into `[rows, HEADS.length]` probabilities. */
export type RunBatch = (model: number, batch: Batch) => Promise<Float32Array>;

/** One thing that happened, for metrics and the log. */
export type DeviceEvent =
  | { kind: 'batch'; requests: number; rows: number; bucket: number; ms: number; queued: number }
  | { kind: 'refused'; reason: Refusal | 'expired'; queued: number }
  | { kind: 'failed'; requests: number; error: unknown };

interface Request extends SlotRequest {
  word: number;
}

/** Weight of the newest batch in the expected time of its bucket. */
const NEWEST = 0.2;
/** An answer that nobody fetched this long after its deadline belongs to a feed worker that died. */
const FORGOTTEN_MS = 10_000;

export class DeviceLoop {
  readonly #memory: DeviceMemory;
  readonly #run: RunBatch;
  readonly #report: (event: DeviceEvent) => void;
  readonly #queue: BatchQueue<Request>;
  #features = new Float32Array(0);
  #users = new Float32Array(0);
  #stopped = false;

  constructor(memory: DeviceMemory, run: RunBatch, report: (event: DeviceEvent) => void) {
    this.#memory = memory;
    this.#run = run;
    this.#report = report;
    const { buckets, slots } = memory.handle;
    this.#queue = new BatchQueue({
      limit: slots,
      maxRows: buckets[buckets.length - 1],
      costMs: (model, rows) => memory.costMs(model, rows),
    });
  }

  /** Resolves after `stop`, with the batch in progress finished and the rest answered with `failed`. */
  async serve(): Promise<void> {
    while (!this.#stopped) {
      const heard = this.#memory.rings();
      this.#admit();
      const { batch, late } = this.#queue.take(steadyNow());
      for (const request of late) this.#refuse(request, 'expired');
      const running = batch.filter((request) => this.#start(request));
      if (running.length > 0) await this.#runBatch(running);
      else if (batch.length === 0) {
        // Not the time of day: a clock that is set must not make an idle device look busy.
        this.#memory.idleAtMs = 0;
        await this.#memory.nextRing(heard);
      }
    }
    this.#memory.down = true;
    this.#memory.failAll();
  }

  stop(): void {
    this.#stopped = true;
    this.#memory.ring();
  }

  /** Looks at every slot: takes new requests in, frees what was given up. */
  #admit(): void {
    const now = steadyNow();
    for (let slot = 0; slot < this.#memory.handle.slots; slot++) {
      const word = this.#memory.read(slot);
      const state = stateIn(word);
      if (state === SLOT.free || state === SLOT.filling || state === SLOT.running) continue;
      const request: Request = { ...this.#memory.requestOf(slot), word };
      if (state === SLOT.queued) {
        if (this.#queue.has(request)) continue;
        const refusal = this.#queue.offer(request, now, now);
        if (refusal) this.#refuse(request, refusal);
      } else if (state === SLOT.abandoned) {
        this.#queue.remove((waiting) => waiting.id === slot);
        this.#memory.move(slot, word, SLOT.free);
      } else if (now > request.deadlineAtMs + FORGOTTEN_MS) {
        this.#memory.move(slot, word, SLOT.free);
      }
    }
  }

  /** False where its feed worker gave it up meanwhile. */
  #start(request: Request): boolean {
    const running = this.#memory.move(request.id, request.word, SLOT.running);
    if (running !== null) request.word = running;
    return running !== null;
  }

  async #runBatch(requests: Request[]): Promise<void> {
    const { model } = requests[0];
    const { buckets } = this.#memory.handle;
    const rows = requests.reduce((sum, request) => sum + request.rows, 0);
    const bucket = buckets[bucketOf(buckets, rows)];
    const joined = this.#join(requests, bucket);
    this.#memory.idleAtMs = steadyNow() + this.#memory.costMs(model, bucket);
    const began = performance.now();
    let output: Float32Array;
    try {
      output = await this.#run(model, joined);
    } catch (error) {
      for (const request of requests) this.#answer(request, SLOT.failed);
      this.#report({ kind: 'failed', requests: requests.length, error });
      return;
    }
    const ms = performance.now() - began;
    this.#learn(model, bucket, ms);
    let from = 0;
    for (const request of requests) {
      const to = from + request.rows * HEADS.length;
      // Nobody else reads it before the state says so; one that was given up is freed at the next look.
      this.#memory.outputOf(request.id).set(output.subarray(from, to));
      this.#answer(request, SLOT.done);
      from = to;
    }
    this.#report({ kind: 'batch', requests: requests.length, rows, bucket, ms, queued: this.#queue.length });
  }

  #join(requests: readonly Request[], bucket: number): Batch {
    const { columns, userColumns } = requests[0];
    this.#features = atLeast(this.#features, bucket * columns);
    this.#users = atLeast(this.#users, bucket * userColumns);
    let row = 0;
    for (const { id, rows } of requests) {
      this.#features.set(this.#memory.featuresOf(id).subarray(0, rows * columns), row * columns);
      const user = this.#memory.userOf(id).subarray(0, userColumns);
      for (let i = 0; i < rows && userColumns > 0; i++) this.#users.set(user, (row + i) * userColumns);
      row += rows;
    }
    this.#features.fill(0, row * columns, bucket * columns);
    this.#users.fill(0, row * userColumns, bucket * userColumns);
    const features = this.#features.subarray(0, bucket * columns);
    const users = this.#users.subarray(0, bucket * userColumns);
    return { features, rows: bucket, columns, users, userColumns };
  }

  #learn(model: number, bucket: number, ms: number): void {
    const before = this.#memory.costMs(model, bucket);
    this.#memory.setCostMs(model, bucket, before === 0 ? ms : before + NEWEST * (ms - before));
  }

  #refuse(request: Request, reason: Refusal | 'expired'): void {
    this.#answer(request, reason === 'full' ? SLOT.full : SLOT.late);
    this.#report({ kind: 'refused', reason, queued: this.#queue.length });
  }

  #answer(
    request: Request,
    state: typeof SLOT.done | typeof SLOT.late | typeof SLOT.full | typeof SLOT.failed,
  ) {
    this.#memory.move(request.id, request.word, state);
  }
}

function atLeast(buffer: Float32Array<ArrayBuffer>, length: number): Float32Array<ArrayBuffer> {
  return buffer.length >= length ? buffer : new Float32Array(length);
}
