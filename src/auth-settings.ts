// What the settings of keys and tokens must say together: nothing is open by accident. Called by config.ts; compose
// takes the authenticator's settings from here.
import type { AuthSettings } from './api/auth/authenticator.ts';
import type { SigningKeys } from './api/auth/token-verifier.ts';
import type { Config } from './config.ts';

type AuthConfig = Pick<
  Config,
  | 'PROFILE'
  | 'HOST'
  | 'API_KEYS_FILE'
  | 'JWT_ISSUER'
  | 'JWT_AUDIENCE'
  | 'JWT_JWKS_URL'
  | 'JWT_JWKS_FILE'
  | 'JWT_SECRET'
  | 'AUTH_OPEN'
>;

const KEY_SOURCES = ['JWT_JWKS_URL', 'JWT_JWKS_FILE', 'JWT_SECRET'] as const;

/** null when the service asks nobody for credentials. */
export function authSettings(config: AuthConfig): AuthSettings | null {
  const { API_KEYS_FILE: keysFile, JWT_ISSUER: issuer, JWT_AUDIENCE: audience } = config;
  const keys = signingKeys(config);
  const tokens = issuer && audience && keys ? { issuer, audience, keys } : undefined;
  return keysFile === undefined && tokens === undefined ? null : { keysFile, tokens };
}

/** One line for each combination that must not start. */
export function authProblems(config: AuthConfig): string[] {
  const problems: string[] = [];
  const sources = KEY_SOURCES.filter((key) => config[key] !== undefined);
  const named = (['JWT_ISSUER', 'JWT_AUDIENCE'] as const).filter((key) => config[key] !== undefined);
  if (sources.length > 1) problems.push(`${sources.join(', ')}: give one source of signing keys`);
  if ((sources.length > 0 || named.length > 0) && (sources.length === 0 || named.length < 2)) {
    problems.push(`JWT_ISSUER, JWT_AUDIENCE and one of ${KEY_SOURCES.join(', ')}: needed together`);
  }
  const url = config.JWT_JWKS_URL && new URL(config.JWT_JWKS_URL);
  if (url && url.protocol !== 'https:' && !isLoopback(url.hostname)) {
    problems.push('JWT_JWKS_URL: must be https, or signing keys could be replaced on the way');
  }
  if (authSettings(config) === null) {
    if (config.PROFILE === 'production')
      problems.push(
        'API_KEYS_FILE or JWT_ISSUER: required when PROFILE=production, or everybody reads every feed',
      );
    else if (!isLoopback(config.HOST) && !config.AUTH_OPEN)
      problems.push(
        `HOST: ${config.HOST} is reached by others; set API_KEYS_FILE or JWT_ISSUER first, or AUTH_OPEN=true`,
      );
  }
  return problems;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

function signingKeys({ JWT_JWKS_URL, JWT_JWKS_FILE, JWT_SECRET }: AuthConfig): SigningKeys | undefined {
  if (JWT_JWKS_URL !== undefined) return { url: JWT_JWKS_URL };
  if (JWT_JWKS_FILE !== undefined) return { file: JWT_JWKS_FILE };
  return JWT_SECRET === undefined ? undefined : { secret: JWT_SECRET };
}
