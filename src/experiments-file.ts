// The experiments file: read again when it changes, the last good version kept when a new one is bad.
import { readFile, stat } from 'node:fs/promises';
import { messageOf } from './errors.ts';
import { type Experiments, parseExperiments } from './ranking/lifecycle/rollout-config.ts';

export class ExperimentsFile {
  readonly #path: string | undefined;
  #stamp = '';
  #current: Experiments | null = null;
  #error: string | null = null;

  constructor(path: string | undefined) {
    this.#path = path;
  }

  /** null without a file. */
  get current(): Experiments | null {
    return this.#current;
  }

  /** Why the newest content was not taken over; null when it was. */
  get error(): string | null {
    return this.#error;
  }

  /** Never rejects. A file that is gone ends its experiments. */
  async check(): Promise<void> {
    if (this.#path === undefined) return;
    try {
      const { mtimeMs, size, ino } = await stat(this.#path);
      const stamp = `${mtimeMs}:${size}:${ino}`;
      if (stamp === this.#stamp) return;
      const text = await readFile(this.#path, 'utf8');
      this.#stamp = stamp;
      this.#current = parseExperiments(JSON.parse(text));
      this.#error = null;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && this.#stamp !== '') {
        this.#stamp = '';
        this.#current = null;
      }
      this.#error = `experiments file ${this.#path}: ${messageOf(error)}`;
    }
  }
}
