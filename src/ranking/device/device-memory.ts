// The memory that feed workers and the device worker share: one slot a request in flight, with its rows, its answer and
// a state that both sides change by compare-and-exchange; its word also counts the slot's uses, so that who comes back
// too late changes nothing.
import { HEADS } from '../../vocabulary.ts';
import type { Waiting } from './batch-queue.ts';
import { bucketOf } from './row-buckets.ts';

/**
 * free → filling → queued (by the feed worker) → running → done | late | full | failed (by the device) → free (by the
 * feed worker); queued | running → abandoned (by the feed worker, whose deadline passed) → free (by the device).
 */
export const SLOT = {
  free: 0,
  filling: 1,
  queued: 2,
  running: 3,
  done: 4,
  late: 5,
  full: 6,
  failed: 7,
  abandoned: 8,
} as const;
export type SlotState = (typeof SLOT)[keyof typeof SLOT];

/** Structured-cloned to every worker: the buffer is shared, the numbers are copied. */
export interface DeviceHandle {
  buffer: SharedArrayBuffer;
  slots: number;
  /** Rows of a request and columns of a row, at most. */
  rows: number;
  columns: number;
  /** Bucket heights of a batch. */
  buckets: readonly number[];
}

export interface SlotRequest extends Waiting {
  columns: number;
  /** 0 where the model has no input of its own for the user. */
  userColumns: number;
}

/** Models that may be open at once: their expected times lie in shared memory too. */
export const MAX_DEVICE_MODELS = 16;

/** The lowest bits of a slot's word are its state. */
const STATES = 16;

/** Int32 words of the header. */
const BELL = 0;
const DOWN = 1;
const TURNED_AWAY = 2;
const HEADER_WORDS = 16;
/** Int32 words of a slot. */
const SLOT_WORDS = 8;
const WORD = { state: 0, model: 1, rows: 2, columns: 3, userColumns: 4 } as const;

export class DeviceMemory {
  readonly handle: DeviceHandle;
  readonly #words: Int32Array;
  /** µs on steady-clock.ts's clock: [0] when the batch in progress is expected to end, [1 …] deadline of each slot. */
  readonly #times: BigInt64Array;
  /** [MAX_DEVICE_MODELS, buckets] µs. */
  readonly #costs: Int32Array;
  readonly #features: Float32Array[] = [];
  readonly #outputs: Float32Array[] = [];
  readonly #users: Float32Array[] = [];

  static create(slots: number, rows: number, columns: number, buckets: readonly number[]): DeviceMemory {
    const layout = layoutOf(slots, rows, columns, buckets.length);
    const buffer = new SharedArrayBuffer(layout.bytes);
    return new DeviceMemory({ buffer, slots, rows, columns, buckets });
  }

  constructor(handle: DeviceHandle) {
    this.handle = handle;
    const { buffer, slots, rows, columns, buckets } = handle;
    const layout = layoutOf(slots, rows, columns, buckets.length);
    this.#words = new Int32Array(buffer, 0, HEADER_WORDS + slots * SLOT_WORDS);
    this.#times = new BigInt64Array(buffer, layout.times, 1 + slots);
    this.#costs = new Int32Array(buffer, layout.costs, MAX_DEVICE_MODELS * buckets.length);
    for (let slot = 0; slot < slots; slot++) {
      const at = layout.data + slot * layout.slotBytes;
      this.#features.push(new Float32Array(buffer, at, rows * columns));
      this.#outputs.push(new Float32Array(buffer, at + rows * columns * 4, rows * HEADS.length));
      this.#users.push(new Float32Array(buffer, at + rows * (columns + HEADS.length) * 4, columns));
    }
  }

  /** The slot's word: its state (see `stateIn`) and how often it was used. */
  read(slot: number): number {
    return Atomics.load(this.#words, word(slot, WORD.state));
  }

  /** The word of a free slot that is the caller's now; null where it was not free. */
  claim(slot: number): number | null {
    const free = this.read(slot);
    if (stateIn(free) !== SLOT.free) return null;
    return this.#exchange(slot, free, ((free + STATES) & ~(STATES - 1)) | SLOT.filling);
  }

  /** Changes the state of a slot whose word is still `from`, wakes who waits for it, and gives the new word; else null. */
  move(slot: number, from: number, to: SlotState): number | null {
    return this.#exchange(slot, from, (from & ~(STATES - 1)) | to);
  }

  #exchange(slot: number, from: number, to: number): number | null {
    const at = word(slot, WORD.state);
    if (Atomics.compareExchange(this.#words, at, from, to) !== from) return null;
    Atomics.notify(this.#words, at);
    return to;
  }

  /** Blocks while the slot's word is `from`, until the time is over. */
  waitWhile(slot: number, from: number, timeoutMs: number): void {
    Atomics.wait(this.#words, word(slot, WORD.state), from, Math.max(0, timeoutMs));
  }

  /** Answers whatever waits or runs with `failed`, for a device that ended. */
  failAll(): void {
    for (let slot = 0; slot < this.handle.slots; slot++) {
      const at = this.read(slot);
      const state = stateIn(at);
      if (state === SLOT.queued || state === SLOT.running) this.move(slot, at, SLOT.failed);
      else if (state === SLOT.abandoned) this.move(slot, at, SLOT.free);
    }
  }

  describe(slot: number, { model, rows, columns, userColumns, deadlineAtMs }: Omit<SlotRequest, 'id'>): void {
    this.#words[word(slot, WORD.model)] = model;
    this.#words[word(slot, WORD.rows)] = rows;
    this.#words[word(slot, WORD.columns)] = columns;
    this.#words[word(slot, WORD.userColumns)] = userColumns;
    Atomics.store(this.#times, 1 + slot, micros(deadlineAtMs));
  }

  requestOf(slot: number): SlotRequest {
    return {
      id: slot,
      model: this.#words[word(slot, WORD.model)],
      rows: this.#words[word(slot, WORD.rows)],
      columns: this.#words[word(slot, WORD.columns)],
      userColumns: this.#words[word(slot, WORD.userColumns)],
      deadlineAtMs: Number(Atomics.load(this.#times, 1 + slot)) / 1000,
    };
  }

  /** [rows, columns] row-major, as many as the request has. */
  featuresOf(slot: number): Float32Array {
    return this.#features[slot];
  }

  /** [userColumns]: what is the same for all rows of the request. */
  userOf(slot: number): Float32Array {
    return this.#users[slot];
  }

  /** [rows, HEADS.length] row-major. */
  outputOf(slot: number): Float32Array {
    return this.#outputs[slot];
  }

  /** Tells the device worker that something was queued. */
  ring(): void {
    Atomics.add(this.#words, BELL, 1);
    Atomics.notify(this.#words, BELL);
  }

  rings(): number {
    return Atomics.load(this.#words, BELL);
  }

  /** Resolves when the bell was rung since it stood at `heard`. */
  async nextRing(heard: number): Promise<void> {
    const waiting = Atomics.waitAsync(this.#words, BELL, heard);
    if (waiting.async) await waiting.value;
  }

  /** Requests that feed workers did not send, because they would not have been answered in time. */
  get turnedAway(): number {
    return Atomics.load(this.#words, TURNED_AWAY) >>> 0;
  }

  countTurnedAway(): void {
    Atomics.add(this.#words, TURNED_AWAY, 1);
  }

  get down(): boolean {
    return Atomics.load(this.#words, DOWN) === 1;
  }

  set down(is: boolean) {
    Atomics.store(this.#words, DOWN, is ? 1 : 0);
  }

  /** When the batch in progress is expected to end, ms on steady-clock.ts's clock; 0 while the device is idle. */
  get idleAtMs(): number {
    return Number(Atomics.load(this.#times, 0)) / 1000;
  }

  set idleAtMs(atMs: number) {
    Atomics.store(this.#times, 0, micros(atMs));
  }

  /** What waits for the device now. */
  queued(): SlotRequest[] {
    const slots = Array.from(this.#features, (_, slot) => slot);
    return slots
      .filter((slot) => stateIn(this.read(slot)) === SLOT.queued)
      .map((slot) => this.requestOf(slot));
  }

  /** Expected milliseconds of a batch of so many rows; 0 while nothing is known. */
  costMs(model: number, rows: number): number {
    return Atomics.load(this.#costs, this.#costAt(model, rows)) / 1000;
  }

  /** For the bucket that holds so many rows. */
  setCostMs(model: number, rows: number, ms: number): void {
    Atomics.store(this.#costs, this.#costAt(model, rows), Math.round(ms * 1000));
  }

  #costAt(model: number, rows: number): number {
    const { buckets } = this.handle;
    return (model % MAX_DEVICE_MODELS) * buckets.length + bucketOf(buckets, rows);
  }
}

export function stateIn(word: number): SlotState {
  return (word & (STATES - 1)) as SlotState;
}

function word(slot: number, field: number): number {
  return HEADER_WORDS + slot * SLOT_WORDS + field;
}

function micros(ms: number): bigint {
  return BigInt(Math.round(Math.min(ms, 1e12 * 8) * 1000));
}

function layoutOf(slots: number, rows: number, columns: number, buckets: number) {
  const line = (bytes: number) => Math.ceil(bytes / 64) * 64;
  const times = line((HEADER_WORDS + slots * SLOT_WORDS) * 4);
  const costs = times + line((1 + slots) * 8);
  const data = costs + line(MAX_DEVICE_MODELS * buckets * 4);
  const slotBytes = line((rows * (columns + HEADS.length) + columns) * 4);
  return { times, costs, data, slotBytes, bytes: data + slots * slotBytes };
}
