// Texts that are nearly the same, by 64-bit simhash (Charikar, 2002; Manku et al., 2007): of each such group the
// candidate nearest to the user stays. Exact for distances up to 3: four 16-bit chunks, one of them is equal.
import type { RecordViews } from '../post-record.ts';
import { FIELD, RECORD_WORDS } from '../post-record.ts';

const CHUNKS = 4;
/** Slots a chunk: few enough for the first levels of cache; a chain's entries are compared whole, so sharing is harmless. */
const CHUNK_SLOTS = 0x1000;
const SIMILARITY_STEPS = 2 ** 20;
/** Sort keys have two digits: room for similarities within ±2. */
const DIGIT_BITS = 11;
const DIGIT_MASK = 2 ** DIGIT_BITS - 1;
const MAX_KEY = 2 ** (2 * DIGIT_BITS) - 1;
/** Scratch of one call. */
const DIGITS = new Uint32Array(DIGIT_MASK + 1);

/** One a worker; storage is kept between requests. */
export class NearDuplicates {
  readonly #maxDistance: number;
  /** Newest entry + 1 of the chain of each (chunk, slot). */
  readonly #heads = new Uint32Array(CHUNKS * CHUNK_SLOTS);
  #links = new Uint32Array(0);
  #lo = new Uint32Array(0);
  #hi = new Uint32Array(0);
  #size = 0;

  /** `maxDistance` in bits: at most 3; below 0 nothing is a duplicate. */
  constructor(maxDistance: number) {
    this.#maxDistance = maxDistance;
  }

  /**
   * Calls `remove(i)` for each of `order` (entries of `rows`, best first) whose text is nearly that of an entry
   * before it, or of one of `shown` (rows the user already had). Posts without text are never duplicates.
   */
  find(
    records: RecordViews,
    rows: Uint32Array,
    order: Uint32Array,
    shown: readonly number[],
    remove: (entry: number) => void,
  ): void {
    if (this.#maxDistance < 0) return;
    this.#reserve(order.length + shown.length);
    const { u32 } = records;
    for (const row of shown) {
      const at = row * RECORD_WORDS;
      const lo = u32[at + FIELD.simhashLo];
      const hi = u32[at + FIELD.simhashHi];
      if (lo !== 0 || hi !== 0) this.#add(lo, hi);
    }
    for (let i = 0; i < order.length; i++) {
      const at = rows[order[i]] * RECORD_WORDS;
      const lo = u32[at + FIELD.simhashLo];
      const hi = u32[at + FIELD.simhashHi];
      if (lo === 0 && hi === 0) continue;
      if (this.#has(lo, hi)) remove(order[i]);
      else this.#add(lo, hi);
    }
    this.#clear();
  }

  #has(lo: number, hi: number): boolean {
    for (let chunk = 0; chunk < CHUNKS; chunk++) {
      let entry = this.#heads[chunkIndex(chunk, lo, hi)];
      while (entry !== 0) {
        const other = entry - 1;
        if (popcount(this.#lo[other] ^ lo) + popcount(this.#hi[other] ^ hi) <= this.#maxDistance) return true;
        entry = this.#links[other * CHUNKS + chunk];
      }
    }
    return false;
  }

  #add(lo: number, hi: number): void {
    const entry = this.#size++;
    this.#lo[entry] = lo;
    this.#hi[entry] = hi;
    for (let chunk = 0; chunk < CHUNKS; chunk++) {
      const head = chunkIndex(chunk, lo, hi);
      this.#links[entry * CHUNKS + chunk] = this.#heads[head];
      this.#heads[head] = entry + 1;
    }
  }

  #clear(): void {
    for (let entry = 0; entry < this.#size; entry++) {
      for (let chunk = 0; chunk < CHUNKS; chunk++) {
        this.#heads[chunkIndex(chunk, this.#lo[entry], this.#hi[entry])] = 0;
      }
    }
    this.#size = 0;
  }

  #reserve(entries: number): void {
    if (this.#lo.length >= entries) return;
    this.#lo = new Uint32Array(entries * 2);
    this.#hi = new Uint32Array(entries * 2);
    this.#links = new Uint32Array(entries * 2 * CHUNKS);
  }
}

function chunkIndex(chunk: number, lo: number, hi: number): number {
  const word = chunk < 2 ? lo : hi;
  const value = (chunk & 1) === 0 ? word & 0xffff : word >>> 16;
  return chunk * CHUNK_SLOTS + (Math.imul(value, 0x9e3779b1) >>> 20);
}

/** Bits set in a 32-bit number. */
export function popcount(value: number): number {
  let v = value - ((value >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/**
 * Entries by falling similarity, in steps of 2⁻²⁰; equal ones as given. A radix sort of two passes: a third of what the
 * native sort of a thousand numbers costs.
 */
export function bySimilarity(entries: Uint32Array, similarity: Float32Array): Uint32Array {
  const size = entries.length;
  const keys = new Uint32Array(size);
  for (let i = 0; i < size; i++) {
    const steps = Math.round(similarity[entries[i]] * SIMILARITY_STEPS);
    keys[i] = Math.max(0, Math.min(MAX_KEY, 2 * SIMILARITY_STEPS - steps));
  }
  const half = new Uint32Array(size);
  const order = new Uint32Array(size);
  placeBy(keys, 0, null, half);
  placeBy(keys, DIGIT_BITS, half, order);
  for (let i = 0; i < size; i++) order[i] = entries[order[i]];
  return order;
}

/** Writes the positions `from` (null: 0, 1, …) into `to`, by rising digit of their keys; equal ones as they were. */
function placeBy(keys: Uint32Array, shift: number, from: Uint32Array | null, to: Uint32Array): void {
  DIGITS.fill(0);
  for (let i = 0; i < keys.length; i++) DIGITS[(keys[i] >>> shift) & DIGIT_MASK]++;
  for (let digit = 0, next = 0; digit <= DIGIT_MASK; digit++) {
    const count = DIGITS[digit];
    DIGITS[digit] = next;
    next += count;
  }
  for (let i = 0; i < keys.length; i++) {
    const at = from === null ? i : from[i];
    to[DIGITS[(keys[at] >>> shift) & DIGIT_MASK]++] = at;
  }
}
