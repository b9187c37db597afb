// What an overloaded replica answers over a socket, before any of its hooks.
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Admission, type Priority } from '../../../src/admission.ts';
import { Draining } from '../../../src/api/draining.ts';
import { problemSchema } from '../../../src/api/response-schemas.ts';
import { downBackends, openWorld, type World } from './world.ts';

const refused: Priority[] = [];
const admission = new Admission({
  workers: 1,
  deadlineMs: 300,
  onDecision: (priority, admitted) => !admitted && refused.push(priority),
});
const draining = new Draining();
let world: World;
let base: string;
/** Ends the work that fills the replica. */
let end: () => void = () => {};

beforeAll(async () => {
  world = await openWorld(downBackends(), { context: { admission, draining } });
  await world.app.listen({ host: '127.0.0.1', port: 0 });
  base = `http://127.0.0.1:${(world.app.server.address() as AddressInfo).port}`;
  const busy = new Promise<void>((resolve) => {
    end = resolve;
  });
  while (admission.inFlight('interactive') < admission.limit) void admission.run('interactive', () => busy);
});
afterAll(async () => {
  end();
  await world.close();
});

/** Headers that differ from answer to answer, or belong to the connection. */
const OWN = new Set(['x-request-id', 'date', 'connection', 'keep-alive', 'retry-after', 'content-length']);

function lasting(headers: Iterable<[string, unknown]>): Record<string, unknown> {
  return Object.fromEntries([...headers].filter(([name]) => !OWN.has(name)));
}

it('is the answer of the route itself, security headers and all', async () => {
  const atTheDoor = await fetch(`${base}/feed/u1?limit=20`);
  const inside = await world.app.inject('/feed/u1?limit=20');
  expect(atTheDoor.status).toBe(503);
  expect(inside.statusCode).toBe(503);
  expect(lasting(atTheDoor.headers)).toEqual(lasting(Object.entries(inside.headers) as [string, unknown][]));
  expect(['1', '2', '3']).toContain(atTheDoor.headers.get('retry-after'));
  const body = problemSchema.parse(await atTheDoor.json());
  expect(body.requestId).toBe(atTheDoor.headers.get('x-request-id'));
  expect({ ...body, requestId: '' }).toEqual({ ...inside.json(), requestId: '' });
});

it('counts the refusal by the priority that the request asks for, in its metrics', async () => {
  refused.length = 0;
  await fetch(`${base}/feed/u1?priority=prefetch&limit=5`);
  await fetch(`${base}/feed/u1`, { headers: { 'x-feedrank-priority': 'background' } });
  await fetch(`${base}/feed/u1?priority=nonsense`);
  expect(refused).toEqual(['prefetch', 'background', 'interactive']);
  const metrics = await world.context.metrics.registry.metrics();
  expect(metrics).toMatch(
    /feedrank_http_request_seconds_count\{route="\/feed\/:userId",method="GET",status="503"\} \d/,
  );
});

it('lets everything pass that is no feed page', async () => {
  refused.length = 0;
  expect((await fetch(`${base}/health/live`)).status).toBe(200);
  expect((await fetch(`${base}/feed/u1/other`)).status).toBe(404);
  expect((await fetch(`${base}/feed/u1`, { method: 'POST' })).status).toBe(404);
  expect(refused).toEqual([]);
});

it('asks the connection to close while the process drains', async () => {
  draining.begin('test');
  const { status, headers } = await fetch(`${base}/feed/u1`);
  expect([status, headers.get('connection')]).toEqual([503, 'close']);
});

it('stands open again when there is room', async () => {
  end();
  await expect.poll(() => admission.inFlight('interactive')).toBe(0);
  expect((await fetch(`${base}/feed/u1`)).status).not.toBe(503);
});
