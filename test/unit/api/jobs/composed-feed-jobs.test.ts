// Feed jobs as compose wires them, with their loops running: a request in, a webhook out, and the figures of both.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { webhookSecrets, webhookSignature } from '../../../../src/api/jobs/webhook-sender.ts';
import { openFeedJobs } from '../../../../src/composition/feed-jobs.ts';
import { readConfig } from '../../../../src/config.ts';
import { type Backends, newPosts, newUser, openBackends, openWorld, silent, type World } from '../world.ts';

const SECRET = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
const registry = new Registry();
let backends: Backends;
let world: World;

beforeAll(async () => {
  backends = await openBackends();
  const config = readConfig({
    WEBHOOK_HOSTS: '127.0.0.1',
    WEBHOOK_SECRET: SECRET,
    PUBLIC_URL: 'https://feeds.example/',
  });
  const feedJobs = openFeedJobs(config, backends.sql, registry, silent);
  world = await openWorld(backends, { context: { feedJobs } });
  // The loops go by the real clock.
  world.clock.ms = Date.now();
});
afterAll(async () => {
  await world.close();
  await backends.close();
});

it('computes a job that was asked for, and tells of it', async () => {
  const posts = newPosts(3);
  await world.addPosts(posts);
  const told = Promise.withResolvers<{ headers: Record<string, unknown>; body: string }>();
  const receiver = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    response.end();
    told.resolve({ headers: request.headers, body });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = receiver.address() as AddressInfo;
    const userIds = Array.from({ length: 20 }, newUser);
    const payload = { userIds, limit: 2, webhook: { url: `http://127.0.0.1:${port}/` } };
    const made = await world.app.inject({ method: 'POST', url: '/feed-jobs', payload });
    expect(made.statusCode, made.body).toBe(202);
    const { jobId, statusUrl } = made.json();
    const { headers, body } = await told.promise;
    expect(JSON.parse(body)).toEqual({
      jobId,
      status: 'done',
      users: 20,
      failed: 0,
      resultsUrl: `${statusUrl}/results`,
    });
    expect(statusUrl).toBe(`https://feeds.example/feed-jobs/${jobId}`);
    const seconds = Number(headers['webhook-timestamp']);
    const secrets = webhookSecrets(SECRET) as Buffer[];
    expect(headers['webhook-signature']).toBe(webhookSignature(secrets, jobId, seconds, body));
    const results = await world.app.inject({ url: `/feed-jobs/${jobId}/results?limit=50` });
    expect(results.json().results).toHaveLength(20);
    for (const { posts: given } of results.json().results)
      expect(given.map(({ id }: { id: string }) => id)).toEqual([posts[0].id, posts[1].id]);
    const metrics = await registry.metrics();
    expect(metrics).toContain('feedrank_feed_job_pages_total{outcome="done"} 20');
    expect(metrics).toContain('feedrank_webhook_deliveries_total{outcome="delivered"} 1');
  } finally {
    receiver.closeAllConnections();
    receiver.close();
  }
});
