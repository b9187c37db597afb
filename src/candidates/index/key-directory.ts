// Post ids by row and rows by key hash, in shared memory: UTF-8 bytes, offsets and an open-addressed table, no JS
// object a post. Written by the owner of the PostTable only; a row is findable once its record is complete.
import { FeedrankError } from '../../errors.ts';
import { FIELD, RECORD_WORDS, type RecordViews } from '../../post-record.ts';
import { sharedBytes, tableSlots } from './table-layout.ts';

export interface KeyDirectoryHandle {
  /** Uint32 row + 1, 0 = empty. */
  slots: SharedArrayBuffer;
  /** Uint32 start of each row's id, one more than rows. */
  offsets: SharedArrayBuffer;
  bytes: SharedArrayBuffer;
}

export class KeyDirectory {
  readonly handle: KeyDirectoryHandle;
  readonly offsets: Uint32Array;
  readonly bytes: Buffer;
  readonly #slots: Uint32Array;
  readonly #mask: number;
  readonly #records: RecordViews;

  constructor(handle: KeyDirectoryHandle, records: RecordViews) {
    this.handle = handle;
    this.#slots = new Uint32Array(handle.slots);
    this.#mask = this.#slots.length - 1;
    this.offsets = new Uint32Array(handle.offsets);
    this.bytes = Buffer.from(handle.bytes);
    this.#records = records;
  }

  static allocate(capacity: number, keyBytes: number): KeyDirectoryHandle {
    if (keyBytes > 0xffff_ffff)
      throw new FeedrankError('overloaded', 'post ids of one generation exceed 4 GiB');
    return {
      slots: sharedBytes(tableSlots(capacity) * 4, 'the key table'),
      offsets: sharedBytes((capacity + 1) * 4, 'the key offsets'),
      bytes: sharedBytes(Math.max(64, keyBytes), 'the post ids'),
    };
  }

  /** False when the id's bytes do not fit any more. Rows are written in order. */
  store(row: number, key: string): boolean {
    const start = this.offsets[row];
    const length = Buffer.byteLength(key);
    if (start + length > this.bytes.length) return false;
    this.bytes.write(key, start, length, 'utf8');
    this.offsets[row + 1] = start + length;
    return true;
  }

  /** Makes a row findable; its record's key hash must be written. */
  insert(row: number): void {
    const { u32 } = this.#records;
    let slot = u32[row * RECORD_WORDS + FIELD.keyLo] & this.#mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
    Atomics.store(this.#slots, slot, row + 1);
  }

  /** −1 when absent. */
  find(keyLo: number, keyHi: number): number {
    const { u32 } = this.#records;
    for (let slot = keyLo & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const row = this.#slots[slot] - 1;
      if (row < 0) return -1;
      const record = row * RECORD_WORDS;
      if (u32[record + FIELD.keyLo] === keyLo && u32[record + FIELD.keyHi] === keyHi) return row;
    }
  }

  key(row: number): string {
    return this.bytes.toString('utf8', this.offsets[row], this.offsets[row + 1]);
  }
}
