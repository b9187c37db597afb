// A feed worker's side of the device: puts encoded rows into a free slot of the shared memory and waits, blocking its
// thread, until they are answered or the deadline passes. One a ranker; called by device-ranker.ts.
import { FeedrankError } from '../../errors.ts';
import { steadyNow } from '../../steady-clock.ts';
import { HEADS } from '../../vocabulary.ts';
import { timeOf } from './batch-queue.ts';
import { type DeviceMemory, SLOT, stateIn } from './device-memory.ts';

export interface DeviceModel {
  /** Number of the open model within the device; never used again for another. */
  id: number;
  /** `ranker@3` */
  model: string;
}

export interface DeviceRows {
  /** [≥ rows, columns] row-major. */
  features: Float32Array;
  rows: number;
  columns: number;
  /** [U] for all rows; null where the model has no such input. */
  user: Float32Array | null;
}

/** After 400 requests that were turned away a time is expected to be a fiftieth. */
const FADING = 0.99;

export class DeviceClient {
  readonly #memory: DeviceMemory;
  readonly #model: DeviceModel;

  constructor(memory: DeviceMemory, model: DeviceModel) {
    this.#memory = memory;
    this.#model = model;
  }

  /** Rows of a request, at most. */
  get maxRows(): number {
    return this.#memory.handle.rows;
  }

  /**
   * Milliseconds until so many rows would be answered: the batch in progress, what waits with an earlier deadline, and
   * their own batch. As BatchQueue has it, told before they are sent.
   */
  expectedMs(rows: number, deadlineAtMs = Number.POSITIVE_INFINITY): number {
    const memory = this.#memory;
    const { buckets } = memory.handle;
    const busyMs = Math.max(0, memory.idleAtMs - steadyNow());
    const ahead = memory.queued().filter((request) => request.deadlineAtMs <= deadlineAtMs);
    const own = { id: -1, model: this.#model.id, rows, deadlineAtMs };
    const costs = { maxRows: buckets[buckets.length - 1], costMs: memory.costMs.bind(memory) };
    return busyMs + timeOf([...ahead, own], costs);
  }

  /** @throws FeedrankError(timeout) when so many rows would not be answered by then, or the device is down. */
  check(rows: number, deadlineAtMs: number): void {
    const { down, late } = this.#errors(rows);
    if (this.#memory.down) throw down();
    if (steadyNow() + this.expectedMs(rows, deadlineAtMs) <= deadlineAtMs) return;
    this.#turnAway(rows);
    throw late();
  }

  /**
   * Probabilities `[rows, HEADS.length]` of `features` `[rows, columns]` and, where the model reads it, `user`; a copy.
   * @throws FeedrankError(timeout) when they would not be, or are not, there by the deadline, or the device is down;
   * (unavailable) when the model fails on it.
   */
  run({ features, rows, columns, user }: DeviceRows, deadlineAtMs: number): Float32Array {
    const { model, id } = this.#model;
    const memory = this.#memory;
    const { down, late } = this.#errors(rows);
    this.check(rows, deadlineAtMs);
    const claimed = this.#claim();
    if (claimed === null) throw new FeedrankError('timeout', `${model}: the device's queue is full`);
    const { slot } = claimed;
    memory.featuresOf(slot).set(features.subarray(0, rows * columns));
    if (user) memory.userOf(slot).set(user);
    memory.describe(slot, { model: id, rows, columns, userColumns: user?.length ?? 0, deadlineAtMs });
    memory.move(slot, claimed.word, SLOT.queued);
    memory.ring();
    const word = this.#await(slot, deadlineAtMs);
    const state = stateIn(word);
    const output = state === SLOT.done ? memory.outputOf(slot).slice(0, rows * HEADS.length) : null;
    // Where the slot is not this request's any more, what was read from it is not either.
    if (state === SLOT.abandoned || memory.move(slot, word, SLOT.free) === null) {
      throw new FeedrankError('timeout', `${model}: the device did not answer in time`);
    }
    if (output) return output;
    if (state === SLOT.late) throw late();
    if (state === SLOT.full) throw new FeedrankError('timeout', `${model}: the device's queue is full`);
    if (memory.down) throw down();
    throw new FeedrankError('unavailable', `${model} failed on the device`);
  }

  /**
   * Where nobody is before it, only the expected time turns a request away: that expectation fades, so that one batch
   * that took too long is tried again after a while.
   */
  #turnAway(rows: number): void {
    const memory = this.#memory;
    memory.countTurnedAway();
    const { id } = this.#model;
    if (memory.idleAtMs <= steadyNow()) memory.setCostMs(id, rows, memory.costMs(id, rows) * FADING);
  }

  /** A device that is down is late: it says nothing against the model. */
  #errors(rows: number): { down(): FeedrankError; late(): FeedrankError } {
    const { model } = this.#model;
    const timeout = (reason: string) => new FeedrankError('timeout', reason);
    return {
      down: () => timeout(`${model}: the device worker is down`),
      late: () => timeout(`${model} would not rank ${rows} posts on the device within its time`),
    };
  }

  #claim(): { slot: number; word: number } | null {
    for (let slot = 0; slot < this.#memory.handle.slots; slot++) {
      const word = this.#memory.claim(slot);
      if (word !== null) return { slot, word };
    }
    return null;
  }

  /** The word with the state that the device left the slot in; `abandoned` where it is the device's to free. */
  #await(slot: number, deadlineAtMs: number): number {
    for (;;) {
      const word = this.#memory.read(slot);
      const state = stateIn(word);
      if (state !== SLOT.queued && state !== SLOT.running) return word;
      const leftMs = deadlineAtMs - steadyNow();
      const abandoned = leftMs <= 0 ? this.#memory.move(slot, word, SLOT.abandoned) : null;
      if (abandoned !== null) {
        this.#memory.ring();
        return abandoned;
      }
      this.#memory.waitWhile(slot, word, leftMs);
    }
  }
}
