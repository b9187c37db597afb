// The HTTP application, apart from the process: wires the parts to the context and registers the routes. main listens
// on it, tests inject into it. Closing it writes what the serving log still waits for.
import Fastify, { type FastifyInstance, LogController } from 'fastify';
import type { FastifyPluginAsyncZod, ZodTypeProvider } from 'fastify-type-provider-zod';
import { FeedrankError } from '../errors.ts';
import { createApiMetrics } from './api-metrics.ts';
import type { AppContext } from './app-context.ts';
import { ApplyAfterCommit } from './apply-after-commit.ts';
import { respondToBrokenRequest } from './broken-request.ts';
import { edgeRoutes } from './edge-routes.ts';
import { sendProblem } from './errors.ts';
import { EventIngestion } from './event-ingestion.ts';
import { FeedCursors } from './feed-cursor.ts';
import { FeedPages } from './feed-pages.ts';
import { feedRoute } from './feed-route.ts';
import { FeedSessions } from './feed-sessions.ts';
import { Idempotency } from './idempotency.ts';
import { IngestGate } from './ingest-gate.ts';
import { ingestRoutes } from './ingest-routes.ts';
import { LastGoodSlates } from './last-good-slates.ts';
import { limitAddresses } from './limits.ts';
import { registerOpenapi } from './openapi.ts';
import { opsRoutes } from './ops-routes.ts';
import { PostCache } from './post-cache.ts';
import { PostIngestion } from './post-ingestion.ts';
import { postRoutes } from './post-routes.ts';
import { RecentErasures } from './recent-erasures.ts';
import { newRequestId } from './request-id.ts';
import { SeenRecorder } from './seen-recorder.ts';
import { ServingLogQueue } from './serving-log-queue.ts';
import { TrackingTokens } from './tracking-token.ts';
import { UserEdges } from './user-edges.ts';
import { UserErasure } from './user-erasure.ts';
import { userRoutes } from './user-routes.ts';
import { validateWithZod } from './validation.ts';

/** A whole request must have arrived by then; a connection may idle for so long. */
const REQUEST_TIMEOUT_MS = 30_000;
const CONNECTION_TIMEOUT_MS = 60_000;
/** Longer than the idle time of usual balancers (60 s), so that they close first. */
const KEEP_ALIVE_MS = 65_000;
const HANDLER_GRACE_MS = 2000;
/** What is still written at shutdown gets this long. */
const CLOSE_MS = 3000;
/** Path parameters are refused by their schemas, which name the field; no route has a pattern to be slow on. */
const MAX_PARAMETER_CHARACTERS = 65_536;

export function buildApp(context: AppContext): FastifyInstance {
  const { config, logger } = context;
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: newRequestId,
    requestIdHeader: false,
    trustProxy: config.trustProxy.length > 0 ? [...config.trustProxy] : false,
    bodyLimit: config.bodyLimitBytes,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    handlerTimeout: config.ingestDeadlineMs + HANDLER_GRACE_MS,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: MAX_PARAMETER_CHARACTERS },
    frameworkErrors: (error, request, reply) => sendProblem(error, request, reply),
    clientErrorHandler: respondToBrokenRequest,
  }).withTypeProvider<ZodTypeProvider>();
  app.removeContentTypeParser('text/plain');
  app.setValidatorCompiler(validateWithZod);
  app.setSerializerCompiler(() => JSON.stringify);
  app.setErrorHandler(sendProblem);
  app.setNotFoundHandler((request, reply) =>
    sendProblem(new FeedrankError('not_found', 'there is no such route'), request, reply),
  );
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
  });
  registerOpenapi(app as unknown as FastifyInstance, config.docs);
  limitAddresses(app as unknown as FastifyInstance, config, context.rateLimitRedis);
  for (const routes of routesOf(app as unknown as FastifyInstance, context)) app.register(routes);
  return app as unknown as FastifyInstance;
}

function routesOf(app: FastifyInstance, context: AppContext): FastifyPluginAsyncZod[] {
  const { config, clock, logger, stores, ranker, catalogue, health } = context;
  const servingLog = new ServingLogQueue(stores.servingLog, config.servingLogQueue, (records, error) => {
    metrics.servingRecordsLost.inc(records);
    logger.warn({ err: error, records }, 'serving records lost');
  });
  const metrics = createApiMetrics(context.metrics.registry, () => servingLog.size);
  const seen = new SeenRecorder(stores.state, clock.now, (posts) => metrics.seenLost.inc(posts));
  const posts = new PostCache(stores.posts, config.postCacheSize);
  const lastGood = new LastGoodSlates(catalogue, clock.now);
  const erasures = new RecentErasures();
  const unsubscribe = context.onChange((change) => {
    posts.onChange(change);
    lastGood.onChange(change);
    erasures.onChange(change);
  });
  const apply = new ApplyAfterCommit(context.applyNow, logger, () => metrics.applyFailures.inc());
  const tokens = new TrackingTokens(config.cursorSecret);
  const cursors = new FeedCursors(config.cursorSecret);
  const sessions = new FeedSessions(stores.sessions, config.sessionTtlMs, clock.now);
  const edges = new UserEdges(stores.state, stores.users);
  const parts = { config, clock, ranker, catalogue, posts, seen, lastGood, tokens, cursors, sessions, edges };
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    const labels = { route, method: request.method, status: String(reply.statusCode) };
    metrics.requestSeconds.observe(labels, reply.elapsedTime / 1000);
  });
  app.addHook('onClose', async () => {
    unsubscribe();
    await Promise.all([seen.drain(CLOSE_MS), servingLog.close()]);
  });
  return [
    feedRoute({ ...parts, pages: new FeedPages(parts), servingLog, erasures, metrics }),
    ingestRoutes({
      config,
      clock,
      posts: new PostIngestion({ store: stores.posts, clock, apply }),
      events: new EventIngestion({ store: stores.events, posts, tokens, clock, apply }),
      idempotency: new Idempotency(stores.sessions, config.idempotencyTtlMs),
      gate: new IngestGate(config.ingestConcurrency, config.ingestQueue),
      metrics,
    }),
    userRoutes({
      config,
      clock,
      users: stores.users,
      apply,
      erasure: new UserErasure({
        users: stores.users,
        state: stores.state,
        sessions,
        seen,
        servingLog,
        apply,
      }),
    }),
    edgeRoutes({ config, clock, users: stores.users, apply }),
    postRoutes({ config, clock, store: stores.posts, posts, catalogue, health, apply }),
    opsRoutes(context),
  ];
}
