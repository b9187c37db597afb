import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { Authenticator, type AuthSettings } from '../../../../src/api/auth/authenticator.ts';
import { AUDIENCE, ISSUER, issuer, keyFile, secretToken } from './credentials.ts';

const SECRET = 'a shared secret of at least 32 characters';
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function open(settings: AuthSettings, now: () => number = Date.now): Authenticator {
  const auth = new Authenticator(settings, { now, pollMs: 20 });
  cleanups.push(() => auth.close());
  return auth;
}

function keys() {
  const file = keyFile();
  cleanups.push(file.remove);
  return file;
}

const bearer = (text: string) => ({ authorization: `Bearer ${text}` });
const refused = expect.objectContaining({ code: 'unauthorized' });

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('it did not come true within 5 s');
}

describe('an API key', () => {
  it('names its scopes, its user and its limit, in either header', async () => {
    const file = keys();
    const service = file.add({ id: 'backend', scopes: ['feed:read', 'ingest'] });
    const bound = file.add({ id: 'app', scopes: ['feed:read'], user: 'u1', rateLimitPerMinute: 7 });
    const auth = open({ keysFile: file.path });
    expect(await auth.authenticate(bearer(service))).toEqual({
      id: 'key:backend',
      userId: null,
      scopes: new Set(['feed:read', 'ingest']),
      requestsPerMinute: null,
    });
    expect(await auth.authenticate({ 'x-api-key': bound })).toMatchObject({
      userId: 'u1',
      requestsPerMinute: 7,
    });
    await expect(auth.authenticate({ ...bearer(bound), 'x-api-key': bound })).rejects.toEqual(refused);
  });

  it('is stored as a hash only', () => {
    const file = keys();
    const text = file.add({ id: 'one', scopes: ['ops'] });
    const secret = text.split('_').slice(2).join('_');
    expect(secret.length).toBe(43);
    const auth = open({ keysFile: file.path });
    expect(JSON.stringify(auth)).not.toContain(secret);
  });

  it('is refused once expired or revoked, and taken over without a restart', async () => {
    const file = keys();
    let now = Date.now();
    const early = file.add({ id: 'early', scopes: ['ops'], expiresAt: new Date(now + 1000).toISOString() });
    const auth = open({ keysFile: file.path }, () => now);
    await auth.authenticate(bearer(early));
    now += 1000;
    await expect(auth.authenticate(bearer(early))).rejects.toThrow(/expired/);
    const added = file.add({ id: 'added', scopes: ['ops'] });
    await until(() =>
      auth.authenticate(bearer(added)).then(
        () => true,
        () => false,
      ),
    );
    file.write([]);
    await until(() =>
      auth.authenticate(bearer(added)).then(
        () => false,
        () => true,
      ),
    );
  });

  it('stays in force while the newest file is broken, and the reason is named', async () => {
    const file = keys();
    const text = file.add({ id: 'one', scopes: ['ops'] });
    const auth = open({ keysFile: file.path });
    writeFileSync(file.path, '{"keys":[{"id":"one"}]}');
    await until(async () => auth.problems.length === 1);
    expect(auth.problems[0]).toMatch(/API_KEYS_FILE/);
    expect(await auth.authenticate(bearer(text))).toMatchObject({ id: 'key:one' });
  });

  it('does not start with a file that cannot be used', () => {
    expect(() => open({ keysFile: '/does/not/exist.json' })).toThrow(/API_KEYS_FILE/);
  });

  it('of any other text is refused, and the refusal repeats none of it', async () => {
    const file = keys();
    const good = file.add({ id: 'one', scopes: ['ops'] });
    const auth = open({ keysFile: file.path });
    const wrong = fc.oneof(
      fc.string(),
      fc.base64String().map((text) => `frk_one_${text}`),
      fc
        .nat(good.length - 1)
        .map((at) => `${good.slice(0, at)}${good[at] === 'A' ? 'B' : 'A'}${good.slice(at + 1)}`),
    );
    await fc.assert(
      fc.asyncProperty(wrong, async (text) => {
        const failure = await auth.authenticate({ 'x-api-key': text }).then(
          () => null,
          (error: Error & { code: string }) => error,
        );
        expect(failure?.code).toBe('unauthorized');
        if (text.length > 12) expect(failure?.message).not.toContain(text);
      }),
    );
  });
});

describe('a token', () => {
  const secretSettings = { tokens: { issuer: ISSUER, audience: AUDIENCE, keys: { secret: SECRET } } };

  it('binds to its subject, and to nobody with the scope service or admin', async () => {
    const auth = open(secretSettings);
    const ask = async (claims: object) => auth.authenticate(bearer(await secretToken(SECRET, claims)));
    expect(await ask({ sub: 'u1', scope: 'feed:read openid' })).toEqual({
      id: 'jwt:u1',
      userId: 'u1',
      scopes: new Set(['feed:read']),
      requestsPerMinute: null,
    });
    expect(await ask({ sub: 'crawler', scp: ['ingest', 'service'] })).toMatchObject({ userId: null });
    expect(await ask({ sub: 'root', scope: 'admin' })).toMatchObject({ userId: null });
  });

  it.each([
    ['without a subject', { scope: 'admin' }],
    ['with a subject that is no id', { sub: 'a\0b', scope: 'feed:read' }],
    ['with an empty subject', { sub: '', scope: 'feed:read' }],
  ])('%s is refused', async (_, claims) => {
    const auth = open(secretSettings);
    await expect(auth.authenticate(bearer(await secretToken(SECRET, claims)))).rejects.toEqual(refused);
  });

  it('of another issuer, audience, secret or algorithm, or without a signature, is refused', async () => {
    const one = await issuer('k1');
    const folder = mkdtempSync(join(tmpdir(), 'feedrank-jwks-'));
    cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'jwks.json');
    writeFileSync(file, JSON.stringify({ keys: [one.jwk] }));
    const auth = open({ tokens: { issuer: ISSUER, audience: AUDIENCE, keys: { file } } });
    const claims = { sub: 'u1', scope: 'feed:read' };
    expect(await auth.authenticate(bearer(await one.token(claims)))).toMatchObject({ userId: 'u1' });
    const body = Buffer.from(JSON.stringify({ ...claims, iss: ISSUER, aud: AUDIENCE, exp: 9e9 }));
    const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body.toString('base64url')}.`;
    // The classic confusion: the public key, which everybody has, taken as a shared secret.
    const confused = await secretToken(JSON.stringify(one.jwk), claims);
    for (const token of [
      await one.token(claims, { issuer: 'https://other.example' }),
      await one.token(claims, { audience: 'another service' }),
      await one.token(claims, { expires: '-1m' }),
      await (await issuer('k1')).token(claims),
      unsigned,
      confused,
      'a.b.c',
    ]) {
      await expect(auth.authenticate(bearer(token))).rejects.toEqual(refused);
    }
    const bySecret = open(secretSettings);
    await expect(bySecret.authenticate(bearer(await one.token(claims)))).rejects.toEqual(refused);
    await expect(bySecret.authenticate(bearer(await secretToken(SECRET, claims, 'HS512')))).rejects.toEqual(
      refused,
    );
  });

  it('of a new key is accepted once the issuer publishes it, and an issuer that is down locks nobody out', async () => {
    const [old, next] = [await issuer('old'), await issuer('next')];
    let published = [old.jwk];
    let down = false;
    const server = createServer((_request, response) => {
      response.statusCode = down ? 503 : 200;
      response.end(JSON.stringify({ keys: published }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
    const claims = { sub: 'u1', scope: 'feed:read' };
    const settings = { tokens: { issuer: ISSUER, audience: AUDIENCE, keys: { url } } };
    down = true;
    const auth = open(settings);
    await expect(auth.authenticate(bearer(await old.token(claims)))).rejects.toMatchObject({
      code: 'unavailable',
    });
    down = false;
    await auth.authenticate(bearer(await old.token(claims)));
    down = true;
    await auth.authenticate(bearer(await old.token(claims)));
    down = false;
    published = [old.jwk, next.jwk];
    // Asked again at once: the keys were just read, and an unknown key alone must not become a flood of requests.
    await expect(auth.authenticate(bearer(await next.token(claims)))).rejects.toEqual(refused);
    const later = open(settings);
    expect(await later.authenticate(bearer(await next.token(claims)))).toMatchObject({ userId: 'u1' });
    published = [next.jwk];
    const afterRotation = open(settings);
    await expect(afterRotation.authenticate(bearer(await old.token(claims)))).rejects.toEqual(refused);
  });
});

describe('no credentials', () => {
  it.each([{}, { authorization: 'Basic dTpw' }, { authorization: 'Bearer' }, { authorization: '' }])(
    '%j are refused',
    async (headers) => {
      const file = keys();
      await expect(open({ keysFile: file.path }).authenticate(headers)).rejects.toEqual(refused);
    },
  );
});
