// Metrics of the HTTP layer, on the process's registry.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { cacheRequests } from '../cache-outcome.ts';

export interface ApiMetrics {
  requestSeconds: Histogram<'route' | 'method' | 'status'>;
  requestsInFlight: Gauge<'route'>;
  pageDegraded: Counter<'cause'>;
  postsServed: Counter<'source'>;
  items: Counter<'kind' | 'status'>;
  batchItems: Histogram<'kind'>;
  applyFailures: Counter;
  seenLost: Counter;
  servingRecordsLost: Counter;
  authRefusals: Counter<'reason'>;
  rateLimited: Counter<'limit'>;
  limitFallbacks: Counter;
  cacheRequests: Counter<'cache' | 'outcome'>;
  /** Names a queue whose length is read when metrics are asked for. */
  watchQueue(queue: string, length: () => number): void;
}

export function createApiMetrics(registry: Registry): ApiMetrics {
  const registers = [registry];
  const queues = new Map<string, () => number>();
  new Gauge({
    name: 'feedrank_queue_length',
    help: 'What waits, by queue.',
    labelNames: ['queue'],
    registers,
    collect() {
      for (const [queue, length] of queues) this.set({ queue }, length());
    },
  });
  return {
    requestSeconds: new Histogram({
      name: 'feedrank_http_request_seconds',
      help: 'Time from a request to its answer.',
      labelNames: ['route', 'method', 'status'],
      buckets: [0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 5],
      registers,
    }),
    requestsInFlight: new Gauge({
      name: 'feedrank_http_requests_in_flight',
      help: 'Requests that were begun and not answered yet: what to scale replicas by.',
      labelNames: ['route'],
      registers,
    }),
    pageDegraded: new Counter({
      name: 'feedrank_page_degraded_total',
      help: 'Feed pages that skipped something, by cause.',
      labelNames: ['cause'],
      registers,
    }),
    postsServed: new Counter({
      name: 'feedrank_posts_served_total',
      help: 'Posts on delivered feed pages, by source (a post counts for each of its sources).',
      labelNames: ['source'],
      registers,
    }),
    items: new Counter({
      name: 'feedrank_ingested_items_total',
      help: 'Posts and events of bulk requests, by what became of them.',
      labelNames: ['kind', 'status'],
      registers,
    }),
    batchItems: new Histogram({
      name: 'feedrank_ingest_batch_items',
      help: 'Posts or events in one bulk request.',
      labelNames: ['kind'],
      buckets: [1, 10, 50, 100, 250, 500, 1000],
      registers,
    }),
    applyFailures: new Counter({
      name: 'feedrank_apply_failures_total',
      help: 'Committed changes that could not be applied at once; the change feed delivers them again.',
      registers,
    }),
    seenLost: new Counter({
      name: 'feedrank_seen_posts_lost_total',
      help: 'Delivered posts that could not be recorded as seen.',
      registers,
    }),
    servingRecordsLost: new Counter({
      name: 'feedrank_serving_records_lost_total',
      help: 'Serving records that never reached the log.',
      registers,
    }),
    authRefusals: new Counter({
      name: 'feedrank_auth_refusals_total',
      help: 'Requests refused for their credentials: unauthorized, forbidden, or unavailable signing keys.',
      labelNames: ['reason'],
      registers,
    }),
    rateLimited: new Counter({
      name: 'feedrank_rate_limited_total',
      help: 'Requests refused by a rate limit, by which.',
      labelNames: ['limit'],
      registers,
    }),
    limitFallbacks: new Counter({
      name: 'feedrank_limit_fallback_total',
      help: 'Rate-limit counts taken by this replica alone because the shared counter did not answer.',
      registers,
    }),
    cacheRequests: cacheRequests(registry),
    watchQueue: (queue, length) => queues.set(queue, length),
  };
}
