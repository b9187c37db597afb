// Metrics of the updater, on a registry of its own.
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';

export interface UpdaterMetrics {
  registry: Registry;
  changes: Counter<'kind'>;
  embeddings: Counter;
  reseeds: Counter;
  streamStarts: Counter;
  skipped: Counter;
  keptWal: Gauge;
}

export interface UpdaterFigures {
  leads: boolean;
  /** Since everything committed was known to be applied; 0 while another updater leads. */
  lagMs: number;
}

export function createUpdaterMetrics(read: () => UpdaterFigures, alertMs: number): UpdaterMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const figure = (name: string, help: string, value: (figures: UpdaterFigures) => number) => {
    const gauge: Gauge = new Gauge({ name, help, registers, collect: () => gauge.set(value(read())) });
  };
  figure('feedrank_updater_leads', 'Whether this updater leads.', ({ leads }) => Number(leads));
  figure(
    'feedrank_updater_lag_seconds',
    'Since everything committed was known to be applied; 0 where another leads.',
    ({ lagMs }) => lagMs / 1000,
  );
  figure('feedrank_updater_late', 'Whether the lag is above CHANGES_LAG_ALERT_MS.', ({ lagMs }) =>
    Number(lagMs > alertMs),
  );
  return {
    registry,
    changes: new Counter({
      name: 'feedrank_updater_changes_total',
      help: 'Committed changes applied and published.',
      labelNames: ['kind'],
      registers,
    }),
    embeddings: new Counter({
      name: 'feedrank_updater_user_embeddings_total',
      help: 'User embeddings computed.',
      registers,
    }),
    reseeds: new Counter({
      name: 'feedrank_updater_reseeds_total',
      help: 'Times that changes were read again from SQL because the replication slot was lost.',
      registers,
    }),
    streamStarts: new Counter({
      name: 'feedrank_updater_stream_starts_total',
      help: 'Times that the change stream began anew because Redis had lost it.',
      registers,
    }),
    skipped: new Counter({
      name: 'feedrank_updater_changes_skipped_total',
      help: 'Changes that no store took.',
      registers,
    }),
    keptWal: new Gauge({
      name: 'feedrank_updater_wal_kept_bytes',
      help: 'Log that the replication slot keeps on the server.',
      registers,
    }),
  };
}
