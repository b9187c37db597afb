// The device worker from the main thread: starts it, opens and closes models in it, starts it again when it dies, and
// says what is wrong with it. Called by composition/device.ts and the benchmarks.
import { Worker } from 'node:worker_threads';
import { type ErrorCode, FeedrankError, messageOf } from '../../errors.ts';
import { RespawnBackoff } from '../../resilience/respawn-backoff.ts';
import type { Provider } from '../onnx-session.ts';
import { type DeviceHandle, DeviceMemory, MAX_DEVICE_MODELS } from './device-memory.ts';
import type { DeviceMessage, DeviceRequest, DeviceWorkerData, WorkerEvent } from './device-protocol.ts';
import { rowBuckets } from './row-buckets.ts';

export interface DeviceHostOptions {
  provider: Provider;
  modelsDir: string;
  /** Feed workers: each has one request in flight. */
  workers: number;
  /** Rows of a request and columns of a row, at most. */
  rows: number;
  columns: number;
  onEvent?: (event: WorkerEvent) => void;
  /** The worker died, and is started again. */
  onExit?: (error: Error | undefined) => void;
  /** What the worker runs; another one for tests of its death. */
  script?: URL;
}

/** What feed workers need to rank on the device; `problem` = the device does not run it. */
export type OpenedModel = { id: number } | { problem: string; code: ErrorCode };

/** A batch of more is no faster a row: 16 k rows fill a large GPU (issue's own measuring point). */
const MAX_BATCH_ROWS = 16_384;
/** Slots beyond one a feed worker: hung workers keep theirs, shadow runs come beside. */
const SPARE_SLOTS = 4;
/** Batches that fail in a row before the device is called broken. */
const FAILURES = 3;

const WORKER = new URL('./device-worker.ts', import.meta.url);

interface Pending {
  resolve(): void;
  reject(error: FeedrankError): void;
}

export class DeviceHost {
  readonly handle: DeviceHandle;
  readonly #options: DeviceHostOptions;
  readonly #memory: DeviceMemory;
  readonly #pending = new Map<number, Pending>();
  /** By `name@version`. */
  readonly #models = new Map<string, { id: number; name: string; version: string }>();
  readonly #backoff = new RespawnBackoff();
  #worker: Worker;
  #nextReply = 1;
  #nextModel = 1;
  #failures = 0;
  #lastFailure = '';
  #stopping = false;

  constructor(options: DeviceHostOptions) {
    this.#options = options;
    const { workers, rows, columns } = options;
    const buckets = rowBuckets(Math.max(rows, Math.min(MAX_BATCH_ROWS, rows * workers)));
    this.#memory = DeviceMemory.create(workers + SPARE_SLOTS, rows, columns, buckets);
    this.handle = this.#memory.handle;
    this.#worker = this.#spawn();
  }

  get provider(): Provider {
    return this.#options.provider;
  }

  /** Requests that were not sent to the device, because they would not have been answered in time. */
  get turnedAway(): number {
    return this.#memory.turnedAway;
  }

  /** What is wrong with the device now; empty = nothing. */
  problems(): string[] {
    const { provider } = this.#options;
    if (this.#memory.down) return [`device ${provider}: its worker is down`];
    if (this.#failures >= FAILURES) return [`device ${provider}: every batch fails: ${this.#lastFailure}`];
    return [];
  }

  /** Opens a version, warmed; one that is open already is only named. Never rejects. */
  async open(name: string, version: string): Promise<OpenedModel> {
    const key = `${name}@${version}`;
    const known = this.#models.get(key);
    if (known) return { id: known.id };
    const id = this.#freeId();
    try {
      await this.#ask({ kind: 'open', id, name, version });
      this.#models.set(key, { id, name, version });
      return { id };
    } catch (error) {
      const code = error instanceof FeedrankError ? error.code : 'internal';
      return { problem: messageOf(error), code };
    }
  }

  /** Closes what is open but for these versions of `name`; no request may name one of the others any more. */
  async keepOnly(name: string, versions: readonly string[]): Promise<void> {
    for (const [key, model] of [...this.#models]) {
      if (model.name !== name || versions.includes(model.version)) continue;
      this.#models.delete(key);
      await this.#ask({ kind: 'close', ...model }).catch(() => {});
    }
  }

  /** Ends the worker after the batch in progress. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#memory.down) return;
    const ended = new Promise((resolve) => this.#worker.once('exit', resolve));
    await this.#ask({ kind: 'stop', id: 0, name: '', version: '' }).catch(() => {});
    await ended;
  }

  /** Not used before; its place among the costs is not that of a model that is open. */
  #freeId(): number {
    const taken = new Set([...this.#models.values()].map(({ id }) => id % MAX_DEVICE_MODELS));
    while (taken.size < MAX_DEVICE_MODELS && taken.has(this.#nextModel % MAX_DEVICE_MODELS))
      this.#nextModel++;
    return this.#nextModel++;
  }

  #ask(request: Omit<DeviceRequest, 'reply'>): Promise<void> {
    if (this.#worker.threadId === -1) {
      return Promise.reject(new FeedrankError('unavailable', 'the device worker is down'));
    }
    const reply = this.#nextReply++;
    return new Promise((resolve, reject) => {
      this.#pending.set(reply, { resolve, reject });
      this.#worker.postMessage({ ...request, reply } satisfies DeviceRequest);
    });
  }

  #spawn(): Worker {
    const { modelsDir, provider, script = WORKER } = this.#options;
    const workerData: DeviceWorkerData = { handle: this.handle, modelsDir, provider };
    const worker = new Worker(script, { workerData });
    let failure: Error | undefined;
    worker.on('message', (message: DeviceMessage) => this.#hear(message));
    worker.on('error', (error: Error) => {
      failure = error;
    });
    worker.on('exit', () => this.#exited(failure));
    return worker;
  }

  #hear(message: DeviceMessage): void {
    if ('events' in message) {
      for (const event of message.events) {
        if (event.kind === 'batch') this.#failures = 0;
        if (event.kind === 'failed') {
          this.#failures++;
          this.#lastFailure = event.error;
        }
        this.#options.onEvent?.(event);
      }
      return;
    }
    const pending = this.#pending.get(message.reply);
    this.#pending.delete(message.reply);
    if (message.error === undefined) pending?.resolve();
    else pending?.reject(new FeedrankError(message.code ?? 'internal', message.error));
  }

  #exited(failure: Error | undefined): void {
    this.#memory.down = true;
    this.#memory.failAll();
    const reason = `the device worker ended: ${failure?.message ?? 'no reason given'}`;
    for (const { reject } of this.#pending.values()) reject(new FeedrankError('unavailable', reason));
    this.#pending.clear();
    if (this.#stopping) return;
    this.#options.onExit?.(failure);
    setTimeout(() => this.#restart(), this.#backoff.died()).unref();
  }

  /** A new worker with the same memory and the same models under the same numbers. */
  #restart(): void {
    if (this.#stopping) return;
    this.#worker = this.#spawn();
    const worker = this.#worker;
    const opened = [...this.#models].map(([key, model]) =>
      this.#ask({ kind: 'open', ...model }).catch((error) => {
        // What a worker that died again did not open, the next one will.
        if (worker.threadId === -1) return;
        this.#models.delete(key);
        this.#failures = FAILURES;
        this.#lastFailure = messageOf(error);
      }),
    );
    void Promise.all(opened).then(() => {
      // One that died again meanwhile is down still.
      if (this.#worker === worker && worker.threadId !== -1) this.#memory.down = false;
    });
  }
}
