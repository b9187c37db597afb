// SIGTERM to the real process with requests in flight: readiness says no and why, what was begun is finished, what
// still comes is served, idle connections are closed, and the process ends by itself with 0.
import { type ChildProcess, spawn } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../setup/child-process.ts';
import { freshDataFolder } from '../setup/pglite-template.ts';

const DRAIN_DELAY_MS = 1500;
let folder: Awaited<ReturnType<typeof freshDataFolder>>;
let dataDir: string;
let child: ChildProcess;
let port: number;
let ended: Promise<number | null>;
let log = '';

beforeAll(async () => {
  folder = await freshDataFolder();
  dataDir = folder.path;
  port = await freePort();
  child = spawn(process.execPath, ['--no-warnings', 'src/main.ts'], {
    env: {
      ...process.env,
      PORT: String(port),
      DATA_DIR: dataDir,
      RULES_FILE: join(dataDir, 'none.json'),
      FEED_WORKERS: '1',
      DRAIN_DELAY_MS: String(DRAIN_DELAY_MS),
      PROFILE: 'development',
      DATABASE_URL: '',
      REDIS_URL: '',
      LOG_LEVEL: 'info',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout?.on('data', (data) => {
    log += data;
  });
  ended = new Promise((resolve) => child.on('exit', resolve));
  for (let i = 0; ; i++) {
    const ready = await fetch(`http://127.0.0.1:${port}/health/ready`).catch(() => null);
    if (ready?.status === 200) break;
    if (i > 800) throw new Error(`the service does not start: ${log}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}, 90_000);

afterAll(async () => {
  child.kill('SIGKILL');
  await ended;
  folder.remove();
});

/** A connection whose bytes are collected; `closed` resolves with all of them. */
function open(): { socket: Socket; text(): string; closed: Promise<string> } {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  socket.on('error', () => {});
  return {
    socket,
    text: () => text,
    closed: new Promise((resolve) => socket.on('close', () => resolve(text))),
  };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('it did not come true within 10 s');
}

describe('SIGTERM', () => {
  it('drains: not ready, all begun requests answered, connections closed, exit 0', async () => {
    const post = { id: 'p1', authorId: 'a', createdAt: Date.now(), title: 'the last post' };
    const body = JSON.stringify({ posts: [post] });
    const writing = open();
    writing.socket.write(
      `POST /posts HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`,
    );
    writing.socket.write(body.slice(0, 10));
    const idle = open();
    idle.socket.write('GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n');
    await until(() => idle.text().includes('"ok"'));
    expect(idle.text()).toMatch(/connection: keep-alive/i);

    child.kill('SIGTERM');
    await until(async () => (await fetch(`http://127.0.0.1:${port}/health/ready`)).status === 503);
    const ready = await fetch(`http://127.0.0.1:${port}/health/ready`);
    expect(ready.headers.get('connection')).toBe('close');
    expect(((await ready.json()) as { reasons: string[] }).reasons).toEqual(['draining after SIGTERM']);
    // A balancer that has not noticed yet loses nothing.
    expect((await fetch(`http://127.0.0.1:${port}/feed/u1`)).status).toBe(200);
    expect((await fetch(`http://127.0.0.1:${port}/health/live`)).status).toBe(200);

    const idleText = await idle.closed;
    expect(idleText.match(/HTTP\/1\.1/g)).toHaveLength(1);
    // The listener is closed by now; the request that began before still has its answer.
    await until(() =>
      fetch(`http://127.0.0.1:${port}/health/live`).then(
        () => false,
        () => true,
      ),
    );
    writing.socket.write(body.slice(10));
    const answer = await writing.closed;
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).toMatch(/connection: close/i);
    expect(answer).toContain('"stored":1');
    expect(await ended).toBe(0);
    const messages = log
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { msg: string });
    expect(messages.map(({ msg }) => msg)).toContain('draining');
  });
});
