// Credentials for tests: key files in throw-away folders, and an issuer with keys of its own.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { createKey, type KeyRecord, keyFileText, type NewKey } from '../../../../src/api/auth/api-keys.ts';

export const ISSUER = 'https://issuer.example';
export const AUDIENCE = 'feedrank';

export interface KeyFile {
  path: string;
  add(key: NewKey): string;
  write(keys: readonly KeyRecord[]): void;
  remove(): void;
}

export function keyFile(): KeyFile {
  const folder = mkdtempSync(join(tmpdir(), 'feedrank-keys-'));
  const path = join(folder, 'keys.json');
  const keys: KeyRecord[] = [];
  const write = (records: readonly KeyRecord[]) => writeFileSync(path, keyFileText(records));
  write(keys);
  return {
    path,
    write,
    add(key) {
      const { text, record } = createKey(key, new Date());
      keys.push(record);
      write(keys);
      return text;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export interface Issuer {
  jwk: JWK;
  token(claims: object, options?: { issuer?: string; audience?: string; expires?: string }): Promise<string>;
}

export async function issuer(kid: string): Promise<Issuer> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' };
  return {
    jwk,
    token: (claims, options = {}) =>
      new SignJWT({ ...claims })
        .setProtectedHeader({ alg: 'ES256', kid })
        .setIssuer(options.issuer ?? ISSUER)
        .setAudience(options.audience ?? AUDIENCE)
        .setIssuedAt()
        .setExpirationTime(options.expires ?? '5m')
        .sign(privateKey),
  };
}

/** A token that a shared secret signs. */
export function secretToken(secret: string, claims: object, alg = 'HS256'): Promise<string> {
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg })
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setExpirationTime('5m')
    .sign(Buffer.from(secret));
}
