// The rules file: validated at start, watched for changes, the last good version kept when a new one is bad.
// Main thread; workers get `rules` and `version` by message.
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { FeedrankError, messageOf } from '../errors.ts';
import { DEFAULT_RULES, parseRules, type RulesConfig } from './rules-config.ts';

const POLL_MS = 1000;

export interface RulesVersion {
  rules: RulesConfig;
  /** First 12 hex digits of the sha256 of the file's text, `default` without a file. */
  version: string;
}

export const DEFAULT_RULES_VERSION: RulesVersion = { rules: DEFAULT_RULES, version: 'default' };

export class RulesFile {
  readonly #path: string;
  readonly #onChange: (current: RulesVersion) => void;
  #current: RulesVersion;
  #error: string | null = null;
  #stamp: string;
  #timer: NodeJS.Timeout;
  #checking: Promise<void> | null = null;

  /**
   * Reads the file; throws FeedrankError(invalid_input) that names the bad key, or the file when it cannot be read.
   * `onChange` is called after each change that was taken over.
   */
  constructor(path: string, onChange: (current: RulesVersion) => void = () => {}, pollMs = POLL_MS) {
    this.#path = path;
    this.#onChange = onChange;
    let text: string;
    try {
      this.#stamp = stampOf(statSync(path));
      text = readFileSync(path, 'utf8');
    } catch (error) {
      throw unreadable(path, error);
    }
    this.#current = parseText(path, text);
    this.#timer = setInterval(() => void this.check(), pollMs);
    this.#timer.unref();
  }

  get current(): RulesVersion {
    return this.#current;
  }

  /** Why the newest version of the file was not taken over; null when it was. */
  get error(): string | null {
    return this.#error;
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
    try {
      const stamp = stampOf(await stat(this.#path));
      if (stamp === this.#stamp) return;
      const text = await readFile(this.#path, 'utf8');
      // Noted before parsing: a bad version is read once, not every second.
      this.#stamp = stamp;
      const next = parseText(this.#path, text);
      this.#error = null;
      if (next.version === this.#current.version) return;
      this.#current = next;
      this.#onChange(next);
    } catch (error) {
      this.#error = error instanceof FeedrankError ? error.message : unreadable(this.#path, error).message;
    }
  }
}

function stampOf({ mtimeMs, size, ino }: { mtimeMs: number; size: number; ino: number }): string {
  return `${mtimeMs}:${size}:${ino}`;
}

function parseText(path: string, text: string): RulesVersion {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = `is not JSON: ${messageOf(error)}`;
    throw new FeedrankError('invalid_input', `rules file ${path} ${reason}`, {
      fields: [{ field: 'rules', reason }],
    });
  }
  const version = createHash('sha256').update(text).digest('hex').slice(0, 12);
  return { rules: parseRules(value), version };
}

function unreadable(path: string, cause: unknown): FeedrankError {
  const reason = `cannot be read: ${messageOf(cause)}`;
  return new FeedrankError('invalid_input', `rules file ${path} ${reason}`, {
    fields: [{ field: 'rules', reason }],
    cause,
  });
}
