// What compose wires for running the service rather than for ranking: credentials, shared rate limits, traces, the
// drain before the end. Opened first and closed last, so that the stores' last calls are still traced.
import type { FastifyBaseLogger } from 'fastify';
import { Authenticator } from '../api/auth/authenticator.ts';
import { Draining } from '../api/draining.ts';
import type { SharedCounter } from '../api/limit-store.ts';
import { authSettings } from '../auth-settings.ts';
import type { Config } from '../config.ts';
import type { SqlStore } from '../features/store/postgres-store.ts';
import { RedisLimitCounter } from '../features/store/redis-limit-counter.ts';
import type { OnlineStore } from '../features/store/state-store.ts';
import { redisTarget } from '../redis-settings.ts';
import { startTracing, tracedStore } from '../tracing.ts';

export interface Operations {
  /** Absent: the service is open. */
  auth: Authenticator | undefined;
  limitCounter: SharedCounter | undefined;
  draining: Draining;
  /** What of the configuration is not in force, for /health/ready. */
  problems(): string[];
  close(): Promise<void>;
}

const OPEN_WARNING =
  'OPEN: no API_KEYS_FILE and no JWT_ISSUER is set, so whoever reaches this port reads every feed and writes every event';

/** @throws Error naming the setting when a file of keys cannot be used. */
export async function openOperations(config: Config, logger: FastifyBaseLogger): Promise<Operations> {
  const settings = authSettings(config);
  const auth = settings
    ? new Authenticator(settings, {
        onReload: (problem) =>
          problem === null
            ? logger.info('keys were read again')
            : logger.error({ reason: problem }, 'new keys are not in force'),
      })
    : undefined;
  if (!auth) logger.warn({ host: config.HOST }, OPEN_WARNING);
  const redis = redisTarget(config);
  const counter = redis && new RedisLimitCounter({ redis });
  const stopTracing = config.OTEL_EXPORTER_OTLP_ENDPOINT
    ? await startTracing({
        endpoint: config.OTEL_EXPORTER_OTLP_ENDPOINT,
        serviceName: config.OTEL_SERVICE_NAME,
        ratio: config.OTEL_TRACES_SAMPLER_ARG,
      })
    : undefined;
  return {
    auth,
    limitCounter: counter,
    draining: new Draining(),
    problems: () => auth?.problems ?? [],
    async close() {
      auth?.close();
      counter?.close();
      await stopTracing?.();
    },
  };
}

/** The SQL store with a span around every call of a request. */
export function tracedSql(sql: SqlStore): SqlStore {
  return tracedStore(sql, sql.kind === 'postgres' ? 'postgresql' : 'pglite', {
    methods: [
      'putPosts',
      'getPosts',
      'deletePost',
      'putUsers',
      'getUser',
      'setEdges',
      'eraseUser',
      'appendEvents',
      'recentEvents',
      'recentEventsOf',
    ],
    linked: ['append'],
  });
}

/** The online state with a span around every call of a request. */
export function tracedState(state: OnlineStore): OnlineStore {
  return tracedStore(state, state.kind, { methods: ['getState', 'putState', 'eraseState', 'get', 'set'] });
}
