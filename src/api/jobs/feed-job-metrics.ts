// Metrics of feed jobs, on the process's registry. Called by composition/feed-jobs.ts.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { FeedJobFigures } from '../../contracts.ts';
import type { PageOutcome } from './feed-job-runner.ts';

export interface FeedJobMetrics {
  onPage(outcome: PageOutcome): void;
  onTry(outcome: 'delivered' | 'failed' | 'dead'): void;
  onFigures(figures: FeedJobFigures, nowMs: number): void;
}

export function feedJobMetrics(registry: Registry): FeedJobMetrics {
  const registers = [registry];
  const open = new Gauge({
    name: 'feedrank_feed_jobs_open',
    help: 'Feed jobs that have not ended, of all replicas.',
    registers,
  });
  const oldest = new Gauge({
    name: 'feedrank_feed_jobs_oldest_seconds',
    help: 'Age of the oldest feed job that has not ended; 0 when there is none.',
    registers,
  });
  const pages = new Counter({
    name: 'feedrank_feed_job_pages_total',
    help: 'Pages of feed jobs on this replica: done, failed, retried later, refused because readers come first.',
    labelNames: ['outcome'],
    registers,
  });
  const deliveries = new Counter({
    name: 'feedrank_webhook_deliveries_total',
    help: 'Tries to deliver a webhook: delivered, failed and tried again, or dead.',
    labelNames: ['outcome'],
    registers,
  });
  return {
    onPage: (outcome) => pages.inc({ outcome }),
    onTry: (outcome) => deliveries.inc({ outcome }),
    onFigures(figures, nowMs) {
      open.set(figures.open);
      oldest.set(figures.oldestAt === null ? 0 : Math.max(0, nowMs - figures.oldestAt) / 1000);
    },
  };
}
