// The rules file: validated at start, watched for changes, the last good version kept when a new one is bad.
// Main thread; rules-rollout.ts decides who gets which version.
import { createHash } from 'node:crypto';
import { FeedrankError, messageOf } from '../errors.ts';
import { WatchedFile } from '../watched-file.ts';
import { DEFAULT_RULES, parseRules, type RulesConfig } from './rules-config.ts';

export interface RulesVersion {
  rules: RulesConfig;
  /** First 12 hex digits of the sha256 of the file's text, `default` without a file. */
  version: string;
}

/** With the text that it was read from, which is kept. */
export interface RulesText extends RulesVersion {
  text: string;
}

export const DEFAULT_RULES_VERSION: RulesVersion = { rules: DEFAULT_RULES, version: 'default' };

export class RulesFile {
  readonly #file: WatchedFile<RulesText>;

  /**
   * Reads the file; throws FeedrankError(invalid_input) that names the bad key, or the file when it cannot be read.
   * `onChange` is called after each change that was taken over.
   */
  constructor(path: string, onChange: (current: RulesText) => void = () => {}, pollMs?: number) {
    let version: string | undefined;
    this.#file = new WatchedFile(path, {
      parse: (text) => parseRulesText(path, text),
      failure: (error) => (error instanceof FeedrankError ? error : unreadable(path, error)),
      onReload(current, problem) {
        if (problem !== null || current.version === version) return;
        version = current.version;
        onChange(current);
      },
      pollMs,
    });
    version = this.current.version;
  }

  get current(): RulesText {
    return this.#file.value;
  }

  /** Why the newest version of the file was not taken over; null when it was. */
  get error(): string | null {
    return this.#file.problem;
  }

  /** Looks for a change now; never rejects. */
  check(): Promise<void> {
    return this.#file.check();
  }

  close(): void {
    this.#file.close();
  }
}

/** @throws FeedrankError(invalid_input) naming the bad key. */
export function parseRulesText(path: string, text: string): RulesText {
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
  return { rules: parseRules(value), version, text };
}

function unreadable(path: string, cause: unknown): FeedrankError {
  const reason = `cannot be read: ${messageOf(cause)}`;
  return new FeedrankError('invalid_input', `rules file ${path} ${reason}`, {
    fields: [{ field: 'rules', reason }],
    cause,
  });
}
