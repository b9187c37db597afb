// Traces of the composed service, as a collector of its own receives them over OTLP/HTTP: one tree a request, from the
// sender's span down to the stores and the stages in the worker.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { composeService, type Service } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import { createLogger } from '../../src/logger.ts';
import { inSpan } from '../../src/tracing.ts';
import { DATABASE_URL, freshDatabase, REDIS_URL, unique } from '../setup/test-servers.ts';

interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: { key: string; value: Record<string, unknown> }[];
  status: { code?: number };
}

/** Real servers where there are any, the embedded stores otherwise. */
const sql = DATABASE_URL ? 'postgresql' : 'pglite';
const state = REDIS_URL ? 'redis' : 'lmdb';
let database: Awaited<ReturnType<typeof freshDatabase>> | null;
let dataDir: string;
let collector: Server;
let service: Service;
const spans: Span[] = [];
const resources: string[] = [];
const logLines: Record<string, unknown>[] = [];

beforeAll(async () => {
  database = DATABASE_URL ? await freshDatabase() : null;
  dataDir = mkdtempSync(join(tmpdir(), 'feedrank-tracing-'));
  collector = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(parts).toString());
      expect(request.url).toBe('/v1/traces');
      for (const { resource, scopeSpans } of body.resourceSpans) {
        resources.push(JSON.stringify(resource.attributes));
        for (const scope of scopeSpans) spans.push(...scope.spans);
      }
      response.setHeader('content-type', 'application/json');
      response.end('{}');
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const { port } = collector.address() as AddressInfo;
  const config = readConfig({
    DATA_DIR: dataDir,
    DATABASE_URL: database?.url,
    REDIS_URL,
    RULES_FILE: join(dataDir, 'no-rules.json'),
    FEED_WORKERS: '1',
    FEED_DEADLINE_MS: '20000',
    RATE_LIMIT_PER_MINUTE: '0',
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
    OTEL_SERVICE_NAME: 'feedrank-test',
    OTEL_TRACES_SAMPLER_ARG: '0',
  });
  const lines = new Writable({
    write(chunk, _encoding, done) {
      logLines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  service = await composeService(config, createLogger('info', lines));
  await service.app.inject({
    method: 'POST',
    url: '/posts',
    payload: {
      posts: Array.from({ length: 30 }, (_, i) => ({
        id: `p${i}`,
        authorId: `a${i % 7}`,
        createdAt: Date.now() - i * 1000,
        title: `bread number ${i}`,
      })),
    },
  });
});

afterAll(async () => {
  await service.close();
  await new Promise((resolve) => collector.close(resolve));
  await database?.drop();
  rmSync(dataDir, { recursive: true, force: true });
});

const READER = unique('ada');
const SENDER = { traceId: 'ab'.repeat(16), spanId: 'cd'.repeat(8) };
const attribute = (span: Span, key: string) =>
  Object.values(span.attributes.find((one) => one.key === key)?.value ?? {})[0];

async function spanNamed(name: string, of: (span: Span) => boolean = () => true): Promise<Span> {
  for (let i = 0; i < 400; i++) {
    const found = spans.find((span) => span.name === name && of(span));
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`no span '${name}' arrived; there are ${spans.map((span) => span.name).join(', ')}`);
}

describe('a traced feed request', () => {
  let headers: Record<string, unknown>;

  beforeAll(async () => {
    const response = await service.app.inject({
      url: `/feed/${READER}?limit=5`,
      headers: { traceparent: `00-${SENDER.traceId}-${SENDER.spanId}-01` },
    });
    expect(response.statusCode).toBe(200);
    headers = response.headers;
    // The last to come: it is written after the answer.
    await spanNamed(`${sql} append`);
  });

  it('continues its sender’s trace, and says so in the answer', async () => {
    const request = await spanNamed('GET /feed/:userId');
    expect(request).toMatchObject({ traceId: SENDER.traceId, parentSpanId: SENDER.spanId, kind: 2 });
    expect(headers.traceresponse).toBe(`00-${SENDER.traceId}-${request.spanId}-01`);
    expect(attribute(request, 'http.response.status_code')).toBe(200);
    expect(attribute(request, 'feedrank.request_id')).toBe(headers['x-request-id']);
    expect(resources[0]).toContain('feedrank-test');
  });

  it('is one tree: request → hydrate → store, request → feed worker → queue and stages', async () => {
    const parentOf: Record<string, string> = {
      hydrate: 'GET /feed/:userId',
      [`${state} getState`]: 'hydrate',
      [`${sql} getUser`]: 'hydrate',
      'feed worker': 'GET /feed/:userId',
      queue: 'feed worker',
      retrieve: 'feed worker',
      encode: 'feed worker',
      rank: 'feed worker',
      rerank: 'feed worker',
      present: 'feed worker',
    };
    const ofRequest = (span: Span) => span.traceId === SENDER.traceId;
    for (const [child, parent] of Object.entries(parentOf)) {
      const [inner, outer] = [await spanNamed(child, ofRequest), await spanNamed(parent, ofRequest)];
      expect(inner.parentSpanId, child).toBe(outer.spanId);
      expect(BigInt(inner.startTimeUnixNano) >= BigInt(outer.startTimeUnixNano), child).toBe(true);
      expect(BigInt(inner.endTimeUnixNano) <= BigInt(outer.endTimeUnixNano) + 1_000_000n, child).toBe(true);
    }
    const ids = new Set(spans.filter(ofRequest).map(({ spanId }) => spanId));
    for (const span of spans.filter(ofRequest))
      expect(span.parentSpanId === SENDER.spanId || ids.has(String(span.parentSpanId)), span.name).toBe(true);
  });

  it('has the write of its serving record below it, although that came later', async () => {
    const written = await spanNamed(`${sql} append`);
    const request = await spanNamed('GET /feed/:userId');
    expect(written).toMatchObject({ traceId: SENDER.traceId, parentSpanId: request.spanId });
  });

  it('names no user, and nothing of what users wrote', () => {
    const text = JSON.stringify(spans);
    expect(text).not.toContain(READER);
    expect(text).not.toContain('bread');
  });
});

describe('sampling', () => {
  it('leaves out what no sender asked for at a ratio of 0', async () => {
    const before = spans.length;
    const response = await service.app.inject(`/feed/${unique('bo')}`);
    expect(response.statusCode).toBe(200);
    expect(response.headers.traceresponse).toMatch(/-00$/);
    const unsampled = `00-${'12'.repeat(16)}-${SENDER.spanId}-00`;
    await service.app.inject({ url: `/feed/${unique('cy')}`, headers: { traceparent: unsampled } });
    const marker = 'ef'.repeat(16);
    await service.app.inject({
      url: '/health/live',
      headers: { traceparent: `00-${marker}-${SENDER.spanId}-01` },
    });
    await spanNamed('GET /health/live', (span) => span.traceId === marker);
    const traces = new Set(spans.slice(before).map(({ traceId }) => traceId));
    traces.delete(SENDER.traceId);
    expect([...traces]).toEqual([marker]);
  });
});

describe('the log', () => {
  it('has the ids of the active span in its lines, and none outside of one', async () => {
    service.app.log.info('outside');
    const ids = await inSpan('some work', {}, async (span) => {
      service.app.log.info('inside');
      return span?.spanContext();
    });
    const line = (message: string) => logLines.find(({ msg }) => msg === message);
    expect(line('inside')).toMatchObject({ traceId: ids?.traceId, spanId: ids?.spanId });
    expect(line('outside')).not.toHaveProperty('traceId');
  });

  it('said at the start that the service is open to everybody', () => {
    expect(logLines.some(({ msg, level }) => String(msg).startsWith('OPEN:') && level === 40)).toBe(true);
  });
});
