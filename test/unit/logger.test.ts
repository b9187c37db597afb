import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { FeedrankError } from '../../src/errors.ts';
import { createLogger } from '../../src/logger.ts';
import { downBackends, openWorld } from './api/world.ts';

function capture() {
  const lines: string[] = [];
  const logger = createLogger(
    'debug',
    new Writable({
      write(chunk, _encoding, done) {
        lines.push(String(chunk));
        done();
      },
    }),
  );
  return { logger, text: () => lines.join(''), last: () => JSON.parse(lines.at(-1) ?? '{}') };
}

const KEY = 'frk_backend_abcdefghijabcdefghijabcdefghijabcdefghij123';
const TOKEN = `eyJhbGciOiJIUzI1NiJ9.${Buffer.from('{"sub":"u1"}').toString('base64url')}.c2lnbmF0dXJl`;

describe('the log', () => {
  it('has no credentials, in whatever field or text they come', () => {
    const { logger, text } = capture();
    logger.info(
      { authorization: `Bearer ${KEY}`, headers: { 'x-api-key': KEY, cookie: 'a=b-secret' } },
      'in',
    );
    logger.warn(
      { request: { headers: { authorization: TOKEN } }, config: { secret: 's3cr3t-value' } },
      'deep',
    );
    logger.error(
      { err: new Error(`connect redis://user:pa55word@host:6379 with ${KEY} or ${TOKEN}`) },
      'text',
    );
    logger.warn({ reason: `postgres://admin:pa55word@db/x refused Bearer ${TOKEN}` }, 'reason');
    for (const secret of [KEY, TOKEN, 'b-secret', 's3cr3t-value', 'pa55word'])
      expect(text()).not.toContain(secret);
    expect(text()).toContain('redis://[redacted]@host:6379');
  });

  it('has no words of users: not those a parser quotes, not those a driver’s error carries along', () => {
    const { logger, text, last } = capture();
    let parsing: unknown;
    try {
      JSON.parse('my private words');
    } catch (error) {
      parsing = error;
    }
    const ofPostgres = Object.assign(
      new Error('duplicate key value violates unique constraint "users_pkey"'),
      {
        code: '23505',
        table: 'users',
        constraint: 'users_pkey',
        detail: 'Key (id)=(private user) already exists.',
        where: 'private place',
      },
    );
    const ofRedis = Object.assign(new Error('WRONGTYPE'), {
      command: { name: 'set', args: ['private value'] },
    });
    logger.error({ err: parsing }, 'parsing');
    logger.error({ err: new FeedrankError('unavailable', 'storing users', { cause: ofPostgres }) }, 'sql');
    expect(last().err.cause).toMatchObject({ code: '23505', table: 'users', constraint: 'users_pkey' });
    expect(last().err.stack).toContain('logger.test.ts');
    logger.error({ err: ofRedis }, 'redis');
    expect(text()).not.toMatch(/private/);
  });

  it('of a failed request names it by its id and its sender’s trace, and says nothing of its content', async () => {
    const { logger, text, last } = capture();
    const world = await openWorld(downBackends(), { context: { logger } });
    const traceId = 'ab'.repeat(16);
    const response = await world.app.inject({
      method: 'POST',
      url: '/posts?',
      headers: { authorization: `Bearer ${KEY}`, traceparent: `00-${traceId}-${'cd'.repeat(8)}-01` },
      payload: { posts: [{ id: 'p1', authorId: 'a private author', createdAt: 1, title: 'private words' }] },
    });
    expect(response.statusCode).toBe(503);
    expect(last()).toMatchObject({
      reqId: response.json().requestId,
      traceId,
      code: 'unavailable',
      level: 50,
    });
    expect(text()).not.toMatch(/private|frk_/);
    await world.close();
  });
});
