// Counters and newest post of every author, in shared memory: dense 64-byte slots in order of first appearance (the
// artifact's authors.bin is a copy of them) and an open-addressed table over them. Written by the table's owner only.
import {
  AUTHOR_BYTES,
  AUTHOR_FIELD,
  AUTHOR_WORDS,
  FIELD,
  RECORD_WORDS,
  type RecordViews,
} from '../../post-record.ts';
import { HEADER, sharedBytes, tableSlots } from './table-layout.ts';

/**
 * The newest posts of an author that are surely linked in order of createdAt: a late-arriving post is put in its
 * place among these, an older one right behind them. Bounds the walk when old posts arrive in bulk.
 */
const ORDERED_CHAIN = 4096;

export interface AuthorTableHandle {
  slots: SharedArrayBuffer;
  dense: SharedArrayBuffer;
}

export class AuthorTable {
  readonly handle: AuthorTableHandle;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  readonly #slots: Uint32Array;
  readonly #mask: number;
  readonly #header: Int32Array;
  readonly #records: RecordViews;

  constructor(handle: AuthorTableHandle, header: Int32Array, records: RecordViews) {
    this.handle = handle;
    this.u32 = new Uint32Array(handle.dense);
    this.f32 = new Float32Array(handle.dense);
    this.#slots = new Uint32Array(handle.slots);
    this.#mask = this.#slots.length - 1;
    this.#header = header;
    this.#records = records;
  }

  /**
   * Room for an author a row, and for `withoutPosts` who are followed and have no post yet. Untouched slots take no
   * memory.
   */
  static allocate(capacity: number, withoutPosts: number): AuthorTableHandle {
    const authors = capacity + withoutPosts;
    return {
      slots: sharedBytes(tableSlots(authors) * 4, 'the author table'),
      dense: sharedBytes(authors * AUTHOR_BYTES, 'the authors'),
    };
  }

  get size(): number {
    return Atomics.load(this.#header, HEADER.authors);
  }

  /** Authors that fit. */
  get limit(): number {
    return this.u32.length / AUTHOR_WORDS;
  }

  /** Dense slot, −1 of an author who has neither a post nor a follower. */
  find(lo: number, hi: number): number {
    for (let slot = lo & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const author = this.#slots[slot] - 1;
      if (author < 0) return -1;
      const at = author * AUTHOR_WORDS;
      if (this.u32[at + AUTHOR_FIELD.keyLo] === lo && this.u32[at + AUTHOR_FIELD.keyHi] === hi) return author;
    }
  }

  findOrAdd(lo: number, hi: number): number {
    const found = this.find(lo, hi);
    if (found >= 0) return found;
    const author = this.size;
    this.u32[author * AUTHOR_WORDS + AUTHOR_FIELD.keyLo] = lo;
    this.u32[author * AUTHOR_WORDS + AUTHOR_FIELD.keyHi] = hi;
    Atomics.store(this.#header, HEADER.authors, author + 1);
    this.insert(author);
    return author;
  }

  /** Makes a dense slot findable by its key. */
  insert(author: number): void {
    let slot = this.u32[author * AUTHOR_WORDS + AUTHOR_FIELD.keyLo] & this.#mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
    Atomics.store(this.#slots, slot, author + 1);
  }

  /** −1 when the author has no post. */
  newest(lo: number, hi: number): number {
    const author = this.find(lo, hi);
    return author < 0 ? -1 : this.u32[author * AUTHOR_WORDS + AUTHOR_FIELD.newestRow] - 1;
  }

  /** Puts a published row into its author's chain, newest first. */
  link(author: number, row: number): void {
    const { u32, f64 } = this.#records;
    const at = author * AUTHOR_WORDS;
    const createdAt = f64[row * (RECORD_WORDS / 2)];
    let newer = -1;
    let older = this.u32[at + AUTHOR_FIELD.newestRow] - 1;
    for (let step = 0; older >= 0 && step < ORDERED_CHAIN; step++) {
      if (f64[older * (RECORD_WORDS / 2)] <= createdAt) break;
      newer = older;
      older = u32[older * RECORD_WORDS + FIELD.previousByAuthor] - 1;
    }
    u32[row * RECORD_WORDS + FIELD.previousByAuthor] = older + 1;
    if (newer < 0) Atomics.store(this.u32, at + AUTHOR_FIELD.newestRow, row + 1);
    else Atomics.store(u32, newer * RECORD_WORDS + FIELD.previousByAuthor, row + 1);
    this.f32[at + AUTHOR_FIELD.posts]++;
  }
}
