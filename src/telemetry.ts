// Metrics of the process, one registry, names in one place. Stages never import this: the worker reports stage
// times in its answer and the main thread observes them.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { FeedAnswer } from './contracts.ts';

export interface GenerationFigures {
  id: string;
  search: string;
  rows: number;
  baseRows: number;
  deletedRows: number;
  /** Seconds since the change feed was last read to its end. */
  changesAgeSeconds: number;
  /** Workers that take requests. */
  workers: number;
}

export interface Telemetry {
  registry: Registry;
  /** Records a finished slate: stage times, degradations, candidate counts. */
  observeAnswer(answer: FeedAnswer): void;
  poolQueue: Gauge;
  poolRejected: Counter<'reason'>;
  changesApplied: Counter<'kind'>;
  changeFailures: Counter;
  /** Names where the generation's figures are read when metrics are asked for. */
  watchGeneration(read: () => GenerationFigures): void;
  embeddingsComputed: Counter;
}

export function createTelemetry(): Telemetry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const stageSeconds = new Histogram({
    name: 'feedrank_stage_seconds',
    help: 'Time of one stage of one feed request.',
    labelNames: ['stage'],
    buckets: [0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5],
    registers,
  });
  const degraded = new Counter({
    name: 'feedrank_degraded_total',
    help: 'Slates that skipped something, by cause.',
    labelNames: ['cause'],
    registers,
  });
  const candidates = new Histogram({
    name: 'feedrank_candidates',
    help: 'Candidates left after filters, per request.',
    buckets: [0, 10, 50, 100, 250, 500, 750, 1000, 2000],
    registers,
  });
  return {
    registry,
    observeAnswer(answer) {
      for (const [stage, ms] of Object.entries(answer.stageMs)) stageSeconds.observe({ stage }, ms / 1000);
      for (const cause of answer.degraded) degraded.inc({ cause });
      candidates.observe(answer.counts.kept);
    },
    poolQueue: new Gauge({
      name: 'feedrank_pool_queue',
      help: 'Slate requests waiting for a worker.',
      registers,
    }),
    poolRejected: new Counter({
      name: 'feedrank_pool_rejected_total',
      help: 'Slate requests that no worker answered, by reason.',
      labelNames: ['reason'],
      registers,
    }),
    changesApplied: new Counter({
      name: 'feedrank_changes_applied_total',
      help: 'Committed changes applied to this replica.',
      labelNames: ['kind'],
      registers,
    }),
    changeFailures: new Counter({
      name: 'feedrank_change_read_failures_total',
      help: 'Failed reads of the change feed.',
      registers,
    }),
    watchGeneration: (read) => watchGeneration(registers, read),
    embeddingsComputed: new Counter({
      name: 'feedrank_user_embeddings_total',
      help: 'User embeddings computed by this replica.',
      registers,
    }),
  };
}

function watchGeneration(registers: Registry[], read: () => GenerationFigures): void {
  const info = new Gauge({
    name: 'feedrank_generation_info',
    help: 'Always 1; the labels name the generation that is served.',
    labelNames: ['generation', 'search'],
    registers,
    collect() {
      const { id: generation, search } = read();
      info.reset();
      info.set({ generation, search }, 1);
    },
  });
  const figure = (name: string, help: string, value: (figures: GenerationFigures) => number) => {
    const gauge: Gauge = new Gauge({ name, help, registers, collect: () => gauge.set(value(read())) });
  };
  figure('feedrank_live_rows', 'Posts in the live tier.', ({ rows, baseRows }) => rows - baseRows);
  figure('feedrank_posts', 'Posts that are served.', ({ rows, deletedRows }) => rows - deletedRows);
  figure(
    'feedrank_changes_age_seconds',
    'Since the change feed was read to its end.',
    (one) => one.changesAgeSeconds,
  );
  figure('feedrank_workers_available', 'Feed workers that take requests.', ({ workers }) => workers);
}
