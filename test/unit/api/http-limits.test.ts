// What bytes on a socket may do: how long, how much, how deep. A listening application, spoken to by hand.
import { type AddressInfo, connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deeperThan, MAX_JSON_DEPTH } from '../../../src/api/json-body.ts';
import { problemSchema } from '../../../src/api/response-schemas.ts';
import { downBackends, openWorld, type World } from './world.ts';

let world: World;
let port: number;

beforeAll(async () => {
  world = await openWorld(downBackends(), {
    config: { docs: true, headersTimeoutMs: 300, requestTimeoutMs: 800, bodyLimitBytes: 4096 },
  });
  await world.app.listen({ host: '127.0.0.1', port: 0 });
  port = (world.app.server.address() as AddressInfo).port;
});
afterAll(() => world.close());

function open(): { socket: Socket; received: Promise<string> } {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  socket.on('error', () => {});
  return { socket, received: new Promise((resolve) => socket.on('close', () => resolve(text))) };
}

function problemIn(text: string) {
  return problemSchema.parse(JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)));
}

describe('a slow client', () => {
  it('that never ends its headers is turned away with 408', async () => {
    const { socket, received } = open();
    socket.write('GET /feed/u1 HTTP/1.1\r\nhost: x\r\nx-a: ');
    const drip = setInterval(() => socket.write('a'), 50);
    const text = await received;
    clearInterval(drip);
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(problemIn(text)).toMatchObject({ code: 'timeout', status: 408 });
  });

  it('that never ends its body is turned away with 408', async () => {
    const { socket, received } = open();
    socket.write(
      'POST /events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{',
    );
    const drip = setInterval(() => socket.write(' '), 50);
    const text = await received;
    clearInterval(drip);
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('hinders nobody else, be they five hundred', async () => {
    const slow = Array.from({ length: 500 }, open);
    for (const { socket } of slow) socket.write('GET /feed/u1 HTTP/1.1\r\nhost: x\r\nx-a: ');
    const answer = await fetch(`http://127.0.0.1:${port}/health/live`);
    expect(answer.status).toBe(200);
    const texts = await Promise.all(slow.map(({ received }) => received));
    expect(texts.every((text) => text.startsWith('HTTP/1.1 408 '))).toBe(true);
  });
});

describe('a request that is too large', () => {
  it('in its headers is refused with 431, in its body with 413', async () => {
    const { socket, received } = open();
    socket.write(`GET / HTTP/1.1\r\nhost: x\r\nx-a: ${'a'.repeat(20_000)}\r\n\r\n`);
    expect(await received).toMatch(/^HTTP\/1\.1 431 /);
    const answer = await fetch(`http://127.0.0.1:${port}/users/u1`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ topics: ['x'.repeat(5000)] }),
    });
    expect(answer.status).toBe(413);
  });
});

describe('JSON', () => {
  it('nested too deeply is refused before it is parsed', async () => {
    const deep = `${'['.repeat(1000)}${']'.repeat(1000)}`;
    const response = await world.app.inject({
      method: 'POST',
      url: '/posts',
      headers: { 'content-type': 'application/json' },
      payload: `{"posts":[{"extra":${deep}}]}`,
    });
    expect(response.statusCode).toBe(400);
    expect(problemSchema.parse(response.json()).fields).toEqual([
      { field: 'body', reason: `is nested deeper than ${MAX_JSON_DEPTH} levels` },
    ]);
  });

  it('of any content is measured as deep as it is', () => {
    const depthOf = (value: unknown): number =>
      typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.nat(5), (value, limit) => {
        for (const text of [JSON.stringify(value), JSON.stringify(value, null, 1)])
          expect(deeperThan(text, limit)).toBe(depthOf(value) > limit);
      }),
      { numRuns: 50 },
    );
  });

  it('that sets a prototype is refused', async () => {
    for (const payload of ['{"__proto__":{"a":1}}', '{"constructor":{"prototype":{"a":1}}}']) {
      const response = await world.app.inject({
        method: 'PUT',
        url: '/users/u1',
        headers: { 'content-type': 'application/json' },
        payload,
      });
      expect(response.statusCode).toBe(400);
    }
  });
});

describe('every answer', () => {
  it('carries the security headers, and may be kept by nobody', async () => {
    for (const url of ['/feed/u1', '/users/u1', '/no/such/route', '/feed/u1?limit=0', '/posts/p1']) {
      const { headers } = await world.app.inject(url);
      expect(headers['content-security-policy'], url).toContain("default-src 'none'");
      expect(headers['x-content-type-options']).toBe('nosniff');
      expect(headers['strict-transport-security']).toMatch(/max-age=\d{7,}/);
      expect(headers['referrer-policy']).toBe('no-referrer');
      expect(headers['x-powered-by']).toBeUndefined();
      expect(headers['cache-control'], url).toMatch(/no-store/);
    }
    expect((await world.app.inject('/feed/u1')).headers['cache-control']).toBe('private, no-store');
  });

  it('of the documentation lets its own scripts run, and none from elsewhere or inline', async () => {
    const page = await world.app.inject('/docs/');
    expect(page.statusCode).toBe(200);
    const policy = String(page.headers['content-security-policy']);
    expect(policy).toContain("script-src 'self';");
    const sources = [...page.body.matchAll(/<script[^>]*>/g)].map(([tag]) => /src="([^"]+)"/.exec(tag)?.[1]);
    expect(sources.length).toBeGreaterThan(0);
    for (const source of sources) {
      expect(source).toMatch(/^\.?\//);
      const script = await world.app.inject(new URL(String(source), 'http://x/docs/').pathname);
      expect(script.statusCode).toBe(200);
      expect(script.headers['content-type']).toContain('javascript');
    }
  });
});
