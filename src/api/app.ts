// The HTTP application, apart from the process: wires the parts to the context and registers the routes. main listens
// on it, tests inject into it. Closing it writes what the serving log still waits for.
import Fastify, { type FastifyInstance, LogController } from 'fastify';
import type { FastifyPluginAsyncZod, ZodTypeProvider } from 'fastify-type-provider-zod';
import { Admission } from '../admission.ts';
import { FeedrankError } from '../errors.ts';
import { adminRoutes } from './admin-routes.ts';
import { type ApiMetrics, createApiMetrics } from './api-metrics.ts';
import type { AppContext } from './app-context.ts';
import { ApplyAfterCommit } from './apply-after-commit.ts';
import { guardRoutes } from './auth/guard.ts';
import { respondToBrokenRequest } from './broken-request.ts';
import { closeConnectionsWhile, Draining } from './draining.ts';
import { edgeRoutes } from './edge-routes.ts';
import { sendProblem } from './errors.ts';
import { EventIngestion } from './event-ingestion.ts';
import { FeedCursors } from './feed-cursor.ts';
import { FeedPages } from './feed-pages.ts';
import { feedRoute } from './feed-route.ts';
import { FeedSessions } from './feed-sessions.ts';
import { Idempotency } from './idempotency.ts';
import { measureRequests } from './in-flight.ts';
import { IngestGate } from './ingest-gate.ts';
import { ingestRoutes } from './ingest-routes.ts';
import { computeFeedJobPage } from './jobs/feed-job-page.ts';
import { feedJobRoutes } from './jobs/feed-job-routes.ts';
import { parseJsonBodies } from './json-body.ts';
import { LastGoodSlates } from './last-good-slates.ts';
import { type LimitEvents, limitAddresses } from './limits.ts';
import { newPostsRoute } from './new-posts-route.ts';
import { describeRoutes, serveDocs } from './openapi.ts';
import { opsRoutes } from './ops-routes.ts';
import { standAtTheDoor } from './overload-door.ts';
import { PostCache } from './post-cache.ts';
import { PostIngestion } from './post-ingestion.ts';
import { postRoutes } from './post-routes.ts';
import { RecentErasures } from './recent-erasures.ts';
import { newRequestId } from './request-id.ts';
import { requestLog } from './request-log.ts';
import { traceRequests } from './request-tracing.ts';
import { secureAnswers } from './security-headers.ts';
import { SeenRecorder } from './seen-recorder.ts';
import { ServingLogQueue } from './serving-log-queue.ts';
import { TrackingTokens } from './tracking-token.ts';
import { UserEdges } from './user-edges.ts';
import { UserErasure } from './user-erasure.ts';
import { userRoutes } from './user-routes.ts';
import { validateWithZod } from './validation.ts';

/** A connection on which nothing moves may stay for so long, and serve so many requests. */
const CONNECTION_TIMEOUT_MS = 60_000;
const MAX_REQUESTS_PER_CONNECTION = 100_000;
/** How often connections are held against their times; Node's own 30 s would let a slow client stay for long. */
const CHECK_CONNECTIONS_MS = 2000;
const MAX_HEADER_BYTES = 16_384;
const MAX_HEADERS = 100;
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
    childLoggerFactory: requestLog,
    genReqId: newRequestId,
    requestIdHeader: false,
    trustProxy: config.trustProxy.length > 0 ? [...config.trustProxy] : false,
    bodyLimit: config.bodyLimitBytes,
    http: {
      headersTimeout: config.headersTimeoutMs,
      connectionsCheckingInterval: Math.min(CHECK_CONNECTIONS_MS, config.headersTimeoutMs),
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    requestTimeout: config.requestTimeoutMs,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    maxRequestsPerSocket: MAX_REQUESTS_PER_CONNECTION,
    // While it closes it goes on answering what still comes over open connections, and asks those to close.
    return503OnClosing: false,
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
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    done();
  });
  const root = app as unknown as FastifyInstance;
  root.server.maxHeadersCount = MAX_HEADERS;
  const metrics = createApiMetrics(context.metrics.registry);
  traceRequests(root);
  measureRequests(root, metrics);
  parseJsonBodies(root);
  secureAnswers(root);
  const draining = context.draining ?? new Draining();
  const admission = context.admission ?? new Admission({ workers: 1, deadlineMs: config.feedDeadlineMs });
  const refused = { route: '/feed/:userId', method: 'GET', status: '503' };
  standAtTheDoor(root, {
    admission,
    draining,
    onRefused: (seconds) => metrics.requestSeconds.observe(refused, seconds),
  });
  closeConnectionsWhile(root, draining);
  describeRoutes(root);
  const limitEvents: LimitEvents = {
    onExceeded: (limit) => metrics.rateLimited.inc({ limit }),
    onFallback: () => metrics.limitFallbacks.inc(),
  };
  limitAddresses(root, config, context.limitCounter, limitEvents, ({ headers }) =>
    Boolean(context.auth?.isServiceKey(headers)),
  );
  guardRoutes(root, {
    config,
    auth: context.auth,
    onRefusal: (reason) => metrics.authRefusals.inc({ reason }),
  });
  if (config.docs) serveDocs(root);
  for (const routes of routesOf(root, { ...context, draining, admission }, metrics)) app.register(routes);
  return root;
}

function routesOf(
  app: FastifyInstance,
  context: AppContext & { draining: Draining; admission: NonNullable<AppContext['admission']> },
  metrics: ApiMetrics,
): FastifyPluginAsyncZod[] {
  const { config, clock, logger, stores, ranker, catalogue, health, admission } = context;
  const servingLog = new ServingLogQueue(stores.servingLog, config.servingLogQueue, (records, error) => {
    metrics.servingRecordsLost.inc(records);
    logger.warn({ err: error, records }, 'serving records lost');
  });
  metrics.watchQueue('serving_log', () => servingLog.size);
  const gate = new IngestGate(config.ingestConcurrency, config.ingestQueue);
  metrics.watchQueue('ingest_items', () => gate.queued);
  const seen = new SeenRecorder(stores.state, clock.now, (posts) => metrics.seenLost.inc(posts));
  const posts = new PostCache(stores.texts ?? stores.posts, config.postCacheSize, (outcome, count) =>
    metrics.cacheRequests.inc({ cache: 'posts', outcome }, count),
  );
  const lastGood = new LastGoodSlates(catalogue, clock.now);
  const erasures = new RecentErasures();
  const unsubscribe = context.onChange((change) => {
    posts.onChange(change);
    lastGood.onChange(change);
    erasures.onChange(change);
  });
  const apply = new ApplyAfterCommit(
    context.applyNow,
    logger,
    () => metrics.applyFailures.inc(),
    config.ingestDeadlineMs,
  );
  const tokens = new TrackingTokens(config.cursorSecret);
  const cursors = new FeedCursors(config.cursorSecret);
  const sessions = new FeedSessions(stores.sessions, config.sessionTtlMs, clock.now);
  const edges = new UserEdges(stores.state, stores.users);
  const parts = { config, clock, ranker, catalogue, posts, seen, lastGood, tokens, cursors, sessions, edges };
  const pages = new FeedPages(parts);
  const { feedJobs } = context;
  app.addHook('onReady', async () => feedJobs?.start(computeFeedJobPage({ ...parts, admission, pages })));
  app.addHook('onClose', async () => {
    unsubscribe();
    await feedJobs?.close();
    await Promise.all([seen.drain(CLOSE_MS), servingLog.close()]);
  });
  return [
    ...(context.models ? [adminRoutes(context.models, context.rules)] : []),
    feedRoute({
      ...parts,
      admission,
      onServed: context.onServed,
      pages,
      servingLog,
      erasures,
      metrics,
    }),
    ...(feedJobs ? [feedJobRoutes({ ...parts, jobs: feedJobs })] : []),
    newPostsRoute({ config, clock, catalogue, seen, state: stores.state, users: stores.users }),
    ingestRoutes({
      config,
      posts: new PostIngestion({ store: stores.posts, clock, apply }),
      events: new EventIngestion({ store: stores.events, posts, catalogue, tokens, clock, apply }),
      idempotency: new Idempotency(stores.sessions, config.idempotencyTtlMs),
      gate,
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
    postRoutes({ config, store: stores.posts, posts, catalogue, health, apply }),
    opsRoutes(context),
  ];
}
