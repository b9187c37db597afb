// API keys in force: read from the key file, which may change while the service runs. Called by authenticator.ts.
import { FeedrankError, messageOf } from '../../errors.ts';
import { WatchedFile } from '../../watched-file.ts';
import { type KeyRecord, keyMatches, parseKeyFile, readKey } from './api-keys.ts';
import type { Principal } from './scopes.ts';

export class KeyRing {
  readonly #file: WatchedFile<ReadonlyMap<string, KeyRecord>>;
  readonly #now: () => number;

  /** @throws Error that names API_KEYS_FILE when the file cannot be used. */
  constructor(path: string, now: () => number, onReload: (problem: string | null) => void, pollMs?: number) {
    this.#now = now;
    this.#file = new WatchedFile(path, {
      parse: (text) => new Map(parseKeyFile(text).map((record) => [record.id, record])),
      failure: (error) => new Error(`API_KEYS_FILE ${path}: ${messageOf(error)}`, { cause: error }),
      onReload: (_, problem) => onReload(problem),
      pollMs,
    });
  }

  get problem(): string | null {
    return this.#file.problem;
  }

  close(): void {
    this.#file.close();
  }

  /** @throws FeedrankError `unauthorized`; the reason tells a wrong key from an expired one only to who has the secret. */
  authenticate(text: string): Principal {
    const key = readKey(text);
    const record = key ? this.#file.value.get(key.id) : undefined;
    if (!keyMatches(record, key?.secret ?? '') || !record) throw refused('the key is not valid');
    if (record.revokedAt !== undefined) throw refused('the key was revoked');
    if (record.expiresAt !== undefined && Date.parse(record.expiresAt) <= this.#now())
      throw refused('the key has expired');
    return {
      id: `key:${record.id}`,
      userId: record.user ?? null,
      scopes: new Set(record.scopes),
      requestsPerMinute: record.rateLimitPerMinute ?? null,
    };
  }
}

function refused(reason: string): FeedrankError {
  return new FeedrankError('unauthorized', reason);
}
