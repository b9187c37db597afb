// Joins the hits of all sources: one entry a row, with its sources and its rank in each. Storage is kept.
import type { Hits } from '../contracts.ts';
import { SOURCES } from '../vocabulary.ts';

const WIDTH = SOURCES.length;
const MAX_RANK = 0xffff;

/** Distinct rows of one request; entry i of every array belongs together. */
export class CandidateMerge {
  size = 0;
  rows = new Uint32Array(0);
  sources = new Uint8Array(0);
  /** [size × SOURCES.length], 1-based, 0 = not from it. */
  sourceRanks = new Uint16Array(0);
  /** Cosine to the user vector where a source found it, NaN elsewhere. */
  similarity = new Float32Array(0);
  #slots = new Uint32Array(0);
  #stamps = new Uint32Array(0);
  #epoch = 0;

  constructor(capacity = 2048) {
    this.#grow(capacity);
  }

  begin(): void {
    this.size = 0;
    if (++this.#epoch > 0xffffffff) {
      this.#stamps.fill(0);
      this.#epoch = 1;
    }
  }

  /**
   * Adds the hits of source number `source`; a row keeps the first rank it got from a source. `toUser` says that
   * their similarity is that to the user vector.
   */
  addHits(source: number, hits: Hits, toUser = false): void {
    for (let i = 0; i < hits.size; i++) {
      const entry = this.add(hits.rows[i], source, i + 1);
      if (toUser) this.similarity[entry] = hits.similarity[i];
    }
  }

  has(row: number): boolean {
    return this.#stamps[this.#slotOf(row)] === this.#epoch;
  }

  /** Adds one row; `source` null adds it without one. Returns its entry. */
  add(row: number, source: number | null, rank: number): number {
    if (this.size === this.rows.length) this.#grow(this.rows.length * 2);
    const mask = this.#slots.length - 1;
    let slot = (Math.imul(row, 0x9e3779b1) >>> 0) & mask;
    while (this.#stamps[slot] === this.#epoch && this.rows[this.#slots[slot]] !== row)
      slot = (slot + 1) & mask;
    let entry = this.#slots[slot];
    if (this.#stamps[slot] !== this.#epoch) {
      entry = this.size++;
      this.#stamps[slot] = this.#epoch;
      this.#slots[slot] = entry;
      this.rows[entry] = row;
      this.sources[entry] = 0;
      this.similarity[entry] = Number.NaN;
      for (let at = entry * WIDTH; at < (entry + 1) * WIDTH; at++) this.sourceRanks[at] = 0;
    }
    if (source !== null) {
      this.sources[entry] |= 1 << source;
      const at = entry * WIDTH + source;
      if (this.sourceRanks[at] === 0) this.sourceRanks[at] = Math.min(rank, MAX_RANK);
    }
    return entry;
  }

  /** The slot of `row`, or the free one where it belongs. */
  #slotOf(row: number): number {
    const mask = this.#slots.length - 1;
    let slot = (Math.imul(row, 0x9e3779b1) >>> 0) & mask;
    while (this.#stamps[slot] === this.#epoch && this.rows[this.#slots[slot]] !== row)
      slot = (slot + 1) & mask;
    return slot;
  }

  #grow(capacity: number): void {
    this.rows = enlarge(this.rows, new Uint32Array(capacity));
    this.sources = enlarge(this.sources, new Uint8Array(capacity));
    this.sourceRanks = enlarge(this.sourceRanks, new Uint16Array(capacity * WIDTH));
    this.similarity = enlarge(this.similarity, new Float32Array(capacity));
    let slots = 1024;
    while (slots < capacity * 2) slots *= 2;
    this.#slots = new Uint32Array(slots);
    this.#stamps = new Uint32Array(slots);
    this.#epoch = 1;
    for (let entry = 0; entry < this.size; entry++) {
      let slot = (Math.imul(this.rows[entry], 0x9e3779b1) >>> 0) & (slots - 1);
      while (this.#stamps[slot] === 1) slot = (slot + 1) & (slots - 1);
      this.#stamps[slot] = 1;
      this.#slots[slot] = entry;
    }
  }
}

function enlarge<T extends Uint32Array | Uint16Array | Uint8Array | Float32Array>(old: T, fresh: T): T {
  fresh.set(old);
  return fresh;
}
