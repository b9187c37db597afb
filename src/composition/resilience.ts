// What compose wires to stay up: the stores' policies, admission of feed requests, and their metrics.
import type { Registry } from 'prom-client';
import { Admission } from '../admission.ts';
import type { Config } from '../config.ts';
import { STATE_SHARE } from '../hydrate.ts';
import type { WorkerPool } from '../pool.ts';
import { redisTarget } from '../redis-settings.ts';
import { createPolicies, type Policies } from '../resilience/policies.ts';
import { createResilienceMetrics } from '../resilience/resilience-metrics.ts';
import type { Policy } from '../resilience.ts';

export interface Resilience {
  policies: Policies;
  admission: Admission;
  onWorkerLost(): void;
  /** Counts the pool's workers that hang. */
  watchPool(pool: Pick<WorkerPool, 'lost' | 'silentMs'>): void;
  /** What is not in order, for /health/ready: the feed answers all the same. */
  problems(): string[];
  close(): void;
}

/** Also a worker that gets a tenth of a core does a job in this time. */
const SILENT_MS = 250;

export function openResilience(config: Config, registry: Registry): Resilience {
  const metrics = createResilienceMetrics(registry);
  const { onCall, onRetry, onDecision, onWorkerLost } = metrics;
  const policies = createPolicies({
    // The embedded database has one connection.
    sqlConnections: config.DATABASE_URL ? config.DATABASE_POOL : 1,
    // Redis over a network; the embedded store is read in this process.
    stateSlowMs: redisTarget(config) ? config.FEED_DEADLINE_MS * STATE_SHARE : undefined,
    onCall,
    onRetry,
  });
  const admission = new Admission({
    workers: config.FEED_WORKERS,
    deadlineMs: config.FEED_DEADLINE_MS,
    workersAnswer: () => silentMs() < SILENT_MS,
    onDecision,
  });
  let hanging = () => 0;
  let silentMs = () => 0;
  return {
    policies,
    admission,
    onWorkerLost,
    watchPool(pool) {
      hanging = () => pool.lost;
      silentMs = () => pool.silentMs;
      metrics.watch({ policies, admission, pool });
    },
    problems() {
      const problems = Object.values(policies).flatMap(({ trouble }: Policy) => trouble ?? []);
      return hanging() > 0 ? [...problems, `${hanging()} feed workers hang`] : problems;
    },
    close() {
      for (const policy of Object.values(policies)) policy.close();
    },
  };
}
