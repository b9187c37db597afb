// Keys and tokens on the real process: made by the command, taken over and taken back while it runs; and the starts
// that are refused because they would be open.
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../setup/child-process.ts';
import { freshDataFolder } from '../setup/pglite-template.ts';
import { AUDIENCE, ISSUER, type Issuer, issuer } from '../unit/api/auth/credentials.ts';

const execute = promisify(execFile);
/** A process starts in 3 s, or in 20 on a machine that does other things. */
const START_MS = 90_000;
let folder: Awaited<ReturnType<typeof freshDataFolder>>;
let dir: string;
let keysFile: string;
let base: string;
let child: ChildProcess;
let ended: Promise<unknown>;
let log = '';
let idp: Issuer;

async function keys(...args: string[]): Promise<Record<string, string>> {
  const { stdout } = await execute(process.execPath, ['--no-warnings', 'scripts/keys.ts', ...args], {
    env: { ...process.env, API_KEYS_FILE: keysFile },
  });
  return JSON.parse(stdout);
}

async function statusOf(path: string, credential?: string, init: RequestInit = {}): Promise<number> {
  const headers: Record<string, string> = credential ? { authorization: `Bearer ${credential}` } : {};
  if (init.body) headers['content-type'] = 'application/json';
  return (await fetch(`${base}${path}`, { ...init, headers })).status;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const since = Date.now(); Date.now() - since < START_MS; ) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`it did not come true in time: ${log}`);
}

let backend: string;

beforeAll(async () => {
  folder = await freshDataFolder();
  dir = folder.path;
  keysFile = join(dir, 'keys.json');
  idp = await issuer('k1');
  writeFileSync(join(dir, 'jwks.json'), JSON.stringify({ keys: [idp.jwk] }));
  ({ key: backend } = await keys('create', '--id', 'backend', '--scopes', 'feed:read,events:write,ingest'));
  const port = await freePort();
  base = `http://127.0.0.1:${port}`;
  child = spawn(process.execPath, ['--no-warnings', 'src/main.ts'], {
    env: {
      ...process.env,
      PORT: String(port),
      DATA_DIR: dir,
      RULES_FILE: join(dir, 'none.json'),
      FEED_WORKERS: '1',
      DATABASE_URL: '',
      REDIS_URL: '',
      API_KEYS_FILE: keysFile,
      JWT_ISSUER: ISSUER,
      JWT_AUDIENCE: AUDIENCE,
      JWT_JWKS_FILE: join(dir, 'jwks.json'),
      LOG_LEVEL: 'debug',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (data) => {
      log += data;
    });
  ended = new Promise((resolve) => child.on('exit', resolve));
  await until(() =>
    statusOf('/health/ready').then(
      (status) => status === 200,
      () => false,
    ),
  );
}, START_MS);

afterAll(async () => {
  child.kill('SIGTERM');
  await ended;
  folder.remove();
});

describe('the running service', () => {
  it('lets a service key act for all users, within its scopes', async () => {
    const body = JSON.stringify({
      posts: [{ id: 'p1', authorId: 'a', createdAt: Date.now(), title: 'bread' }],
    });
    expect(await statusOf('/posts', backend, { method: 'POST', body })).toBe(200);
    for (const user of ['u1', 'u2']) expect(await statusOf(`/feed/${user}`, backend)).toBe(200);
    expect(await statusOf('/metrics', backend)).toBe(403);
    expect(await statusOf('/users/u1', backend, { method: 'DELETE' })).toBe(403);
    expect(await statusOf('/feed/u1')).toBe(401);
  });

  it('lets a user’s token see that user only', async () => {
    const token = await idp.token({ sub: 'u1', scope: 'feed:read events:write profile:write' });
    expect(await statusOf('/feed/u1', token)).toBe(200);
    expect(await statusOf('/feed/u2', token)).toBe(403);
    const event = (userId: string) =>
      JSON.stringify({ events: [{ userId, postId: 'p1', type: 'like', at: Date.now() }] });
    expect(await statusOf('/events', token, { method: 'POST', body: event('u1') })).toBe(200);
    expect(await statusOf('/events', token, { method: 'POST', body: event('u2') })).toBe(403);
    expect(await statusOf('/users/u2/follows/a', token, { method: 'PUT' })).toBe(403);
    expect(await statusOf('/users/u2', token, { method: 'DELETE' })).toBe(403);
    expect(await statusOf('/users/u1', token, { method: 'DELETE' })).toBe(200);
  });

  it('takes new and revoked keys over while it runs', async () => {
    const { key } = await keys('create', '--id', 'prometheus', '--scopes', 'ops');
    await until(async () => (await statusOf('/metrics', key)) === 200);
    await keys('revoke', '--id', 'prometheus');
    await until(async () => (await statusOf('/metrics', key)) === 401);
    expect(await statusOf('/feed/u1', backend)).toBe(200);
  });

  it('takes a rotated signing key over', async () => {
    const next = await issuer('k2');
    const [old, fresh] = [
      await idp.token({ sub: 'u3', scope: 'feed:read' }),
      await next.token({ sub: 'u3', scope: 'feed:read' }),
    ];
    expect(await statusOf('/feed/u3', fresh)).toBe(401);
    writeFileSync(join(dir, 'jwks.json'), JSON.stringify({ keys: [next.jwk] }));
    await until(async () => (await statusOf('/feed/u3', fresh)) === 200);
    expect(await statusOf('/feed/u3', old)).toBe(401);
  });

  it('keeps no key, not even in its log; the file is its owner’s alone', () => {
    expect(readFileSync(keysFile, 'utf8')).not.toContain(backend.split('_').slice(2).join('_'));
    expect(statSync(keysFile).mode & 0o077).toBe(0);
    expect(log).not.toContain(backend);
    expect(log).not.toMatch(/eyJ|OPEN:/);
  });
});

describe('a start that would be open', () => {
  const start = (environment: Record<string, string>) =>
    spawnSync(process.execPath, ['--no-warnings', 'src/main.ts'], {
      encoding: 'utf8',
      timeout: START_MS,
      env: { PATH: process.env.PATH ?? '', DATA_DIR: join(dir, 'never'), ...environment },
    });

  it.each([
    ['beyond this machine', { HOST: '0.0.0.0' }, /HOST/],
    [
      'in production',
      {
        PROFILE: 'production',
        DATABASE_URL: 'postgres://127.0.0.1:1/x',
        REDIS_URL: 'redis://127.0.0.1:1',
        CURSOR_SECRET: 'a secret of enough characters',
      },
      /API_KEYS_FILE or JWT_ISSUER/,
    ],
    ['for want of its key file', { API_KEYS_FILE: '/does/not/exist.json' }, /API_KEYS_FILE/],
  ])(
    '%s is refused, and says what to set',
    (_, environment, reason) => {
      const { status, stderr } = start(environment);
      expect(status).toBe(1);
      expect(stderr).toMatch(reason);
    },
    START_MS,
  );
});
