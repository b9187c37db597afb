import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTcpProxy, type TcpProxy } from '../../setup/tcp-proxy.ts';

/** Answers what it is sent. */
let server: Server;
let proxy: TcpProxy;
let client: Socket;

beforeEach(async () => {
  server = createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  proxy = await startTcpProxy({ host: '127.0.0.1', port });
  client = connect(proxy.port, '127.0.0.1');
  client.on('error', () => {});
});
afterEach(async () => {
  client.destroy();
  await proxy.close();
  await new Promise((resolve) => server.close(resolve));
});

/** The echo of a text, or `closed`; null when neither comes within the time. */
function echo(text: string, withinMs = 2000): Promise<string | null> {
  const socket = client;
  return new Promise((resolve) => {
    let received = '';
    const end = (what: string | null) => {
      clearTimeout(timer);
      socket.removeAllListeners('data');
      resolve(what);
    };
    const timer = setTimeout(() => end(null), withinMs);
    socket.on('data', (data) => {
      received += data;
      if (received.length >= text.length) end(received);
    });
    socket.once('close', () => end(received === '' ? 'closed' : `closed after ${received}`));
    socket.write(text);
  });
}

describe('the fault proxy', () => {
  it('passes bytes and counts connections and chunks', async () => {
    expect(await echo('hello')).toBe('hello');
    expect(proxy.counts()).toEqual({ connections: 1, fromClients: 1 });
  });

  it('delays both directions and keeps the order', async () => {
    proxy.delay(60);
    const startedAt = performance.now();
    client.write('a');
    expect(await echo('bc')).toMatch(/^ab/);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(115);
  });

  it('goes on without delay when the delay is over', async () => {
    proxy.delay(50);
    client.write('a');
    await new Promise((resolve) => setTimeout(resolve, 10));
    proxy.delay(0);
    expect(await echo('bc')).toMatch(/^ab/);
  });

  it('throttles', async () => {
    proxy.throttle(1000);
    const startedAt = performance.now();
    expect(await echo('x'.repeat(100), 5000)).toHaveLength(100);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(190);
  });

  it('is a black hole when silent', async () => {
    expect(await echo('a')).toBe('a');
    proxy.mode('silent');
    expect(await echo('b', 150)).toBeNull();
  });

  it('cuts answers after their first byte', async () => {
    expect(await echo('a')).toBe('a');
    proxy.mode('drop');
    expect(await echo('hello')).toBe('closed after h');
  });

  it('resets what is open and what comes', async () => {
    expect(await echo('a')).toBe('a');
    proxy.mode('refuse');
    await new Promise((resolve) => (client.closed ? resolve(null) : client.once('close', resolve)));
    client = connect(proxy.port, '127.0.0.1');
    client.on('error', () => {});
    await new Promise((resolve) => client.once('close', resolve));
    proxy.mode('pass');
    client = connect(proxy.port, '127.0.0.1');
    expect(await echo('again')).toBe('again');
  });
});
