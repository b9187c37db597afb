// One column of a training set: rows of fixed width appended through a buffer, so that memory stays bounded whatever
// the number of rows. Called by training-set-writer.ts.
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';

const BUFFER_ROWS = 8192;

type Numbers = Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array;

export class ColumnFile<T extends Numbers> {
  readonly #stream: WriteStream;
  readonly #buffer: T;
  readonly #width: number;
  #buffered = 0;
  #failed: Error | null = null;
  rows = 0;

  constructor(path: string, width: number, make: (length: number) => T) {
    this.#stream = createWriteStream(path);
    this.#stream.on('error', (error) => {
      this.#failed = error;
    });
    this.#width = width;
    this.#buffer = make(BUFFER_ROWS * width);
  }

  /** Room for the next row; filled before `add`. */
  next(): T {
    return this.#buffer.subarray(this.#buffered * this.#width, (this.#buffered + 1) * this.#width) as T;
  }

  /** Takes the row written into `next()`; returns its number. */
  add(): number {
    this.#buffered++;
    return this.rows++;
  }

  get full(): boolean {
    return this.#buffered === BUFFER_ROWS;
  }

  /** Call between rows: writes what is buffered when it is full, and waits for the disk. */
  async drain(force = false): Promise<void> {
    if (this.#buffered === 0 || (!force && !this.full)) return;
    const { buffer, byteOffset, BYTES_PER_ELEMENT } = this.#buffer;
    const bytes = Buffer.from(buffer, byteOffset, this.#buffered * this.#width * BYTES_PER_ELEMENT);
    await new Promise<void>((resolve, reject) => {
      if (this.#failed) return reject(this.#failed);
      this.#stream.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
    this.#buffered = 0;
  }

  async close(): Promise<void> {
    await this.drain(true);
    this.#stream.end();
    await finished(this.#stream);
  }
}
