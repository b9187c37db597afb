// Texts that are nearly the same, by 64-bit simhash (Charikar, 2002; Manku et al., 2007): of each such group the
// candidate nearest to the user stays. Exact for distances up to 3: four 16-bit chunks, one of them is equal.
import type { RecordViews } from '../post-record.ts';
import { FIELD, RECORD_WORDS } from '../post-record.ts';

const CHUNKS = 4;
/** Slots a chunk: few enough for the first levels of cache; a chain's entries are compared whole, so sharing is harmless. */
const CHUNK_SLOTS = 0x1000;
/** Sort keys: similarity in 2⁻²⁰ steps above the position of the entry; both fit a double exactly. */
const SIMILARITY_STEPS = 2 ** 20;
const MAX_ENTRIES = 2 ** 24;

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

/** Entries by falling similarity: a native sort of numbers that carry the entry's position in their low bits. */
export function bySimilarity(entries: Uint32Array, similarity: Float32Array): Uint32Array {
  const keys = new Float64Array(entries.length);
  for (let i = 0; i < entries.length; i++) {
    keys[i] = -Math.round(similarity[entries[i]] * SIMILARITY_STEPS) * MAX_ENTRIES + i;
  }
  keys.sort();
  const order = new Uint32Array(entries.length);
  for (let i = 0; i < entries.length; i++) {
    order[i] = entries[keys[i] - Math.floor(keys[i] / MAX_ENTRIES) * MAX_ENTRIES];
  }
  return order;
}
