import { describe, expect, it } from 'vitest';
import { authSettings } from '../../src/auth-settings.ts';
import { readConfig } from '../../src/config.ts';

const STORES = {
  PROFILE: 'production',
  DATABASE_URL: 'postgres://db/x',
  REDIS_URL: 'redis://cache',
  CURSOR_SECRET: 'a secret of enough characters',
};
const TOKENS = { JWT_ISSUER: 'https://issuer.example', JWT_AUDIENCE: 'feedrank' };
const SECRET = { JWT_SECRET: 'x'.repeat(32) };

describe('secure by default', () => {
  it('production does not start open, whatever else is set', () => {
    expect(() => readConfig(STORES)).toThrow(/API_KEYS_FILE or JWT_ISSUER/);
    expect(() => readConfig({ ...STORES, AUTH_OPEN: 'true' })).toThrow(/API_KEYS_FILE or JWT_ISSUER/);
    expect(readConfig({ ...STORES, API_KEYS_FILE: 'keys.json' }).PROFILE).toBe('production');
    expect(readConfig({ ...STORES, ...TOKENS, ...SECRET }).PROFILE).toBe('production');
  });

  it('development is open on this machine only, unless it is said aloud', () => {
    expect(authSettings(readConfig({}))).toBeNull();
    for (const host of ['127.0.0.1', 'localhost', '::1']) expect(readConfig({ HOST: host }).HOST).toBe(host);
    for (const host of ['0.0.0.0', '::', '192.168.1.5', 'feedrank.example', '127.0.0.1.example.com'])
      expect(() => readConfig({ HOST: host })).toThrow(/HOST.*AUTH_OPEN=true/);
    expect(readConfig({ HOST: '0.0.0.0', AUTH_OPEN: 'true' }).HOST).toBe('0.0.0.0');
    expect(readConfig({ HOST: '0.0.0.0', API_KEYS_FILE: 'keys.json' }).HOST).toBe('0.0.0.0');
  });
});

describe('settings of tokens', () => {
  it.each([
    ['an issuer alone', { JWT_ISSUER: TOKENS.JWT_ISSUER }],
    ['no audience', { JWT_ISSUER: TOKENS.JWT_ISSUER, ...SECRET }],
    ['no issuer', { JWT_AUDIENCE: 'feedrank', ...SECRET }],
    ['no source of keys', TOKENS],
    ['two sources of keys', { ...TOKENS, ...SECRET, JWT_JWKS_FILE: 'jwks.json' }],
    ['keys fetched in clear text', { ...TOKENS, JWT_JWKS_URL: 'http://issuer.example/jwks' }],
    ['a short secret', { ...TOKENS, JWT_SECRET: 'short' }],
  ])('with %s do not start', (_, settings) => {
    expect(() => readConfig(settings)).toThrow(/JWT_/);
  });

  it('name one source of keys', () => {
    const read = (settings: Record<string, string>) => authSettings(readConfig({ ...TOKENS, ...settings }));
    const of = (keys: object) => ({
      keysFile: undefined,
      tokens: { issuer: TOKENS.JWT_ISSUER, audience: 'feedrank', keys },
    });
    expect(read(SECRET)).toEqual(of({ secret: SECRET.JWT_SECRET }));
    expect(read({ JWT_JWKS_FILE: 'jwks.json' })).toEqual(of({ file: 'jwks.json' }));
    const url = 'https://issuer.example/jwks';
    expect(read({ JWT_JWKS_URL: url })).toEqual(of({ url }));
    expect(read({ JWT_JWKS_URL: 'http://127.0.0.1:9/jwks' })).toEqual(of({ url: 'http://127.0.0.1:9/jwks' }));
  });
});

describe('trusted proxies', () => {
  it.each(['10.0.0.0/8', '192.168.1.7', '10.0.0.0/8, fd00::/8,::1', 'loopback', '1.2.3.4/32'])(
    'are %s',
    (ranges) => {
      expect(readConfig({ TRUST_PROXY: ranges }).TRUST_PROXY).toBe(ranges);
    },
  );

  it.each([
    '1',
    'true',
    '*',
    '0.0.0.0/0',
    '::/0',
    '10.0.0.0/33',
    '10.0.0.0/8/8',
    '10.0.0',
    'proxy.example',
    '10.0.0.1,',
  ])('are not %s', (ranges) => {
    expect(() => readConfig({ TRUST_PROXY: ranges })).toThrow(/TRUST_PROXY/);
  });
});
