// Columnar files of a training set, appended row by row in bounded memory: by impression features.f32 [N, D],
// labels.u8 [N, heads], users.u32, posts.u32, pages.u32 and times.f64 [N]; by page the user's history; vectors.f32 of all
// posts; meta.json last, so that a torn set is not read. Read by ranker_data.py.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HEADS, type Head } from '../../src/vocabulary.ts';
import { ColumnFile } from './column-file.ts';

/** Entries of a page's history that are kept, newest first: as many as the user tower reads. */
export const PAGE_HISTORY = 30;

export interface TrainingSetMeta {
  rows: number;
  pages: number;
  /** Entries of a page's history in history*.{i32,u8,f32}. */
  pageHistory: number;
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

/** A page's history: post rows (−1 for an entry without a post), engagement codes (0 = no entry), ages in hours. */
export interface PageHistory {
  posts: Int32Array;
  types: Uint8Array;
  hours: Float32Array;
}

export class TrainingSetWriter {
  readonly #dir: string;
  readonly #features: ColumnFile<Float32Array>;
  readonly #users: ColumnFile<Uint32Array>;
  readonly #posts: ColumnFile<Uint32Array>;
  readonly #pages: ColumnFile<Uint32Array>;
  readonly #times: ColumnFile<Float64Array>;
  readonly #history: ColumnFile<Int32Array>;
  readonly #types: ColumnFile<Uint8Array>;
  readonly #hours: ColumnFile<Float32Array>;
  /** Bit h = head h. Labels follow their row for a day, so they stay in memory: a byte a row. */
  #labels = new Uint8Array(1 << 16);

  private constructor(dir: string, width: number) {
    this.#dir = dir;
    const path = (name: string) => join(dir, name);
    this.#features = new ColumnFile(path('features.f32'), width, (n) => new Float32Array(n));
    this.#users = new ColumnFile(path('users.u32'), 1, (n) => new Uint32Array(n));
    this.#posts = new ColumnFile(path('posts.u32'), 1, (n) => new Uint32Array(n));
    this.#pages = new ColumnFile(path('pages.u32'), 1, (n) => new Uint32Array(n));
    this.#times = new ColumnFile(path('times.f64'), 1, (n) => new Float64Array(n));
    this.#history = new ColumnFile(path('history.i32'), PAGE_HISTORY, (n) => new Int32Array(n));
    this.#types = new ColumnFile(path('history_types.u8'), PAGE_HISTORY, (n) => new Uint8Array(n));
    this.#hours = new ColumnFile(path('history_hours.f32'), PAGE_HISTORY, (n) => new Float32Array(n));
  }

  static async open(dir: string, width: number): Promise<TrainingSetWriter> {
    await mkdir(dir, { recursive: true });
    await rm(join(dir, 'meta.json'), { force: true });
    return new TrainingSetWriter(dir, width);
  }

  get rows(): number {
    return this.#features.rows;
  }

  /** Room for one encoded row; filled before `add`. */
  next(): Float32Array {
    return this.#features.next();
  }

  /** Room for a page's history; filled before `addPage`. */
  nextPage(): PageHistory {
    return { posts: this.#history.next(), types: this.#types.next(), hours: this.#hours.next() };
  }

  /** Takes the history written into `nextPage()`; returns the page's number. */
  addPage(): number {
    this.#types.add();
    this.#hours.add();
    return this.#history.add();
  }

  /** Takes the row written into `next()`; returns its number. */
  add(userHash: number, post: number, page: number, atMs: number): number {
    if (this.rows === this.#labels.length) {
      const labels = new Uint8Array(this.#labels.length * 2);
      labels.set(this.#labels);
      this.#labels = labels;
    }
    this.#users.next()[0] = userHash;
    this.#posts.next()[0] = post;
    this.#pages.next()[0] = page;
    this.#times.next()[0] = atMs;
    for (const column of [this.#users, this.#posts, this.#pages, this.#times]) column.add();
    return this.#features.add();
  }

  label(row: number, head: Head, on: boolean): void {
    const bit = 1 << HEADS.indexOf(head);
    if (on) this.#labels[row] |= bit;
    else this.#labels[row] &= ~bit;
  }

  /** Whether `drain` must be called before the next row. */
  get full(): boolean {
    return this.#features.full || this.#history.full;
  }

  /** Call between rows: writes what is buffered where it is full, and waits for the disk. */
  async drain(): Promise<void> {
    for (const column of this.#columns()) await column.drain();
  }

  /** Finishes the files. @param vectors [posts, 64] of all posts, by row */
  async close(
    vectors: Float32Array,
    meta: Omit<TrainingSetMeta, 'rows' | 'pages' | 'pageHistory' | 'heads' | 'positives'>,
  ): Promise<TrainingSetMeta> {
    for (const column of this.#columns()) await column.close();
    const { rows } = this;
    const labels = new Uint8Array(rows * HEADS.length);
    const positives = Object.fromEntries(HEADS.map((head) => [head, 0])) as Record<Head, number>;
    for (let row = 0; row < rows; row++) {
      HEADS.forEach((head, h) => {
        if (!((this.#labels[row] >> h) & 1)) return;
        labels[row * HEADS.length + h] = 1;
        positives[head]++;
      });
    }
    const full: TrainingSetMeta = {
      ...(meta as TrainingSetMeta),
      rows,
      pages: this.#history.rows,
      pageHistory: PAGE_HISTORY,
      heads: HEADS,
      positives,
    };
    await writeFile(join(this.#dir, 'labels.u8'), labels);
    await writeFile(join(this.#dir, 'vectors.f32'), vectors);
    await writeFile(join(this.#dir, 'meta.json'), `${JSON.stringify(full, null, 2)}\n`);
    return full;
  }

  #columns() {
    const byRow = [this.#features, this.#users, this.#posts, this.#pages, this.#times];
    return [...byRow, this.#history, this.#types, this.#hours];
  }
}
