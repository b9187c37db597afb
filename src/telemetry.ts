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
  /** Share of the true nearest posts that its search found when it was calibrated; null when it was not. */
  recall: number | null;
}

/** What of a slate the worker's answer does not know. */
export interface SlateTimes {
  /** Reading the user, milliseconds. */
  hydrateMs: number;
  /** Until a worker began, and the way there and back, milliseconds. */
  queueMs: number;
}

/** What the health route says, for gauges. */
export interface ReadinessFigures {
  ready: boolean;
  degraded: readonly string[];
  models: Readonly<Record<string, string>>;
}

export interface Telemetry {
  registry: Registry;
  /** Records a finished slate: stage times, degradations, candidate counts. */
  observeAnswer(answer: FeedAnswer, times: SlateTimes): void;
  /** Recall of the search on sampled requests, against the exact scan. */
  liveRecall: Histogram;
  /** Names where the length of the pool's queue is read when metrics are asked for. */
  watchPool(queued: () => number): void;
  /** Names where readiness and models are read when metrics are asked for. */
  watchReadiness(read: () => ReadinessFigures): void;
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
    help: 'Time of one stage of one feed request; degraded = something of the stage was skipped or replaced.',
    labelNames: ['stage', 'outcome'],
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
    observeAnswer(answer, { hydrateMs, queueMs }) {
      const suffered = new Set(answer.degraded.map(stageOfCause));
      const stages = { hydrate: hydrateMs, queue: queueMs, ...answer.stageMs };
      for (const [stage, ms] of Object.entries(stages)) {
        stageSeconds.observe({ stage, outcome: suffered.has(stage) ? 'degraded' : 'ok' }, ms / 1000);
      }
      for (const cause of answer.degraded) degraded.inc({ cause });
      candidates.observe(answer.counts.kept);
    },
    liveRecall: new Histogram({
      name: 'feedrank_live_recall',
      help: 'Share of the true nearest posts that the search found, on sampled requests.',
      buckets: [0.8, 0.9, 0.925, 0.95, 0.975, 0.99, 1],
      registers,
    }),
    watchPool(queued) {
      const gauge: Gauge = new Gauge({
        name: 'feedrank_pool_queue',
        help: 'Slate requests waiting for a worker.',
        registers,
        collect: () => gauge.set(queued()),
      });
    },
    watchReadiness: (read) => watchReadiness(registers, read),
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

/** The stage that a cause of degradation belongs to. */
function stageOfCause(cause: string): string {
  if (cause.startsWith('user_')) return 'hydrate';
  if (cause.startsWith('prerank_')) return 'prerank';
  if (cause.startsWith('ranker_') || cause.startsWith('light_ranker_')) return 'rank';
  return 'retrieve';
}

function watchReadiness(registers: Registry[], read: () => ReadinessFigures): void {
  const ready: Gauge = new Gauge({
    name: 'feedrank_ready',
    help: '1 when /health/ready says so.',
    registers,
    collect: () => ready.set(read().ready ? 1 : 0),
  });
  const impaired: Gauge = new Gauge({
    name: 'feedrank_impairments',
    help: 'What /health/ready lists as missing while it serves.',
    registers,
    collect: () => impaired.set(read().degraded.length),
  });
  const models: Gauge<'role' | 'model'> = new Gauge({
    name: 'feedrank_model_info',
    help: 'Always 1; the labels name the models that serve.',
    labelNames: ['role', 'model'],
    registers,
    collect() {
      models.reset();
      for (const [role, model] of Object.entries(read().models)) models.set({ role, model }, 1);
    },
  });
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
  figure(
    'feedrank_index_recall',
    'Recall of the search that serves, as measured against the exact scan when it was built; NaN when it was not.',
    ({ recall }) => recall ?? Number.NaN,
  );
}
