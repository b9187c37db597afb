// Shared memory in which feed workers offer chunks of a request's rows to each other. Every chunk is claimed by one
// compare-and-exchange on a word that names the request's epoch, so that nobody can touch a chunk of a later request.
// Called by fork-join.ts; an owner never depends on a helper: what it does not get it takes back.
import { HEADS } from '../vocabulary.ts';

/** Rows of a chunk: as long as a helper keeps a request of its own waiting (DCN, int8: .3 ms). */
export const SHARED_CHUNK_ROWS = 125;
const MAX_CHUNKS = 40;
export const MAX_SHARED_ROWS = SHARED_CHUNK_ROWS * MAX_CHUNKS;
/** float32 of a request's features: 5000 rows of 52 columns, 4096 of 64. */
const MAX_FEATURES = 1 << 18;
const MAX_USER = 256;

/** Int32 words of a board before its slots, and of a slot before its states. */
const BOARD_WORDS = 16;
const TAKEN = 0;
const CALLS = 1;
const EPOCH = 0;
const KEY = 1;
const ROWS = 2;
const WIDTH = 3;
const USER_WIDTH = 4;
const IDLE = 5;
const STATES = 8;

const STATE_WORDS = STATES + MAX_CHUNKS;
const SLOT_WORDS = STATE_WORDS + MAX_FEATURES + MAX_USER + MAX_SHARED_ROWS * HEADS.length;

/** Of a chunk. `held`: a helper computes it. `writing`: it puts its result down, which only copies. */
export const PHASE = { free: 0, owned: 1, held: 2, writing: 3, done: 4 } as const;
export type Phase = (typeof PHASE)[keyof typeof PHASE];
const PHASES = 8;

export interface SharedRows {
  /** Which model, in which form, computes them. */
  key: number;
  rows: number;
  width: number;
  /** Columns of the request's own row; 0 = none. */
  userWidth: number;
}

/** A helper's view of an offer. */
export interface Offer extends SharedRows {
  epoch: number;
  chunks: number;
}

export class ChunkBoard {
  readonly slots: readonly Slot[];
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    const count = Math.floor((this.#words.length - BOARD_WORDS) / SLOT_WORDS);
    this.slots = Array.from(
      { length: count },
      (_, i) => new Slot(memory, 4 * (BOARD_WORDS + i * SLOT_WORDS)),
    );
  }

  /** Pages that are never written take no memory. */
  static allocate(slots: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * (BOARD_WORDS + slots * SLOT_WORDS));
  }

  /** A slot of one's own; null when all are taken: a worker's slot does not outlive it. */
  take(): Slot | null {
    return this.slots[Atomics.add(this.#words, TAKEN, 1)] ?? null;
  }

  hasIdle(except: Slot): boolean {
    return this.slots.some((slot) => slot !== except && slot.idle);
  }

  get calls(): number {
    return Atomics.load(this.#words, CALLS);
  }

  call(): void {
    Atomics.add(this.#words, CALLS, 1);
    Atomics.notify(this.#words, CALLS);
  }

  /** Resolves at the next call after the one that `calls` counted. */
  async called(calls: number): Promise<void> {
    const wait = Atomics.waitAsync(this.#words, CALLS, calls);
    if (wait.async) await wait.value;
  }
}

/** Where one worker offers its request. Only its owner writes rows and opens an epoch. */
export class Slot {
  readonly features: Float32Array;
  readonly user: Float32Array;
  readonly #probabilities: Float32Array;
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer, at: number) {
    this.#words = new Int32Array(memory, at, STATE_WORDS);
    const features = at + 4 * STATE_WORDS;
    this.features = new Float32Array(memory, features, MAX_FEATURES);
    const user = features + 4 * MAX_FEATURES;
    this.user = new Float32Array(memory, user, MAX_USER);
    this.#probabilities = new Float32Array(memory, user + 4 * MAX_USER, MAX_SHARED_ROWS * HEADS.length);
  }

  static fits({ rows, width, userWidth }: Omit<SharedRows, 'key'>): boolean {
    return rows <= MAX_SHARED_ROWS && rows * width <= MAX_FEATURES && userWidth <= MAX_USER;
  }

  get idle(): boolean {
    return Atomics.load(this.#words, IDLE) === 1;
  }

  set idle(idle: boolean) {
    Atomics.store(this.#words, IDLE, idle ? 1 : 0);
  }

  /** Opens an epoch over the rows that lie in `features` and `user`. All chunks of the one before are claimed. */
  publish({ key, rows, width, userWidth }: SharedRows): Offer {
    const epoch = Atomics.load(this.#words, EPOCH) + 1;
    const chunks = Math.ceil(rows / SHARED_CHUNK_ROWS);
    for (const [at, value] of [
      [KEY, key | 0],
      [ROWS, rows],
      [WIDTH, width],
      [USER_WIDTH, userWidth],
    ]) {
      Atomics.store(this.#words, at, value);
    }
    for (let i = 0; i < chunks; i++) Atomics.store(this.#words, STATES + i, word(epoch, PHASE.free));
    // Last: who reads this epoch reads all of it.
    Atomics.store(this.#words, EPOCH, epoch);
    return { key: key | 0, rows, width, userWidth, epoch, chunks };
  }

  /** What is offered now, or was last: then nothing of it can be claimed. */
  offer(): Offer | null {
    const epoch = Atomics.load(this.#words, EPOCH);
    if (epoch === 0) return null;
    const read = (at: number) => Atomics.load(this.#words, at);
    const rows = read(ROWS);
    const chunks = Math.ceil(rows / SHARED_CHUNK_ROWS);
    return { key: read(KEY), rows, width: read(WIDTH), userWidth: read(USER_WIDTH), epoch, chunks };
  }

  /** The chunk's phase; null where it belongs to another epoch. */
  phase(epoch: number, chunk: number): Phase | null {
    const found = Atomics.load(this.#words, STATES + chunk);
    const phase = found & (PHASES - 1);
    return found === word(epoch, phase) ? (phase as Phase) : null;
  }

  /** Moves a chunk on if it is in `from`; whoever waits for it is told. */
  move(epoch: number, chunk: number, from: Phase, to: Phase): boolean {
    const at = STATES + chunk;
    const expected = word(epoch, from);
    if (Atomics.compareExchange(this.#words, at, expected, word(epoch, to)) !== expected) return false;
    Atomics.notify(this.#words, at);
    return true;
  }

  /** Resolves when the chunk has left `phase`, or after `ms`: then with false. */
  async leaves(epoch: number, chunk: number, phase: Phase, ms: number): Promise<boolean> {
    const wait = Atomics.waitAsync(this.#words, STATES + chunk, word(epoch, phase), ms);
    return !wait.async || (await wait.value) !== 'timed-out';
  }

  /** [rows of the chunk × heads], valid in phase done. */
  result(from: number, to: number): Float32Array {
    return this.#probabilities.subarray(from * HEADS.length, to * HEADS.length);
  }
}

/** Epochs come round after 2^29 requests of a worker. */
function word(epoch: number, phase: number): number {
  return Math.imul(epoch, PHASES) | phase;
}
