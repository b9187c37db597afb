// A balancer's rules against replicas that answer, refuse or say nothing.
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { secondsUntil } from '../../../../scripts/faults/clock.ts';
import { Balancer } from '../../../../scripts/replay/balancer.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** Answers with `respond`, or not at all while it gives null; remembers what it was asked, checks apart. */
async function replica(respond: (url: string) => number | null) {
  const asked: string[] = [];
  const waiting: ServerResponse[] = [];
  const server = createServer((request, response) => {
    const url = request.url ?? '';
    if (url !== '/health/ready') asked.push(url);
    const status = respond(url);
    if (status === null) waiting.push(response);
    else response.writeHead(status).end('{}');
  });
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return { base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

it('asks replicas in turn, and once', async () => {
  const [a, b] = [await replica(() => 200), await replica(() => 200)];
  const balancer = new Balancer([a.base, b.base]);
  for (let i = 0; i < 4; i++) expect(await balancer.get(`/feed/${i}`)).toMatchObject({ repeated: false });
  expect([a.asked, b.asked]).toEqual([
    ['/feed/0', '/feed/2'],
    ['/feed/1', '/feed/3'],
  ]);
});

it('asks the other replica what one of them refuses or does not answer, and says so', async () => {
  const [refusing, silent] = [await replica(() => 503), await replica(() => null)];
  const good = await replica(() => 200);
  for (const bad of [refusing, silent]) {
    const balancer = new Balancer([bad.base, good.base]);
    expect(await balancer.get('/feed/u1')).toMatchObject({ answer: { status: 200 }, repeated: true });
  }
  expect(good.asked).toEqual(['/feed/u1', '/feed/u1']);
});

it('does not repeat what was asked wrongly', async () => {
  const [a, b] = [await replica(() => 400), await replica(() => 200)];
  const balancer = new Balancer([a.base, b.base]);
  expect(await balancer.get('/feed/u1')).toMatchObject({ answer: { status: 400 }, repeated: false });
  expect(b.asked).toEqual([]);
});

it('gives no answer when both replicas give none, and a single one is not asked again', async () => {
  const gone = await replica(() => 200);
  const [server] = servers;
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  expect(await new Balancer([gone.base, gone.base]).get('/feed/u1')).toMatchObject({
    answer: null,
    repeated: true,
  });
  expect(await new Balancer([gone.base]).get('/feed/u1')).toMatchObject({ answer: null, repeated: false });
});

it('takes a replica out of rotation when its checks fail, and back when they succeed', async () => {
  let ready = true;
  const [a, b] = [
    await replica((url) => (url === '/health/ready' && !ready ? 503 : 200)),
    await replica(() => 200),
  ];
  const balancer = new Balancer([a.base, b.base]);
  balancer.start();
  try {
    ready = false;
    expect(await secondsUntil(() => balancer.inRotation.length === 1, 10_000)).not.toBeNull();
    expect(balancer.inRotation).toEqual([b.base]);
    for (let i = 0; i < 3; i++) await balancer.get('/feed/u1');
    expect(a.asked).toEqual([]);
    ready = true;
    expect(await secondsUntil(() => balancer.inRotation.length === 2, 10_000)).not.toBeNull();
  } finally {
    balancer.stop();
  }
});
