import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { HttpClient } from '../../../scripts/load-test/http-client.ts';
import { type HttpAnswer, HttpResponseReader } from '../../../scripts/load-test/http-response.ts';

const LENGTH = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nretry-after: 3\r\n\r\nhello';
const CHUNKED =
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n6;x=y\r\npedia \r\n0\r\nTrailer: 1\r\n\r\n';
const INTERIM = 'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n';

describe('HttpResponseReader', () => {
  test.each([
    ['by length', LENGTH, { status: 503, retryAfter: 3, body: 'hello' }],
    ['chunked', CHUNKED, { status: 200, retryAfter: null, body: 'Wikipedia ' }],
    ['after an interim answer, without a body', INTERIM, { status: 204, retryAfter: null, body: '' }],
  ])('reads an answer %s, however the bytes are cut', (_, text, expected) => {
    const bytes = Buffer.from(text);
    const cuts = fc.array(fc.integer({ min: 1, max: bytes.length - 1 }), { maxLength: 8 });
    fc.assert(
      fc.property(cuts, (at) => {
        const edges = [0, ...[...new Set(at)].sort((a, b) => a - b), bytes.length];
        const reader = new HttpResponseReader();
        const answers = edges.slice(1).map((end, i) => reader.push(bytes.subarray(edges[i], end)));
        const answer = answers.pop();
        expect(answers.every((early) => early === null)).toBe(true);
        expect({ ...answer, body: answer?.body.toString() }).toEqual(expected);
        expect(reader.reusable).toBe(true);
      }),
    );
  });

  test('without a length the answer ends with the connection', () => {
    const reader = new HttpResponseReader();
    expect(reader.push(Buffer.from('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall'))).toBeNull();
    expect(reader.end()?.body.toString()).toBe('all');
    expect(reader.reusable).toBe(false);
  });

  test('an answer that breaks off is none', () => {
    const reader = new HttpResponseReader();
    expect(reader.push(Buffer.from(LENGTH.slice(0, -1)))).toBeNull();
    expect(reader.end()).toBeNull();
  });

  test.each([
    'SSH-2.0-OpenSSH\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    'x'.repeat(70_000),
  ])('refuses what is no answer', (text) => {
    expect(() => new HttpResponseReader().push(Buffer.from(text))).toThrow(/the answer/);
  });
});

describe('HttpClient', () => {
  let server: Server;
  let client: HttpClient;
  const sockets: Socket[] = [];

  async function serve(onRequest: (socket: Socket, connection: number) => void): Promise<void> {
    let connections = 0;
    server = createServer((socket) => {
      const connection = connections++;
      sockets.push(socket);
      socket.on('error', () => {});
      socket.on('data', () => onRequest(socket, connection));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    client = new HttpClient('127.0.0.1', (server.address() as AddressInfo).port);
  }

  function ask(): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const failed = (reason: string) => reject(new Error(reason));
      client.send('GET / HTTP/1.1\r\nhost: x\r\n\r\n', { answered: resolve, failed });
    });
  }

  afterEach(async () => {
    client.close();
    for (const socket of sockets.splice(0)) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  test('keeps connections, and opens one for every request in flight', async () => {
    await serve((socket) => socket.write(LENGTH));
    await ask();
    await ask();
    expect(sockets).toHaveLength(1);
    const answers = await Promise.all([ask(), ask(), ask()]);
    expect(answers.map(({ status }) => status)).toEqual([503, 503, 503]);
    expect(sockets).toHaveLength(3);
  });

  test('sends again when the kept connection was closed under the request', async () => {
    const asked = [0, 0];
    await serve((socket, connection) => {
      asked[connection]++;
      if (connection === 0 && asked[0] === 2) socket.destroy();
      else socket.write(LENGTH);
    });
    await ask();
    expect((await ask()).body.toString()).toBe('hello');
    expect([client.resent, ...asked]).toEqual([1, 2, 1]);
  });

  test('a connection lost within the answer, or before any, fails the request', async () => {
    await serve((socket) => socket.end(LENGTH.slice(0, -1)));
    await expect(ask()).rejects.toThrow('closed before the answer');
    expect(client.resent).toBe(0);
  });

  test('nobody listening fails the request by the system’s code', async () => {
    await serve(() => {});
    const free = new HttpClient('127.0.0.1', 1);
    const reason = new Promise((resolve) =>
      free.send('GET / HTTP/1.1\r\n\r\n', { answered: resolve, failed: resolve }),
    );
    expect(await reason).toBe('ECONNREFUSED');
  });

  test('a cancelled request calls back no more', async () => {
    await serve((socket) => setTimeout(() => socket.write(LENGTH), 30));
    let called = false;
    const note = () => {
      called = true;
    };
    client.send('GET / HTTP/1.1\r\nhost: x\r\n\r\n', { answered: note, failed: note })();
    await ask();
    expect(called).toBe(false);
  });
});
