// The device that ranks, where EXECUTION_PROVIDER names one: its worker, its models, its metrics. A version is open on
// the device before a feed worker hears of it, and closed after the last one has let go of it.
import type { FastifyBaseLogger } from 'fastify';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Config } from '../config.ts';
import { FULL_WIDTH } from '../features/feature-schema.ts';
import type { WorkerPool } from '../pool.ts';
import { DeviceHost, type OpenedModel } from '../ranking/device/device-host.ts';
import type { WorkerEvent } from '../ranking/device/device-protocol.ts';
import { MAIN_RANKER, type RankerSource } from '../ranking/model-registry.ts';
import type { RankerPlan, ShelfReport } from '../ranking/ranker-shelf.ts';

type Broadcaster = Pick<WorkerPool, 'broadcast'>;

export interface Device {
  /** What feed workers are given; `device` is absent on the CPU. */
  ranking: Pick<RankerSource, 'provider' | 'device'>;
  /** The pool, with the device told of every plan of models before its feed workers. */
  before(pool: Broadcaster): Broadcaster;
  problems(): string[];
  close(): Promise<void>;
}

export function openDevice(config: Config, registry: Registry, logger: FastifyBaseLogger): Device {
  const { EXECUTION_PROVIDER: provider, MODELS_DIR: modelsDir, FEED_WORKERS, CANDIDATES } = config;
  if (provider === 'cpu') {
    return { ranking: { provider }, before: (pool) => pool, problems: () => [], close: async () => {} };
  }
  const metrics = createDeviceMetrics(registry, () => host.turnedAway);
  const host: DeviceHost = new DeviceHost({
    provider,
    modelsDir,
    workers: FEED_WORKERS,
    rows: CANDIDATES,
    columns: FULL_WIDTH,
    onEvent: (event) => {
      metrics.observe(event);
      if (event.kind === 'failed')
        logger.error({ provider, reason: event.error }, 'a batch failed on the device');
    },
    onExit: (error) => {
      metrics.restarts.inc();
      logger.error({ provider, reason: error?.message }, 'the device worker ended');
    },
  });
  return {
    ranking: { provider, device: host.handle },
    before: (pool) =>
      tellBefore(pool, host, (problem) =>
        logger.error({ provider, problem }, 'the CPU ranks instead of the device'),
      ),
    problems: () => host.problems(),
    close: () => host.stop(),
  };
}

function tellBefore(pool: Broadcaster, host: DeviceHost, onProblem: (problem: string) => void): Broadcaster {
  return {
    async broadcast(kind, payload, key, inTurn) {
      if (kind !== 'models') return pool.broadcast(kind, payload, key, inTurn);
      const plan = payload as RankerPlan;
      const device: Record<string, OpenedModel> = {};
      for (const version of [plan.serving, ...plan.others]) {
        if (version === null) continue;
        device[version] = await host.open(MAIN_RANKER, version);
        if ('problem' in device[version]) onProblem(device[version].problem);
      }
      const reports = await pool.broadcast(kind, { ...plan, device } satisfies RankerPlan, key, inTurn);
      // A worker that refuses a version goes on with the one before.
      const open = (reports as ShelfReport[]).flatMap((report) => report.open);
      await host.keepOnly(MAIN_RANKER, [...open, ...Object.keys(device)]);
      return reports;
    },
  };
}

function createDeviceMetrics(registry: Registry, turnedAway: () => number) {
  const registers = [registry];
  const queue = new Gauge({
    name: 'feedrank_device_queue',
    help: 'Requests that waited for the device when its latest batch ended.',
    registers,
  });
  const requests = new Histogram({
    name: 'feedrank_device_batch_requests',
    help: 'Requests of a batch on the device.',
    buckets: [1, 2, 3, 4, 6, 8, 12, 16, 32, 64],
    registers,
  });
  const rows = new Counter({
    name: 'feedrank_device_rows_total',
    help: 'Rows that the device ran, by kind: candidates, or padding up to the next bucket.',
    labelNames: ['kind'],
    registers,
  });
  const seconds = new Histogram({
    name: 'feedrank_device_batch_seconds',
    help: 'Time of a batch on the device, transfers included.',
    buckets: [0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256],
    registers,
  });
  const refused: Counter<'reason'> = new Counter({
    name: 'feedrank_device_refused_total',
    help: 'Requests that the device did not rank: early (before they were sent), late, full, expired (while they waited).',
    labelNames: ['reason'],
    registers,
    collect() {
      const before = early;
      early = turnedAway();
      refused.inc({ reason: 'early' }, early - before);
    },
  });
  let early = 0;
  const failures = new Counter({
    name: 'feedrank_device_failures_total',
    help: 'Batches that failed on the device.',
    registers,
  });
  const restarts = new Counter({
    name: 'feedrank_device_restarts_total',
    help: 'Deaths of the device worker.',
    registers,
  });
  return {
    restarts,
    observe(event: WorkerEvent): void {
      if (event.kind === 'failed') {
        failures.inc();
        return;
      }
      queue.set(event.queued);
      if (event.kind === 'refused') {
        refused.inc({ reason: event.reason });
        return;
      }
      requests.observe(event.requests);
      seconds.observe(event.ms / 1000);
      rows.inc({ kind: 'candidate' }, event.rows);
      rows.inc({ kind: 'padding' }, event.bucket - event.rows);
    },
  };
}
