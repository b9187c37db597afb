// Columnar files of a training set, appended row by row in bounded memory: features.f32 [N, D], labels.u8 [N, 6],
// users.u32 [N], times.f64 [N], meta.json last, so that a torn set is not read. Read by ranker.py.
import { createWriteStream, type WriteStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { HEADS, type Head } from '../../src/vocabulary.ts';

const BUFFER_ROWS = 8192;

export interface TrainingSetMeta {
  rows: number;
  features: { id: string; width: number; fromHistory: boolean }[];
  heads: readonly Head[];
  /** Positives by head. */
  positives: Record<Head, number>;
  fromMs: number;
  toMs: number;
  seed: number;
  tower: string;
  userTower: string;
  [key: string]: unknown;
}

export class TrainingSetWriter {
  readonly #dir: string;
  readonly #width: number;
  readonly #stream: WriteStream;
  #buffer: Float32Array;
  #buffered = 0;
  /** Bit h = head h. */
  #labels = new Uint8Array(1 << 16);
  #users = new Uint32Array(1 << 16);
  #times = new Float64Array(1 << 16);
  rows = 0;

  private constructor(dir: string, width: number) {
    this.#dir = dir;
    this.#width = width;
    this.#buffer = new Float32Array(BUFFER_ROWS * width);
    this.#stream = createWriteStream(join(dir, 'features.f32'));
  }

  static async open(dir: string, width: number): Promise<TrainingSetWriter> {
    await mkdir(dir, { recursive: true });
    await rm(join(dir, 'meta.json'), { force: true });
    return new TrainingSetWriter(dir, width);
  }

  /** Room for one encoded row; filled before `add`. */
  next(): Float32Array {
    return this.#buffer.subarray(this.#buffered * this.#width, (this.#buffered + 1) * this.#width);
  }

  /** Takes the row written into `next()`; returns its number. */
  add(userHash: number, atMs: number): number {
    if (this.rows === this.#labels.length) this.#grow();
    this.#users[this.rows] = userHash;
    this.#times[this.rows] = atMs;
    this.#buffered++;
    return this.rows++;
  }

  label(row: number, head: Head, on: boolean): void {
    const bit = 1 << HEADS.indexOf(head);
    if (on) this.#labels[row] |= bit;
    else this.#labels[row] &= ~bit;
  }

  /** Call between rows: writes what is buffered when it is full, and waits for the disk. */
  async drain(force = false): Promise<void> {
    if (this.#buffered === 0 || (!force && this.#buffered < BUFFER_ROWS)) return;
    const bytes = Buffer.from(this.#buffer.buffer, 0, this.#buffered * this.#width * 4);
    await new Promise<void>((resolve, reject) => {
      this.#stream.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
    this.#buffered = 0;
  }

  get full(): boolean {
    return this.#buffered === BUFFER_ROWS;
  }

  /** Keeps rows `[0, rows)` and finishes the files. */
  async close(
    rows: number,
    meta: Omit<TrainingSetMeta, 'rows' | 'heads' | 'positives'>,
  ): Promise<TrainingSetMeta> {
    await this.drain(true);
    this.#stream.end();
    await finished(this.#stream);
    const labels = new Uint8Array(rows * HEADS.length);
    const positives = Object.fromEntries(HEADS.map((head) => [head, 0])) as Record<Head, number>;
    for (let row = 0; row < rows; row++) {
      HEADS.forEach((head, h) => {
        if (!((this.#labels[row] >> h) & 1)) return;
        labels[row * HEADS.length + h] = 1;
        positives[head]++;
      });
    }
    const full: TrainingSetMeta = { ...(meta as TrainingSetMeta), rows, heads: HEADS, positives };
    await writeFile(join(this.#dir, 'labels.u8'), labels);
    await writeFile(join(this.#dir, 'users.u32'), this.#users.subarray(0, rows));
    await writeFile(join(this.#dir, 'times.f64'), this.#times.subarray(0, rows));
    await writeFile(join(this.#dir, 'meta.json'), `${JSON.stringify(full, null, 2)}\n`);
    return full;
  }

  #grow(): void {
    const grow = <T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T => {
      to.set(from as never);
      return to;
    };
    const size = this.#labels.length * 2;
    this.#labels = grow(this.#labels, new Uint8Array(size));
    this.#users = grow(this.#users, new Uint32Array(size));
    this.#times = grow(this.#times, new Float64Array(size));
  }
}
