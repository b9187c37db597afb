import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SpanKind } from '@opentelemetry/api';
import { describe, expect, it } from 'vitest';
import { FeedrankError } from '../../src/errors.ts';
import { inSpan, recordSteps, startTracing, tracedStore, traceFields } from '../../src/tracing.ts';

class Store {
  readonly #rows = new Map([['a', 1]]);
  readonly kind = 'memory';

  async get(key: string): Promise<number> {
    if (key === 'private key') throw new FeedrankError('unavailable', `no ${key} here`);
    return this.#rows.get(key) ?? 0;
  }

  async append(items: readonly object[]): Promise<number> {
    return this.size + items.length;
  }

  get size(): number {
    return this.#rows.size;
  }
}

const CALLS = { methods: ['get'], linked: ['append'] } as const;

describe('while tracing is off', () => {
  it('a store is itself, work runs as it is, and nothing is named in the log', async () => {
    const store = new Store();
    expect(tracedStore(store, 'memory', CALLS)).toBe(store);
    expect(await inSpan('work', {}, async (span) => span)).toBeUndefined();
    recordSteps([['a', 1]], 0);
    expect(traceFields()).toEqual({});
  });
});

describe('while tracing is on', () => {
  it('a store works as before, its calls are spans, and a failure is named by its code alone', async () => {
    const bodies: string[] = [];
    const collector = createServer((request, response) => {
      request.setEncoding('utf8').on('data', (text) => bodies.push(text));
      request.on('end', () => response.setHeader('content-type', 'application/json').end('{}'));
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    const stop = await startTracing({
      endpoint: `http://127.0.0.1:${(collector.address() as AddressInfo).port}/`,
      serviceName: 'unit',
      ratio: 1,
    });
    const store = tracedStore(new Store(), 'memory', CALLS);
    expect({ kind: store.kind, size: store.size }).toEqual({ kind: 'memory', size: 1 });
    await inSpan('request', { kind: SpanKind.SERVER }, async () => {
      expect(await store.get('a')).toBe(1);
      await expect(store.get('private key')).rejects.toThrow('no private key here');
    });
    // Nothing of what is appended came out of a traced request.
    expect(await store.append([{}, {}])).toBe(3);
    await stop();
    await new Promise((resolve) => collector.close(resolve));
    const text = bodies.join('');
    const { spans } = JSON.parse(text).resourceSpans[0].scopeSpans[0];
    const named = (name: string) => spans.filter((span: { name: string }) => span.name === name);
    expect(spans).toHaveLength(3);
    const [ok, failed] = named('memory get');
    expect(ok.parentSpanId).toBe(named('request')[0].spanId);
    expect(ok.status.code ?? 0).toBe(0);
    expect(failed.status).toEqual({ code: 2 });
    expect(failed.attributes).toContainEqual({ key: 'error.type', value: { stringValue: 'unavailable' } });
    expect(text).not.toContain('private');
    // Off again: what was traced before is not any more.
    expect(tracedStore(new Store(), 'memory', CALLS)).toBeInstanceOf(Store);
    expect(traceFields()).toEqual({});
  });
});
