import { readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERROR_CATALOGUE } from '../../../src/api/error-catalogue.ts';
import { asFeedrankError, problemOf } from '../../../src/api/errors.ts';
import { problemSchema } from '../../../src/api/response-schemas.ts';
import { FeedrankError } from '../../../src/errors.ts';
import { type Backends, downBackends, openWorld, type World } from './world.ts';

const SRC = join(import.meta.dirname, '../../../src');

/** `code | status` rows of ERRORS.md. */
function documented(): Map<string, number> {
  const text = readFileSync(join(SRC, 'api/ERRORS.md'), 'utf8');
  return new Map(
    [...text.matchAll(/^\| `(\w+)`\s*\| (\d+)\s*\|/gm)].map(([, code, status]) => [code, Number(status)]),
  );
}

/** Codes that the sources raise: `new FeedrankError('code'`. */
function raised(): Set<string> {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  const sources = files.map((file) => readFileSync(join(SRC, file), 'utf8')).join('\n');
  return new Set([...sources.matchAll(/new FeedrankError\(\s*'(\w+)'/g)].map(([, code]) => code));
}

describe('error codes', () => {
  it('are each documented with their status, and nothing else is', () => {
    const catalogue = Object.entries(ERROR_CATALOGUE).map(([code, { status }]) => [code, status]);
    expect([...documented()].sort()).toEqual(catalogue.sort());
  });

  it('raised anywhere in the sources are in the catalogue', () => {
    expect([...raised()].filter((code) => !(code in ERROR_CATALOGUE))).toEqual([]);
    expect(raised().size).toBeGreaterThan(5);
  });

  it('become problems of their status', () => {
    for (const [code, { status }] of Object.entries(ERROR_CATALOGUE)) {
      const problem = problemOf(new FeedrankError(code as keyof typeof ERROR_CATALOGUE, 'why'), 'r1');
      expect(problemSchema.parse(problem)).toMatchObject({ code, status, detail: 'why', requestId: 'r1' });
    }
  });

  it('of unexpected errors say nothing of the inside', () => {
    for (const thrown of [new Error('password=hunter2'), 'text', null, undefined, 7]) {
      const error = asFeedrankError(thrown);
      expect(error.code).toBe('internal');
      expect(error.message).not.toContain('hunter2');
    }
  });
});

describe('the application', () => {
  let backends: Backends;
  let world: World;
  beforeAll(async () => {
    backends = downBackends();
    world = await openWorld(backends);
  });
  afterAll(async () => {
    await world.close();
    await backends.close();
  });

  it('answers an unknown route, and a known one with another method, with a problem', async () => {
    for (const [method, url] of [
      ['GET', '/nothing'],
      ['POST', '/feed/u'],
      ['HEAD', '/feed/u'],
      ['GET', '/posts'],
    ] as const) {
      const response = await world.app.inject({ method, url });
      expect(response.statusCode).toBe(404);
      expect(response.headers['x-request-id']).toMatch(/^[\w-]{22}$/);
      if (method !== 'HEAD') expect(problemSchema.parse(response.json()).code).toBe('not_found');
    }
  });

  it('hides what a store throws, logs it, and stays alive', async () => {
    const logged: unknown[] = [];
    const failing = await openWorld(backends, {
      context: {
        logger: {
          ...world.context.logger,
          error: (entry: unknown) => void logged.push(entry),
          child() {
            return this;
          },
        } as never,
        stores: {
          ...world.context.stores,
          users: {
            ...backends.sql,
            getUser: () => Promise.reject(new Error('secret of the store')),
          } as never,
        },
      },
    });
    const response = await failing.app.inject('/users/u1');
    expect(response.statusCode).toBe(500);
    expect(response.body).not.toContain('secret');
    expect(logged.length).toBe(1);
    expect((await failing.app.inject('/health/live')).statusCode).toBe(200);
    await failing.close();
  });

  it.each(['unavailable', 'timeout', 'overloaded', 'locked', 'storage_full'] as const)(
    'says when to come back after %s',
    async (code) => {
      const failing = await openWorld(backends, {
        context: {
          stores: {
            ...world.context.stores,
            users: {
              ...backends.sql,
              getUser: () => Promise.reject(new FeedrankError(code, 'not now')),
            } as never,
          },
        },
      });
      const { headers } = await failing.app.inject('/users/u1');
      expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1);
      await failing.close();
    },
  );

  it.each([
    { name: 'bytes that are no HTTP', sent: 'rubbish\r\n\r\n', status: 400, code: 'invalid_input' },
    {
      name: 'headers of 20 kB',
      sent: `GET /health/live HTTP/1.1\r\nhost: x\r\nx-long: ${'a'.repeat(20_000)}\r\n\r\n`,
      status: 431,
      code: 'payload_too_large',
    },
  ])('answers $name on the socket with a problem', async ({ sent, status, code }) => {
    if (world.app.addresses().length === 0) await world.app.listen({ port: 0, host: '127.0.0.1' });
    const { port } = world.app.server.address() as AddressInfo;
    const answer = await new Promise<string>((resolve, reject) => {
      let text = '';
      const socket = connect(port, '127.0.0.1', () => socket.write(sent));
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('close', () => resolve(text));
      socket.on('error', reject);
    });
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(problemSchema.parse(JSON.parse(answer.split('\r\n\r\n')[1]))).toMatchObject({ code, status });
  });

  it('has no limit of time left at its default of none', () => {
    const { server } = world.app;
    expect(server.requestTimeout).toBeGreaterThan(0);
    expect(server.keepAliveTimeout).toBeGreaterThan(0);
    expect(server.timeout).toBeGreaterThan(0);
  });
});
