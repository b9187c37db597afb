// JSON Web Tokens: signature, issuer, audience, expiry, then subject and scopes. The signing keys come from one source
// only, and the source decides which algorithms count, so that a public key is never taken for a shared secret.
import { createSecretKey } from 'node:crypto';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { FeedrankError, messageOf } from '../../errors.ts';
import { idSchema } from '../../features/domain-schema.ts';
import { WatchedFile } from '../../watched-file.ts';
import { isScope, type Principal, SERVICE_SCOPE } from './scopes.ts';

export type SigningKeys = { url: string } | { file: string } | { secret: string };

export interface TokenSettings {
  issuer: string;
  audience: string;
  keys: SigningKeys;
}

const PUBLIC_KEY_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'EdDSA',
];
const CLOCK_TOLERANCE_S = 5;
/** Keys are fetched again so often; a key that is not known yet is looked for at once, at most this often. */
const REFRESH_MS = 10 * 60_000;
const COOLDOWN_MS = 10_000;
const FETCH_MS = 3000;

export class TokenVerifier {
  readonly #settings: TokenSettings;
  readonly #key: JWTVerifyGetKey;
  readonly #algorithms: string[];
  readonly #now: () => number;
  readonly #file: WatchedFile<JWTVerifyGetKey> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @throws Error that names JWT_JWKS_FILE when the file cannot be used. An URL is first asked by the first token. */
  constructor(settings: TokenSettings, now: () => number, onReload: (problem: string | null) => void) {
    this.#settings = settings;
    this.#now = now;
    const { keys } = settings;
    this.#algorithms = 'secret' in keys ? ['HS256'] : PUBLIC_KEY_ALGORITHMS;
    if ('secret' in keys) {
      const secret = createSecretKey(Buffer.from(keys.secret));
      this.#key = async () => secret;
    } else if ('file' in keys) {
      const file = new WatchedFile<JWTVerifyGetKey>(keys.file, {
        parse: localKeys,
        failure: (error) => new Error(`JWT_JWKS_FILE ${keys.file}: ${messageOf(error)}`, { cause: error }),
        onReload: (_, problem) => onReload(problem),
      });
      this.#file = file;
      this.#key = (header, token) => file.value(header, token);
    } else {
      // Kept without end and refreshed beside the requests: an issuer that is down does not lock its users out.
      const remote = createRemoteJWKSet(new URL(keys.url), {
        cacheMaxAge: Number.POSITIVE_INFINITY,
        cooldownDuration: COOLDOWN_MS,
        timeoutDuration: FETCH_MS,
      });
      this.#key = (header, token) => remote(header, token).catch(rethrowAsUnavailable);
      this.#timer = setInterval(() => {
        remote.reload().then(
          () => onReload(null),
          () => onReload('JWT_JWKS_URL: the signing keys cannot be read; the last ones stay in use'),
        );
      }, REFRESH_MS);
      this.#timer.unref();
    }
  }

  get problem(): string | null {
    return this.#file?.problem ?? null;
  }

  close(): void {
    this.#file?.close();
    clearInterval(this.#timer);
  }

  /** @throws FeedrankError `unauthorized`, or `unavailable` while the signing keys were never read. */
  async authenticate(token: string): Promise<Principal> {
    const { issuer, audience } = this.#settings;
    try {
      const { payload } = await jwtVerify(token, this.#key, {
        issuer,
        audience,
        algorithms: this.#algorithms,
        clockTolerance: CLOCK_TOLERANCE_S,
        requiredClaims: ['exp', 'sub'],
        currentDate: new Date(this.#now()),
      });
      return principalOf(payload);
    } catch (error) {
      throw asRefusal(error);
    }
  }
}

function localKeys(text: string): JWTVerifyGetKey {
  let keys: unknown;
  try {
    keys = JSON.parse(text);
  } catch {
    throw new FeedrankError('invalid_input', 'is not JSON');
  }
  return createLocalJWKSet(keys as JSONWebKeySet);
}

function principalOf(payload: JWTPayload): Principal {
  const subject = idSchema.safeParse(payload.sub);
  if (!subject.success) throw new FeedrankError('unauthorized', 'the token has no usable subject');
  const names = scopeNames(payload);
  const scopes = new Set(names.filter(isScope));
  const everyone = names.includes(SERVICE_SCOPE) || scopes.has('admin');
  return {
    id: `jwt:${subject.data}`,
    userId: everyone ? null : subject.data,
    scopes,
    requestsPerMinute: null,
  };
}

/** `scope` as in RFC 8693 (words in one text), or `scp` as some issuers write it (text or list). */
function scopeNames({ scope, scp }: JWTPayload): string[] {
  const given = scope ?? scp;
  if (typeof given === 'string') return given.split(' ');
  return Array.isArray(given) ? given.filter((name) => typeof name === 'string') : [];
}

function asRefusal(error: unknown): FeedrankError {
  if (error instanceof FeedrankError) return error;
  if (error instanceof errors.JWTExpired) return new FeedrankError('unauthorized', 'the token has expired');
  const reason =
    error instanceof errors.JWTClaimValidationFailed
      ? `the token's ${error.claim} is not accepted`
      : 'the token is not valid';
  return new FeedrankError('unauthorized', reason, { cause: error });
}

/** Tells a set of keys that cannot be read from one that has no key for this token. */
function rethrowAsUnavailable(error: unknown): never {
  if (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  )
    throw error;
  throw new FeedrankError('unavailable', 'the keys that tokens are signed with cannot be read', {
    retryAfterSeconds: 5,
    cause: error,
  });
}
