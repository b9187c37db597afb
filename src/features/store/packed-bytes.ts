// Reads and writes the small binary forms of the online state: varints, texts, numbers. A reader that runs over the end
// or meets what cannot be says so by `ok`, never by an exception. Called by the state codecs.
import { Buffer } from 'node:buffer';

/** Varints hold whole numbers from 0 to 2^53 − 1, 7 bits a byte, lowest first (LEB128). */
const LARGEST = Number.MAX_SAFE_INTEGER;
const FIRST_ROOM = 16_384;

export class PackedWriter {
  /** Room of a writer that is done, for the next one: bulk writes would otherwise leave a kilobyte of garbage a user. */
  static #spare: Buffer | null = null;
  #bytes: Buffer;
  #at = 0;

  constructor() {
    this.#bytes = PackedWriter.#spare ?? Buffer.allocUnsafeSlow(FIRST_ROOM);
    PackedWriter.#spare = null;
  }

  /** A copy of what was written; the writer is done. */
  take(): Buffer {
    const written = Buffer.from(this.#bytes.subarray(0, this.#at));
    PackedWriter.#spare = this.#bytes;
    return written;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = value;
  }

  varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
  }

  uint32(value: number): void {
    this.#reserve(4);
    this.#at = this.#bytes.writeUInt32LE(value, this.#at);
  }

  /** Whole numbers from 0 to 2^48 − 1, such as times. */
  uint48(value: number): void {
    this.#reserve(6);
    this.#at = this.#bytes.writeUIntLE(value, this.#at, 6);
  }

  double(value: number): void {
    this.#reserve(8);
    this.#at = this.#bytes.writeDoubleLE(value, this.#at);
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  text(value: string): void {
    const bytes = Buffer.byteLength(value);
    this.varint(bytes);
    this.#reserve(bytes);
    this.#at += this.#bytes.write(value, this.#at);
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#at + bytes, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
  }
}

export class PackedReader {
  readonly #bytes: Buffer;
  #at: number;
  /** False once anything did not fit; what was read since is of no meaning. */
  ok = true;

  constructor(bytes: Uint8Array, from = 0) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = from;
  }

  /** Everything fitted and nothing is left. */
  get isDone(): boolean {
    return this.ok && this.#at === this.#bytes.length;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  byte(): number {
    return this.#has(1) ? this.#bytes[this.#at++] : 0;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      if (!this.#has(1)) return 0;
      const byte = this.#bytes[this.#at++];
      value += (byte & 0x7f) * scale;
      if (value > LARGEST) {
        this.ok = false;
        return 0;
      }
      if (byte < 0x80) return value;
    }
  }

  uint32(): number {
    if (!this.#has(4)) return 0;
    this.#at += 4;
    return this.#bytes.readUInt32LE(this.#at - 4);
  }

  uint48(): number {
    if (!this.#has(6)) return 0;
    this.#at += 6;
    return this.#bytes.readUIntLE(this.#at - 6, 6);
  }

  double(): number {
    if (!this.#has(8)) return 0;
    this.#at += 8;
    return this.#bytes.readDoubleLE(this.#at - 8);
  }

  /** A view, not a copy. */
  bytes(length: number): Buffer {
    if (!this.#has(length)) return Buffer.alloc(0);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  text(): string {
    try {
      return UTF8.decode(this.bytes(this.varint()));
    } catch {
      this.ok = false;
      return '';
    }
  }

  #has(bytes: number): boolean {
    if (this.#at + bytes > this.#bytes.length) this.ok = false;
    return this.ok;
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
