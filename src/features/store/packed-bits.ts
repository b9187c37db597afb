// Whole numbers of so many bits each, one after the other, the highest bit first. A reader that runs over the end says so
// by `ok`, never by an exception. Called by history-codec.ts.
import { Buffer } from 'node:buffer';

const FIRST_ROOM = 8_192;
/** Bits of a length of bits: numbers have at most 53. */
const WIDTH_BITS = 6;
/** Longer numbers are put and got in parts of so many bits: with the seven that may be pending they fit 31. */
const STEP_BITS = 24;
const STEP = 2 ** STEP_BITS;

/** Bits that a whole number from 0 to 2^53 − 1 needs; 0 for 0. */
export function widthOf(value: number): number {
  return value < 2 ** 32 ? 32 - Math.clz32(value) : 64 - Math.clz32(Math.floor(value / 2 ** 32));
}

export class BitWriter {
  /** Room of a writer that is done, for the next one: bulk writes would otherwise leave kilobytes of garbage a user. */
  static #spare: Buffer | null = null;
  #bytes: Buffer;
  #at = 0;
  /** Up to seven bits that fill no byte yet. */
  #pending = 0;
  #pendingBits = 0;

  constructor() {
    this.#bytes = BitWriter.#spare ?? Buffer.allocUnsafeSlow(FIRST_ROOM);
    BitWriter.#spare = null;
  }

  /** A copy of what was written, the last byte filled up with zeros; the writer is done. */
  take(): Buffer {
    if (this.#pendingBits > 0) this.put(0, 8 - this.#pendingBits);
    const written = Buffer.from(this.#bytes.subarray(0, this.#at));
    BitWriter.#spare = this.#bytes;
    return written;
  }

  /** `value` from 0 to 2^width − 1, `width` at most 53. */
  put(value: number, width: number): void {
    if (width > STEP_BITS) {
      this.put(Math.floor(value / STEP), width - STEP_BITS);
      this.put(value % STEP, STEP_BITS);
      return;
    }
    this.#pending = (this.#pending << width) | value;
    this.#pendingBits += width;
    while (this.#pendingBits >= 8) {
      this.#pendingBits -= 8;
      if (this.#at === this.#bytes.length) this.#enlarge();
      this.#bytes[this.#at++] = this.#pending >>> this.#pendingBits;
    }
    this.#pending &= (1 << this.#pendingBits) - 1;
  }

  #enlarge(): void {
    const larger = Buffer.allocUnsafeSlow(this.#bytes.length * 2);
    larger.set(this.#bytes);
    this.#bytes = larger;
  }

  /** A width, to be read before the numbers that have it. */
  width(width: number): void {
    this.put(width, WIDTH_BITS);
  }

  double(value: number): void {
    const words = Buffer.alloc(8);
    words.writeDoubleBE(value);
    for (const byte of words) this.put(byte, 8);
  }

  text(value: string): void {
    const bytes = Buffer.from(value);
    this.width(widthOf(bytes.length));
    this.put(bytes.length, widthOf(bytes.length));
    this.bytes(bytes);
  }

  bytes(value: Uint8Array): void {
    for (const byte of value) this.put(byte, 8);
  }
}

export class BitReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #pending = 0;
  #pendingBits = 0;
  /** False once anything did not fit; what was read since is of no meaning. */
  ok = true;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Everything fitted, and nothing but the filling of the last byte is left. */
  get isDone(): boolean {
    return this.ok && this.#at === this.#bytes.length && this.#pending === 0;
  }

  get(width: number): number {
    if (width > STEP_BITS) return this.get(width - STEP_BITS) * STEP + this.get(STEP_BITS);
    while (this.#pendingBits < width) {
      if (this.#at === this.#bytes.length) {
        this.ok = false;
        return 0;
      }
      this.#pending = (this.#pending << 8) | this.#bytes[this.#at++];
      this.#pendingBits += 8;
    }
    this.#pendingBits -= width;
    const value = this.#pending >>> this.#pendingBits;
    this.#pending &= (1 << this.#pendingBits) - 1;
    return value;
  }

  width(): number {
    const width = this.get(WIDTH_BITS);
    if (width > 53) this.ok = false;
    return this.ok ? width : 0;
  }

  double(): number {
    return this.bytes(8).readDoubleBE(0);
  }

  text(): string {
    try {
      return UTF8.decode(this.bytes(this.get(this.width())));
    } catch {
      this.ok = false;
      return '';
    }
  }

  /** Zeros where so many are not there. */
  bytes(length: number): Buffer {
    if (length > this.#bytes.length - this.#at + 1) this.ok = false;
    const bytes = Buffer.alloc(this.ok ? length : 8);
    for (let i = 0; this.ok && i < length; i++) bytes[i] = this.get(8);
    return bytes;
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
