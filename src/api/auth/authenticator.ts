// Whose request it is: a key or a token in its headers → a principal. compose opens it; absent, the service is open.
import type { IncomingHttpHeaders } from 'node:http';
import { FeedrankError } from '../../errors.ts';
import { KeyRing } from './key-ring.ts';
import type { Principal } from './scopes.ts';
import { type TokenSettings, TokenVerifier } from './token-verifier.ts';

export interface AuthSettings {
  keysFile?: string;
  tokens?: TokenSettings;
}

export interface AuthOptions {
  now?: () => number;
  /** Called after each re-read of a file or key set; null when it is in use. */
  onReload?: (problem: string | null) => void;
  pollMs?: number;
}

const BEARER = /^Bearer +(\S+)$/i;

export class Authenticator {
  readonly #keys: KeyRing | undefined;
  readonly #tokens: TokenVerifier | undefined;

  /** @throws Error that names the setting whose file cannot be used. */
  constructor({ keysFile, tokens }: AuthSettings, options: AuthOptions = {}) {
    const { now = Date.now, onReload = () => {}, pollMs } = options;
    this.#keys = keysFile === undefined ? undefined : new KeyRing(keysFile, now, onReload, pollMs);
    this.#tokens = tokens && new TokenVerifier(tokens, now, onReload);
  }

  /** What of the configuration is not in force, for /health/ready. */
  get problems(): string[] {
    return [this.#keys?.problem, this.#tokens?.problem].filter((problem) => typeof problem === 'string');
  }

  /**
   * Reads `Authorization: Bearer …` (key or token) or `X-API-Key: …`.
   * @throws FeedrankError `unauthorized`, or `unavailable` when tokens cannot be verified now.
   */
  async authenticate(headers: IncomingHttpHeaders): Promise<Principal> {
    const { authorization, 'x-api-key': key } = headers;
    if (authorization !== undefined && key !== undefined)
      throw new FeedrankError('unauthorized', 'send either Authorization or X-API-Key');
    if (typeof key === 'string') return this.#byKey(key);
    if (authorization === undefined)
      throw new FeedrankError('unauthorized', 'send a key or a token: Authorization: Bearer …');
    const bearer = BEARER.exec(authorization)?.[1];
    if (bearer === undefined) throw new FeedrankError('unauthorized', 'send Authorization: Bearer …');
    if (bearer.startsWith('frk_')) return this.#byKey(bearer);
    if (!this.#tokens) throw new FeedrankError('unauthorized', 'tokens are not accepted here, only keys');
    return this.#tokens.authenticate(bearer);
  }

  /** Whether it carries a key that is in force and acts for all users; takes microseconds. */
  isServiceKey({ authorization, 'x-api-key': key }: IncomingHttpHeaders): boolean {
    const text = typeof key === 'string' ? key : BEARER.exec(authorization ?? '')?.[1];
    if (!this.#keys || !text?.startsWith('frk_')) return false;
    try {
      return this.#keys.authenticate(text).userId === null;
    } catch {
      return false;
    }
  }

  close(): void {
    this.#keys?.close();
    this.#tokens?.close();
  }

  #byKey(text: string): Principal {
    if (!this.#keys) throw new FeedrankError('unauthorized', 'keys are not accepted here, only tokens');
    return this.#keys.authenticate(text);
  }
}
