// What compose wires of feed jobs: the SQL store, the sender of webhooks, metrics and log.
import type { FastifyBaseLogger } from 'fastify';
import type { Registry } from 'prom-client';
import { feedJobMetrics } from '../api/jobs/feed-job-metrics.ts';
import { FeedJobs } from '../api/jobs/feed-jobs.ts';
import { WebhookSender } from '../api/jobs/webhook-sender.ts';
import type { Config } from '../config.ts';
import { PostgresFeedJobs } from '../features/store/postgres-feed-jobs.ts';
import type { SqlStore } from '../features/store/postgres-store.ts';
import { webhookSettings } from '../webhook-settings.ts';

const KEPT_FOR_EACH_OPEN = 10;

/** The application starts and ends its loops. */
export function openFeedJobs(
  config: Config,
  sql: Pick<SqlStore, 'client'>,
  registry: Registry,
  logger: Pick<FastifyBaseLogger, 'warn'>,
): FeedJobs {
  const clock = { now: Date.now };
  const metrics = feedJobMetrics(registry);
  const webhooks = webhookSettings(config);
  const open = config.FEED_JOBS_OPEN;
  return new FeedJobs({
    store: new PostgresFeedJobs(sql.client),
    settings: {
      atOnce: config.FEED_JOB_PAGES,
      bounds: { open, kept: open * KEPT_FOR_EACH_OPEN },
      keptMs: config.FEED_JOBS_KEPT_MS,
      baseUrl: config.PUBLIC_URL?.replace(/\/+$/, '') ?? '',
    },
    webhooks: webhooks && { hosts: webhooks.hosts, sender: new WebhookSender({ ...webhooks, clock }) },
    clock,
    onPage: metrics.onPage,
    onTry: metrics.onTry,
    onFigures: (figures) => metrics.onFigures(figures, clock.now()),
    onProblem: (reason) => logger.warn({ reason }, 'feed jobs are held up'),
  });
}
