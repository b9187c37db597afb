// A stand-in for the service in the load test's own tests: right answers, made wrong or slow as a test asks.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FakeFeed {
  requestId: string;
  userId: string;
  posts: object[];
  end: boolean;
  degraded: string[];
  model: string;
  index: string;
  search: string;
}

export function fakeFeed(userId: string, count: number, change: Partial<FakeFeed> = {}): FakeFeed {
  return {
    requestId: 'r',
    userId,
    posts: Array.from({ length: count }, (_, i) => ({
      id: `p${i}`,
      token: `t${i}`,
      position: i,
      score: 1 - i / 100,
      sources: ['nearest'],
      post: { authorId: `a${i}`, topic: 'news', title: `title ${i}`, createdAt: 1 },
    })),
    end: false,
    degraded: [],
    model: 'ranker@1',
    index: 'v1',
    search: 'exact',
    ...change,
  };
}

export interface FakeService {
  host: string;
  port: number;
  base: string;
  /** Paths asked for. */
  requests: string[];
  /** Bodies of POST /events. */
  events: { userId: string; postId: string; type: string }[];
  close(): Promise<void>;
}

/** Answers a feed request; false leaves the rest to the stand-in. */
export type FeedHandler = (userId: string, limit: number, response: ServerResponse) => boolean;

export async function startFakeService(onFeed: FeedHandler = () => false): Promise<FakeService> {
  const requests: string[] = [];
  const events: FakeService['events'] = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url!, 'http://localhost');
    requests.push(url.pathname);
    if (url.pathname === '/health/ready') {
      return json(response, 200, { ready: true, index: { posts: 100 }, stores: { posts: 'memory' } });
    }
    if (url.pathname === '/events') {
      events.push(...JSON.parse(await text(request)).events);
      return json(response, 200, { stored: 1, duplicates: 0, degraded: [] });
    }
    if (url.pathname.startsWith('/feed/')) {
      const userId = decodeURIComponent(url.pathname.slice('/feed/'.length));
      const limit = Number(url.searchParams.get('limit'));
      if (!onFeed(userId, limit, response)) json(response, 200, fakeFeed(userId, limit));
      return;
    }
    json(response, 404, { code: 'not_found' });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    host: '127.0.0.1',
    port,
    base: `http://127.0.0.1:${port}`,
    requests,
    events,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

export function json(response: ServerResponse, status: number, body: object, headers: object = {}): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': bytes.length,
    ...headers,
  });
  response.end(bytes);
}

async function text(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}
