// A file's parsed content, read again when the file changes. A bad new version is named and the last good one kept.
// Used by the rules and by the files of keys.
import { readFileSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { messageOf } from './errors.ts';

const POLL_MS = 1000;

export interface WatchedFileOptions<T> {
  /** Throws with the reason when the text cannot be used. */
  parse(text: string): T;
  /** Turns what reading or parsing threw into what the start throws and `problem` says. */
  failure(error: unknown): Error;
  /** After each re-read, with the reason when the new version is not in use. */
  onReload?(value: T, problem: string | null): void;
  pollMs?: number;
}

export class WatchedFile<T> {
  readonly #path: string;
  readonly #options: WatchedFileOptions<T>;
  readonly #timer: NodeJS.Timeout;
  #value: T;
  #problem: string | null = null;
  #stamp: string;
  #checking: Promise<void> | null = null;

  /** @throws what `failure` makes of it, when the first version cannot be used. */
  constructor(path: string, options: WatchedFileOptions<T>) {
    this.#path = path;
    this.#options = options;
    try {
      this.#stamp = stampOf(statSync(path));
      this.#value = options.parse(readFileSync(path, 'utf8'));
    } catch (error) {
      throw options.failure(error);
    }
    this.#timer = setInterval(() => void this.check(), options.pollMs ?? POLL_MS);
    this.#timer.unref();
  }

  get value(): T {
    return this.#value;
  }

  /** Why the newest version is not in use; null when it is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Looks for a change now; never rejects. */
  check(): Promise<void> {
    this.#checking ??= this.#read().finally(() => {
      this.#checking = null;
    });
    return this.#checking;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #read(): Promise<void> {
    const { parse, failure, onReload } = this.#options;
    try {
      const stamp = stampOf(await stat(this.#path));
      if (stamp === this.#stamp) return;
      const text = await readFile(this.#path, 'utf8');
      // Noted before parsing: a bad version is read once, not every second.
      this.#stamp = stamp;
      this.#value = parse(text);
      this.#problem = null;
    } catch (error) {
      const problem = messageOf(failure(error));
      if (problem === this.#problem) return;
      this.#problem = problem;
    }
    onReload?.(this.#value, this.#problem);
  }
}

function stampOf({ mtimeMs, size, ino }: { mtimeMs: number; size: number; ino: number }): string {
  return `${mtimeMs}:${size}:${ino}`;
}
