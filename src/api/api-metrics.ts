// Metrics of the HTTP layer, on the process's registry.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export interface ApiMetrics {
  requestSeconds: Histogram<'route' | 'method' | 'status'>;
  pageDegraded: Counter<'cause'>;
  postsServed: Counter<'source'>;
  items: Counter<'kind' | 'status'>;
  applyFailures: Counter;
  seenLost: Counter;
  servingRecordsLost: Counter;
}

export function createApiMetrics(registry: Registry, servingQueueLength: () => number): ApiMetrics {
  const registers = [registry];
  new Gauge({
    name: 'feedrank_serving_log_queue',
    help: 'Serving records that wait for the log.',
    registers,
    collect() {
      this.set(servingQueueLength());
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
  };
}
