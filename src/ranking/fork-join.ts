// Ranking one request on several feed workers: its owner works through the chunks from the front, idle workers from the
// back. The owner waits for a helper as long as three chunks take, then does the chunk itself: a helper that hangs,
// fails or ends costs time, never an answer. One in each feed worker (chunk-board.ts has the protocol's words).
import { messageOf } from '../errors.ts';
import { type ChunkBoard, PHASE, SHARED_CHUNK_ROWS, type SharedRows, Slot } from './chunk-board.ts';

/** A model that can compute a chunk: probabilities of the first `rows` rows. */
export interface ChunkModel {
  run(features: Float32Array, rows: number, user: Float32Array | null): Promise<Float32Array>;
  release(): void;
}

export interface ForkedRun extends SharedRows {
  /** Milliseconds a row is expected to take. */
  msPerRow: number;
  /** Computes the rows `[from, to)` here. */
  own(from: number, to: number): Promise<void>;
  /** Takes over what a helper computed, [(to − from) × heads]; throws when it is no answer. */
  take(from: number, to: number, probabilities: Float32Array): void;
  /** Throws when the rest, that many rows, is not to be computed any more. */
  check(rowsLeft: number): void;
}

/**
 * A run shorter than this is not shared: waking a helper takes .05 to .16 ms, the copies .05 ms, and what both do on
 * the memory bus slows both.
 */
const LEAST_SHARED_MS = 1.5;
/**
 * Sharing goes on while a shared run takes at most this share of the time that the owner alone is expected to take, as
 * measured; else it rests for some runs and is tried again. (DCN on a busy machine of two cores, rank's median: float32
 * 5.2 ms shared, 10.3 alone; int8 3.4 shared, 3.2 alone.)
 */
const MOST_SHARE = 0.85;
const RESTING_RUNS = 100;
/** Weight of the newest run in the mean of these shares, and what is taken for it before the first. */
const NEWEST = 0.1;
const FIRST_SHARE = 0.6;
/** How long a helper may take, in times of its chunk, and at least. */
const PATIENCE = 3;
const LEAST_PATIENCE_MS = 2;

export class ForkJoin {
  readonly #board: ChunkBoard;
  readonly #slot: Slot | null;
  /** A helper stopped in the middle of writing here: its memory may change at any time. */
  #broken = false;
  #stopped = false;
  /** One run at a time lies in the slot; another model of this worker that ranks meanwhile ranks alone. */
  #running = false;
  #helpedRows = 0;
  /** Running mean: time of a shared run ÷ time expected of the owner alone. */
  #share = FIRST_SHARE;
  #rested = 0;

  constructor(board: ChunkBoard) {
    this.#board = board;
    this.#slot = board.take();
  }

  /** Rows of others that were computed here. */
  get helpedRows(): number {
    return this.#helpedRows;
  }

  /** Says whether this worker could help others now. */
  set idle(idle: boolean) {
    if (this.#slot) this.#slot.idle = idle;
  }

  /** Where the rows are to be put, if sharing them pays: the run is long, somebody is idle, and sharing has paid. */
  room(rows: Omit<SharedRows, 'key'>, msPerRow: number): Pick<Slot, 'features' | 'user'> | null {
    const slot = this.#slot;
    if (slot === null || this.#running || this.#broken || this.#stopped) return null;
    if (rows.rows * msPerRow < LEAST_SHARED_MS || rows.rows <= SHARED_CHUNK_ROWS) return null;
    if (!Slot.fits(rows) || !this.#board.hasIdle(slot)) return null;
    if (this.#share <= MOST_SHARE) return slot;
    if (++this.#rested < RESTING_RUNS) return null;
    this.#rested = 0;
    this.#share = MOST_SHARE;
    return slot;
  }

  /**
   * Ranks the rows that lie in `room`, which nothing may come between. Resolves with how many were computed by others.
   * @throws what `own`, `take` and `check` throw; no chunk can be claimed afterwards.
   */
  async run(job: ForkedRun): Promise<number> {
    const slot = this.#slot!;
    const began = performance.now();
    this.#running = true;
    const { epoch, chunks } = slot.publish(job);
    const rowsOf = (chunk: number) => {
      const from = chunk * SHARED_CHUNK_ROWS;
      return [from, Math.min(job.rows, from + SHARED_CHUNK_ROWS)] as const;
    };
    this.#board.call();
    let helped = 0;
    try {
      const others: number[] = [];
      for (let chunk = 0; chunk < chunks; chunk++) {
        if (!slot.move(epoch, chunk, PHASE.free, PHASE.owned)) {
          others.push(chunk);
          continue;
        }
        const [from, to] = rowsOf(chunk);
        job.check(job.rows - from);
        await job.own(from, to);
      }
      for (const chunk of others) {
        const [from, to] = rowsOf(chunk);
        if (await this.#isDone(slot, epoch, chunk, (to - from) * job.msPerRow)) {
          job.take(from, to, slot.result(from, to));
          helped += to - from;
        } else {
          job.check(to - from);
          await job.own(from, to);
        }
      }
      const share = (performance.now() - began) / (job.rows * job.msPerRow);
      this.#share += NEWEST * (share - this.#share);
      return helped;
    } finally {
      for (let chunk = 0; chunk < chunks; chunk++) await this.#close(slot, epoch, chunk);
      this.#running = false;
    }
  }

  /**
   * Helps others until stopped. `find` lends the model of a key, or has it not; `isIdle` says whether a request of
   * one's own may be waiting: between two chunks the loop is left to it.
   */
  async help(
    find: (key: number) => ChunkModel | null,
    isIdle: () => boolean,
    onError: (message: string) => void = () => {},
  ): Promise<void> {
    while (this.#slot !== null && !this.#stopped) {
      const { calls } = this.#board;
      for (const slot of this.#board.slots) {
        if (slot === this.#slot || !isIdle()) continue;
        await this.#helpWith(slot, find, isIdle).catch((error) => onError(messageOf(error)));
      }
      await this.#board.called(calls);
    }
  }

  /** No more help, given or taken. */
  stop(): void {
    this.#stopped = true;
    this.idle = false;
  }

  /** False where the owner has to compute the chunk after all. */
  async #isDone(slot: Slot, epoch: number, chunk: number, chunkMs: number): Promise<boolean> {
    const patienceMs = Math.max(LEAST_PATIENCE_MS, PATIENCE * chunkMs);
    for (;;) {
      const phase = slot.phase(epoch, chunk);
      if (phase === PHASE.done) return true;
      // Given back by a helper that could not.
      if (phase === PHASE.free && slot.move(epoch, chunk, PHASE.free, PHASE.owned)) return false;
      if (phase === null) return false;
      if (phase !== PHASE.held && phase !== PHASE.writing) continue;
      if (await slot.leaves(epoch, chunk, phase, patienceMs)) continue;
      if (slot.move(epoch, chunk, PHASE.held, PHASE.owned)) return false;
      if (phase === PHASE.writing && slot.phase(epoch, chunk) === PHASE.writing) {
        this.#broken = true;
        return false;
      }
    }
  }

  /** Nobody claims the chunk or writes its result any more. */
  async #close(slot: Slot, epoch: number, chunk: number): Promise<void> {
    slot.move(epoch, chunk, PHASE.free, PHASE.owned);
    slot.move(epoch, chunk, PHASE.held, PHASE.owned);
    if (this.#broken || slot.phase(epoch, chunk) !== PHASE.writing) return;
    this.#broken = !(await slot.leaves(epoch, chunk, PHASE.writing, LEAST_PATIENCE_MS));
  }

  async #helpWith(
    slot: Slot,
    find: (key: number) => ChunkModel | null,
    isIdle: () => boolean,
  ): Promise<void> {
    const offer = slot.offer();
    if (offer === null || slot.phase(offer.epoch, offer.chunks - 1) === null) return;
    const model = find(offer.key);
    if (model === null) return;
    const { epoch, width, rows } = offer;
    try {
      for (let chunk = offer.chunks - 1; chunk >= 0 && isIdle() && !this.#stopped; chunk--) {
        if (!slot.move(epoch, chunk, PHASE.free, PHASE.held)) continue;
        const from = chunk * SHARED_CHUNK_ROWS;
        const to = Math.min(rows, from + SHARED_CHUNK_ROWS);
        try {
          // Copies: the owner may be on with its next request before this ends.
          const features = slot.features.slice(from * width, to * width);
          const user = offer.userWidth > 0 ? slot.user.slice(0, offer.userWidth) : null;
          const probabilities = await model.run(features, to - from, user);
          if (slot.move(epoch, chunk, PHASE.held, PHASE.writing)) {
            slot.result(from, to).set(probabilities);
            slot.move(epoch, chunk, PHASE.writing, PHASE.done);
            this.#helpedRows += to - from;
          }
        } catch (error) {
          slot.move(epoch, chunk, PHASE.held, PHASE.free);
          throw error;
        }
        // A request that came meanwhile goes first.
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      model.release();
    }
  }
}
