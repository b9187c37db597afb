// Clicks against a server that loses and refuses requests: each event is acknowledged once, in order after its article.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { ClickSender } from '../../../../scripts/replay/click-sender.ts';
import type { Clicks } from '../../../../scripts/replay/clicks.ts';

const SECOND = 1000;
const COUNT = 300;

function someClicks(): Clicks {
  const numbers = Array.from({ length: COUNT }, (_, i) => i);
  return {
    users: Uint32Array.from(numbers, (i) => i % 17),
    articles: Uint32Array.from(numbers, (i) => i % 23),
    at: Float64Array.from(numbers, (i) => Date.UTC(2017, 9, 1) + i * SECOND),
    left: 0,
  };
}

interface Item {
  id: string;
  userId?: string;
  postId?: string;
  at?: number;
  createdAt?: number;
}

describe('the click sender', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  /** Stores what it is given; every `loseEvery`-th request is answered with 503 after it was stored. */
  async function store(loseEvery: number) {
    const stored = new Map<string, Item>();
    let orphans = 0;
    let requests = 0;
    const server = createServer(async (request, response) => {
      const kind = request.url === '/posts' ? 'posts' : 'events';
      const items = (JSON.parse(await text(request)) as Record<string, Item[]>)[kind];
      let duplicates = 0;
      for (const item of items) {
        if (item.postId !== undefined && !stored.has(item.postId)) orphans++;
        if (stored.has(item.id)) duplicates++;
        else stored.set(item.id, item);
      }
      const lost = ++requests % loseEvery === 0;
      response.writeHead(lost ? 503 : 200, { 'retry-after': '0', 'content-type': 'application/json' });
      response.end(JSON.stringify({ stored: items.length - duplicates, duplicates, rejected: 0 }));
    });
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return { base, stored, orphans: () => orphans };
  }

  it('sends every click once however often the answers are lost, after its article, with times of now', async () => {
    const { base, stored, orphans } = await store(3);
    const sender = new ClickSender({ clicks: someClicks(), bases: [base], speed: 600, prefix: 'x-' });
    const startedAt = Date.now();
    await sender.run(20_000);
    const { tally } = sender;
    const clicks = [...stored.values()].filter(({ postId }) => postId !== undefined);
    expect(clicks).toHaveLength(COUNT);
    expect(tally).toMatchObject({
      events: COUNT,
      acceptedEvents: COUNT,
      posts: 23,
      acceptedPosts: 23,
      rejected: 0,
    });
    expect(tally.duplicates).toBeGreaterThan(0);
    expect(tally.repeats).toBe(tally.answers['503']);
    expect(orphans()).toBe(0);
    const times = clicks.map(({ at }) => at!);
    expect(Math.min(...times)).toBeGreaterThanOrEqual(startedAt);
    // 300 s of clicks at 600 times real time.
    expect(Math.max(...times) - Math.min(...times)).toBe(Math.floor((COUNT - 1) * (SECOND / 600)));
  });

  it('lets the readers share accounts, whose number is then bounded', async () => {
    const { base, stored } = await store(1e9);
    const setting = { clicks: someClicks(), bases: [base], speed: 3000, prefix: 'x-', accounts: 5 };
    const sender = new ClickSender(setting);
    await sender.run(10_000);
    const users = [...stored.values()].flatMap(({ userId }) => userId ?? []);
    expect(users).toHaveLength(COUNT);
    expect(new Set(users)).toEqual(new Set(['x-0', 'x-1', 'x-2', 'x-3', 'x-4']));
  });

  it('goes to replicas in rotation only', async () => {
    const [first, second] = [await store(1e9), await store(1e9)];
    const sender = new ClickSender({
      clicks: someClicks(),
      bases: [first.base, second.base],
      speed: 3000,
      prefix: 'x-',
      asked: (base) => base === second.base,
    });
    await sender.run(10_000);
    expect(first.stored.size).toBe(0);
    expect(second.stored.size).toBe(COUNT + 23);
  });
});
