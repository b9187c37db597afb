import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { downBackends, openWorld, post, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await openWorld(downBackends());
  world.memory.set('p1', post('p1'));
});
afterAll(() => world.close());

async function figure(pattern: RegExp): Promise<number> {
  const text = await world.context.metrics.registry.metrics();
  return Number(pattern.exec(text)?.[1] ?? 0);
}

const feedsInFlight = () => figure(/^feedrank_http_requests_in_flight\{route="\/feed\/:userId"\} (\d+)/m);
const feedsWith = (status: string) =>
  figure(
    new RegExp(
      `^feedrank_http_request_seconds_count\\{route="/feed/:userId",method="GET",status="${status}"\\} (\\d+)`,
      'm',
    ),
  );

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('it did not come true within 4 s');
}

/** The ranker then answers only when the function given back is called, by failing: the page comes from memory. */
function holdSlates(): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  world.context.ranker.slate = async () => {
    await promise;
    throw new Error('no slate');
  };
  return resolve;
}

async function listen(): Promise<number> {
  if (!world.app.server.listening) await world.app.listen({ host: '127.0.0.1', port: 0 });
  return (world.app.server.address() as AddressInfo).port;
}

describe('requests in flight', () => {
  it('are counted while they run, and no longer once answered', async () => {
    const finish = holdSlates();
    const asked = world.app.inject('/feed/u1');
    await until(async () => (await feedsInFlight()) === 1);
    finish();
    expect((await asked).statusCode).toBe(200);
    expect(await feedsInFlight()).toBe(0);
    expect(await feedsWith('200')).toBe(1);
  });

  it('end with a client that goes away, as 499', async () => {
    const finish = holdSlates();
    const socket = connect(await listen(), '127.0.0.1');
    socket.write('GET /feed/u1 HTTP/1.1\r\nhost: x\r\n\r\n');
    await until(async () => (await feedsInFlight()) === 1);
    socket.destroy();
    await until(async () => (await feedsInFlight()) === 0);
    finish();
    expect(await feedsWith('499')).toBe(1);
  });

  it('tell the ranker when their client is gone, and not before', async () => {
    const signals: AbortSignal[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    world.context.ranker.slate = async ({ signal }) => {
      signals.push(signal as AbortSignal);
      await promise;
      throw new Error('no slate');
    };
    const port = await listen();
    const [leaver, stayer] = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
    leaver.write('GET /feed/leaver HTTP/1.1\r\nhost: x\r\n\r\n');
    await until(async () => signals.length === 1);
    stayer.write('GET /feed/stayer HTTP/1.1\r\nhost: x\r\n\r\n');
    await until(async () => signals.length === 2);
    leaver.destroy();
    await until(async () => signals[0].aborted);
    expect(signals[1].aborted).toBe(false);
    resolve();
    const [answer] = (await once(stayer, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 200/);
    stayer.destroy();
  });
});
