// All posts of one generation in shared memory: records, vectors, scan codes, keys, authors. One thread (the main
// thread, or the build) writes; workers open the same memory by its handle. A row is complete before `rows` counts
// it, and is findable by key and author only after that.
import type { Catalogue } from '../../contracts.ts';
import { FeedrankError, invalid } from '../../errors.ts';
import { hash32, hash64 } from '../../hashing.ts';
import {
  AUTHOR_FIELD,
  AUTHOR_WORDS,
  createdAtMs,
  FIELD,
  FLAG,
  RECORD_BYTES,
  RECORD_WORDS,
  type RecordViews,
  recordViews,
} from '../../post-record.ts';
import { DIM, type EventType } from '../../vocabulary.ts';
import { ItemGraph } from '../item-graph.ts';
import { AuthorTable } from './author-table.ts';
import { KeyDirectory } from './key-directory.ts';
import type { NewPost } from './new-post.ts';
import { type PackedLists, repackRow } from './packed-lists.ts';
import { addEngagement } from './post-counters.ts';
import { sketchText } from './post-text.ts';
import type { TableHandle, TableOptions } from './table-handle.ts';
import { allocateMemory, HEADER, type MemoryLayout, memoryLayout, sharedBytes } from './table-layout.ts';
import { checkVector, encodeRow } from './vector-codes.ts';

export { type NewPost, newPostOf } from './new-post.ts';

/** Bytes reserved for an id of a post that is not known yet. */
export const KEY_BYTES_PER_POST = 40;

export class PostTable implements Catalogue {
  readonly generation: string;
  readonly dim = DIM;
  readonly baseRows: number;
  readonly capacity: number;
  readonly vectors: Float32Array;
  readonly records: RecordViews;
  readonly authors: Float32Array;
  /** Author slots as Uint32 views and lookups. */
  readonly authorTable: AuthorTable;
  readonly keys: KeyDirectory;
  /** Null where this generation has none. */
  readonly neighbours: ItemGraph | null;
  /** [capacity, 64] unsigned 7-bit codes of the scan. */
  readonly codes: Uint8Array;
  readonly memory: WebAssembly.Memory;
  readonly layout: MemoryLayout;
  readonly header: Int32Array;
  readonly #deleted: Uint32Array;
  readonly #writable: boolean;

  private constructor(handle: TableHandle, writable: boolean) {
    const { layout } = handle;
    const buffer = handle.memory.buffer;
    this.generation = handle.generation;
    this.baseRows = handle.baseRows;
    this.capacity = layout.capacity;
    this.memory = handle.memory;
    this.layout = layout;
    this.header = new Int32Array(buffer, 0, 64);
    this.codes = new Uint8Array(buffer, layout.codes, layout.capacity * DIM);
    this.vectors = new Float32Array(buffer, layout.vectors, layout.capacity * DIM);
    this.#deleted = new Uint32Array(buffer, layout.deleted, Math.floor((layout.codes - layout.deleted) / 4));
    this.records = recordViews(handle.records, 0, layout.capacity);
    this.keys = new KeyDirectory(handle.keys, this.records);
    this.authorTable = new AuthorTable(handle.authors, this.header, this.records);
    this.authors = this.authorTable.f32;
    this.neighbours = handle.neighbours && new ItemGraph(handle.neighbours);
    this.#writable = writable;
  }

  /** An empty table. Throws invalid_input where the capacity does not fit one memory, overloaded without memory. */
  static create(options: TableOptions): PostTable {
    const layout = memoryLayout(options.capacity, options.lists);
    const handle = {
      generation: options.generation,
      baseRows: options.baseRows,
      memory: allocateMemory(layout),
      layout,
      records: sharedBytes(layout.capacity * RECORD_BYTES, 'the records'),
      keys: KeyDirectory.allocate(layout.capacity, options.keyBytes),
      authors: AuthorTable.allocate(layout.capacity, options.authorsWithoutPosts ?? layout.capacity >>> 1),
      neighbours: options.neighbours ?? null,
    };
    return new PostTable(handle, true);
  }

  /** A read view of the same memory, in any thread. */
  static open(handle: TableHandle): PostTable {
    return new PostTable(handle, false);
  }

  handle(): TableHandle {
    const { generation, baseRows, memory, layout } = this;
    return {
      generation,
      baseRows,
      memory,
      layout,
      records: this.records.u32.buffer as SharedArrayBuffer,
      keys: this.keys.handle,
      authors: this.authorTable.handle,
      neighbours: this.neighbours?.parts ?? null,
    };
  }

  /** Views of the inverted lists, null where this generation has none. */
  get lists(): PackedLists | null {
    const { lists } = this.layout;
    if (!lists) return null;
    const { buffer } = this.memory;
    return {
      centroids: new Float32Array(buffer, lists.centroidsAt, lists.count * DIM),
      offsets: new Uint32Array(buffer, lists.offsetsAt, lists.count + 1),
      rows: new Uint32Array(buffer, lists.rowsAt, lists.rows),
      centroidCodes: new Uint8Array(buffer, lists.centroidCodesAt, lists.count * DIM),
      codes: lists.codesAt === null ? null : new Uint8Array(buffer, lists.codesAt, lists.rows * DIM),
    };
  }

  get rows(): number {
    return Atomics.load(this.header, HEADER.rows);
  }

  /** Rows marked deleted, in all and within the base. */
  get deletedRows(): { all: number; base: number } {
    return { all: this.header[HEADER.deleted], base: this.header[HEADER.deletedInBase] };
  }

  rowOf(keyLo: number, keyHi: number): number {
    return this.keys.find(keyLo, keyHi);
  }

  /** Row of a post id, −1 when absent. */
  rowOfId(id: string): number {
    const { lo, hi } = hash64(id);
    return this.keys.find(lo, hi);
  }

  keyOf(row: number): string {
    return this.keys.key(row);
  }

  newestByAuthor(authorLo: number, authorHi: number): number {
    return this.authorTable.newest(authorLo, authorHi);
  }

  isDeleted(row: number): boolean {
    return ((this.#deleted[row >>> 5] >>> (row & 31)) & 1) !== 0;
  }

  /**
   * Adds a post with its vector [64] (normalised here) and returns its row. Throws conflict when the id is already
   * there, overloaded when the table is full, invalid_input on a vector that is no direction.
   */
  append(post: NewPost, vector: Float32Array): number {
    this.#mustWrite();
    if (!Number.isFinite(post.createdAt)) throw invalid('createdAt', 'must be unix milliseconds');
    const norm = checkVector(vector, 'vector');
    const key = hash64(post.id);
    if (this.keys.find(key.lo, key.hi) >= 0) {
      throw new FeedrankError('conflict', `post ${post.id.slice(0, 64)} is already in the catalogue`);
    }
    const row = this.rows;
    if (row >= this.capacity || !this.keys.store(row, post.id)) {
      throw new FeedrankError('overloaded', `the catalogue is full at ${row} posts; build a new index`);
    }
    const author = hash64(post.authorId);
    const slot = this.authorTable.findOrAdd(author.lo, author.hi);
    const { u32, f64 } = this.records;
    const at = row * RECORD_WORDS;
    f64[row * (RECORD_WORDS / 2)] = post.createdAt;
    u32[at + FIELD.keyLo] = key.lo;
    u32[at + FIELD.keyHi] = key.hi;
    u32[at + FIELD.authorLo] = author.lo;
    u32[at + FIELD.authorHi] = author.hi;
    u32[at + FIELD.authorSlot] = slot;
    u32[at + FIELD.countersAtSec] = Math.max(0, Math.floor(post.createdAt / 1000));
    this.#writeContent(row, post, 0);
    this.#writeVector(row, vector, norm);
    Atomics.store(this.header, HEADER.rows, row + 1);
    this.keys.insert(row);
    this.authorTable.link(slot, row);
    return row;
  }

  /** Replaces topic, language, flags, words and, when given, the vector. Author and time stay until the next build. */
  updatePost(row: number, post: NewPost, vector?: Float32Array): void {
    this.#mustWrite(row);
    if (vector) {
      this.#writeVector(row, vector, checkVector(vector, 'vector'));
      if (row < this.baseRows && this.lists) repackRow(this.lists, this.codes, row);
    }
    this.#writeContent(row, post, this.records.u32[row * RECORD_WORDS + FIELD.flags] & FLAG.deleted);
  }

  /** Takes a row out of every search; false when it already was. */
  markDeleted(row: number): boolean {
    return this.#setDeleted(row, true);
  }

  /** Brings a deleted row back; false when it was not deleted. */
  restore(row: number): boolean {
    return this.#setDeleted(row, false);
  }

  /** Folds one event into the counters of the post and its author. An event from the future counts as of now. */
  addEngagement(row: number, type: EventType, dwellMs: number, atMs: number, nowMs = Date.now()): void {
    this.#mustWrite(row);
    addEngagement(this.records, this.authorTable, row, type, dwellMs, Math.min(atMs, nowMs));
  }

  /**
   * Adds to an author's followers. One without a post gets a place too, while every row to come still finds one for its
   * author; after that such follows count from the next build on.
   */
  addFollowers(authorId: string, by: number): void {
    this.#mustWrite();
    const { lo, hi } = hash64(authorId);
    let author = this.authorTable.find(lo, hi);
    if (author < 0) {
      const hasRoom = this.authorTable.size + this.capacity - this.rows < this.authorTable.limit;
      if (by <= 0 || !hasRoom) return;
      author = this.authorTable.findOrAdd(lo, hi);
    }
    const at = author * AUTHOR_WORDS + AUTHOR_FIELD.followers;
    this.authors[at] = Math.max(0, this.authors[at] + by);
  }

  /** The base rows of [fromMs, toMs) as [first, end), by binary search over createdAt. */
  baseRange(fromMs: number, toMs: number): [number, number] {
    return [this.#firstAt(fromMs), this.#firstAt(toMs)];
  }

  #firstAt(ms: number): number {
    let low = 0;
    let high = this.baseRows;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (createdAtMs(this.records, middle) < ms) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #writeContent(row: number, post: NewPost, deleted: number): void {
    const { u32, u16 } = this.records;
    const at = row * RECORD_WORDS;
    const sketch = sketchText(post.text);
    u32[at + FIELD.topic] = post.topic ? hash32(post.topic) : 0;
    u32[at + FIELD.simhashLo] = sketch.simhashLo;
    u32[at + FIELD.simhashHi] = sketch.simhashHi;
    u16.set(sketch.words, (at + FIELD.words) * 2);
    const bits = (post.flags & 0xff & ~FLAG.deleted) | deleted;
    u32[at + FIELD.flags] = bits | ((post.language & 0xff) << 8) | (Math.min(0xffff, post.text.length) << 16);
  }

  #writeVector(row: number, vector: Float32Array, norm: number): void {
    const at = row * DIM;
    for (let i = 0; i < DIM; i++) this.vectors[at + i] = vector[i] / norm;
    encodeRow(this.vectors, this.codes, row);
  }

  #setDeleted(row: number, on: boolean): boolean {
    this.#mustWrite(row);
    if (this.isDeleted(row) === on) return false;
    const bit = 1 << (row & 31);
    const flags = row * RECORD_WORDS + FIELD.flags;
    if (on) {
      Atomics.or(this.#deleted, row >>> 5, bit);
      Atomics.or(this.records.u32, flags, FLAG.deleted);
    } else {
      Atomics.and(this.#deleted, row >>> 5, ~bit);
      Atomics.and(this.records.u32, flags, ~FLAG.deleted);
    }
    Atomics.add(this.header, HEADER.deleted, on ? 1 : -1);
    if (row < this.baseRows) Atomics.add(this.header, HEADER.deletedInBase, on ? 1 : -1);
    return true;
  }

  #mustWrite(row?: number): void {
    if (!this.#writable) throw new FeedrankError('internal', 'the catalogue is written by its owner only');
    if (row !== undefined && !(Number.isInteger(row) && row >= 0 && row < this.rows)) {
      throw invalid('row', `${row} is not a row of this generation`);
    }
  }
}
