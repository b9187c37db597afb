// The composition root: it and composition/ alone name concrete adapters. Opens everything in the order of its needs, and
// closes it in the opposite order.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { buildApp } from './api/app.ts';
import type { AppContext } from './api/app-context.ts';
import type { Draining } from './api/draining.ts';
import { Applier } from './applier.ts';
import { GenerationView } from './catalogue-view.ts';
import { ColdStart } from './cold-start.ts';
import { openCaches } from './composition/caches.ts';
import { openDevice } from './composition/device.ts';
import { openFeedJobs } from './composition/feed-jobs.ts';
import { composeIndexLifeCycle } from './composition/index-life-cycle.ts';
import { openLiveData } from './composition/live-data.ts';
import { composeModelLifeCycle } from './composition/model-life-cycle.ts';
import { openOperations } from './composition/operations.ts';
import { rankingOptions } from './composition/ranking-options.ts';
import { readinessOf } from './composition/readiness.ts';
import { openResilience } from './composition/resilience.ts';
import { composeRules } from './composition/rules-life-cycle.ts';
import { readSettings } from './composition/settings.ts';
import { openStores } from './composition/stores.ts';
import type { Config } from './config.ts';
import type { Change } from './contracts.ts';
import { messageOf } from './errors.ts';
import { EmbedPool } from './features/embed-pool.ts';
import { Generations } from './generations.ts';
import { UserHydrator } from './hydrate.ts';
import { LiveRecall } from './live-recall.ts';
import { WorkerPool } from './pool.ts';
import { towerPost } from './post-text.ts';
import { promotedFolder } from './ranking/model-registry.ts';
import { SlateMaker } from './slate-maker.ts';
import { createTelemetry } from './telemetry.ts';
import { UserEmbedder } from './user-embedder.ts';
import { DIM } from './vocabulary.ts';
import type { FeedWorkerData } from './worker.ts';

export interface Service {
  app: FastifyInstance;
  generations: Generations;
  slates: SlateMaker;
  /** Begun before `close`, it turns readiness off while requests are still served. */
  draining: Draining;
  /** Stops taking requests, finishes those in flight, closes every store and worker. */
  close(): Promise<void>;
}

/** @throws when a store, a tower, a model folder or a file of rules cannot be opened: the start stops, with the reason. */
export async function composeService(config: Config, logger: FastifyBaseLogger): Promise<Service> {
  const closers: (() => Promise<void> | void)[] = [];
  const closeAll = async () => {
    for (const close of closers.splice(0).reverse()) {
      await Promise.resolve(close()).catch((error) =>
        logger.warn({ reason: messageOf(error) }, 'closing failed'),
      );
    }
  };
  try {
    return await compose(config, logger, closers, closeAll);
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function compose(
  config: Config,
  logger: FastifyBaseLogger,
  closers: (() => Promise<void> | void)[],
  closeAll: () => Promise<void>,
): Promise<Service> {
  mkdirSync(config.DATA_DIR, { recursive: true });
  const telemetry = createTelemetry();
  const operations = await openOperations(config, logger);
  closers.push(() => operations.close());
  const resilience = openResilience(config, telemetry.registry);
  const { policies, admission } = resilience;
  closers.push(() => resilience.close());
  const { retrieval, weights, api } = readSettings(config);

  const stores = await openStores(config, policies);
  const { sql } = stores;
  closers.push(stores.close);
  const caches = openCaches(config, stores.state, telemetry.registry);
  const { state } = caches;

  const live = await openLiveData(config, sql, (level, details, message) => logger[level](details, message));
  closers.push(() => live.close());

  const embeds = await EmbedPool.start({
    postTowerDir: await promotedFolder(config.MODELS_DIR, 'post-tower'),
    userTowerDir: await promotedFolder(config.MODELS_DIR, 'user-tower'),
    workers: config.EMBED_WORKERS,
    onWorkerExit: (error) => logger.error({ reason: error.message }, 'an embed worker ended'),
  });
  closers.push(() => embeds.close());
  const tower = embeds.postTower;

  const device = openDevice(config, telemetry.registry, logger);
  closers.push(() => device.close());
  const workerData: FeedWorkerData = {
    ranking: { modelsDir: config.MODELS_DIR, tower, ...rankingOptions(config), ...device.ranking },
    weights,
    retrieval,
  };
  const pool = new WorkerPool({
    script: new URL('./worker.ts', import.meta.url),
    size: config.FEED_WORKERS,
    workerData,
    heapMb: config.FEED_WORKER_HEAP_MB,
    onWorkerExit: (error) => logger.error({ reason: error?.message }, 'a feed worker ended'),
    onWorkerLost: resilience.onWorkerLost,
  });
  resilience.watchPool(pool);
  closers.push(() => pool.close());

  const { registry } = telemetry;
  const parts = { pool, registry, logger, find: (postId: string) => catalogue.find(postId) };
  const rules = composeRules(config, parts);
  closers.push(() => rules.rollout.close());
  await rules.rollout.open();

  const { models, choices, rollout } = composeModelLifeCycle(config, {
    ...parts,
    device,
    weights,
    refusals: () => [
      ...(generations.refused ? [{ kind: 'index' as const, name: 'index', ...generations.refused }] : []),
      ...rules.refusals(),
    ],
  });
  await rollout.open();
  closers.push(() => rollout.close());

  const indexes = composeIndexLifeCycle(config, parts);
  const embedder = new UserEmbedder({
    state: state.direct,
    tower,
    lookup: () => generations.lookup,
    embedUsers: (users) => embeds.embedUsers(users),
    onComputed: (users) => telemetry.embeddingsComputed.inc(users),
  });
  const listeners = new Set<(change: Change) => void>([
    (change) => choices.onChange(change),
    (change) => rules.choices.onChange(change),
    (change) => indexes.choices.onChange(change),
    caches.onChange,
  ]);
  const applier = new Applier({
    source: sql,
    state,
    embedder,
    embedPosts: (posts) => embeds.embedPosts(posts.map(towerPost)),
    dim: DIM,
    onChange: (change) => {
      for (const listener of listeners) listener(change);
    },
  });
  const generations: Generations = new Generations({
    indexDir: join(config.DATA_DIR, 'index'),
    liveCapacity: config.LIVE_CAPACITY,
    tower,
    beginning: '',
    changes: sql,
    stream: live.stream,
    applier,
    pool,
    changesPollMs: config.CHANGES_POLL_MS,
    indexPollMs: config.INDEX_POLL_MS,
    policy: indexes.rollout,
    onApplied: (kinds) => {
      for (const kind of kinds) telemetry.changesApplied.inc({ kind });
    },
    onChangeFailure: (reason) => {
      telemetry.changeFailures.inc();
      logger.warn({ reason }, 'the change feed cannot be read');
    },
    log: (level, details, message) => logger[level](details, message),
  });
  const catalogue: GenerationView = new GenerationView(generations, pool, retrieval);
  await generations.open();
  closers.push(() => generations.close());

  telemetry.watchGeneration(() => {
    const { id, search, table, follower, recall } = generations.current;
    return {
      id,
      search,
      recall,
      rows: table.rows,
      baseRows: table.baseRows,
      deletedRows: table.deletedRows.all,
      changesAgeSeconds: follower.ageMs / 1000,
      workers: pool.available,
    };
  });

  const cold = new ColdStart((posts) => embeds.embedPosts(posts), embeds.coldStart());
  const hydrator = new UserHydrator({
    state,
    users: sql,
    events: sql,
    posts: sql,
    embedder,
    tower,
    coldStart: (user) => cold.vector(user),
    coldVector: cold.fixed,
  });
  listeners.add((change) => {
    if (change.kind === 'user') hydrator.forget(change.user.id);
    else if (change.kind === 'edge') hydrator.forget(change.edge.userId);
    else if (change.kind === 'event') hydrator.forget(change.event.userId);
  });
  const slates = new SlateMaker({
    hydrator,
    generations,
    pool,
    models: choices,
    cache: caches.slates,
    rules: rules.choices,
    indexes: indexes.choices,
    recall: new LiveRecall({ pool, share: config.RECALL_SHARE, recall: telemetry.liveRecall }),
    candidates: config.CANDIDATES,
    featureLogShare: config.FEATURE_LOG_SHARE,
    changesLateMs: config.CHANGES_LAG_ALERT_MS,
    telemetry,
    onFailures: (requestId, failures) => logger.warn({ requestId, failures }, 'a slate was degraded'),
  });

  const health = () =>
    readinessOf({
      generations,
      pool,
      problems: [
        () => rollout.problems,
        () => operations.problems(),
        () => resilience.problems(),
        () => device.problems(),
        () => rules.rollout.problems,
        () => indexes.rollout?.problems ?? [],
        () => [embeds.trouble],
      ],
      changesLateMs: config.CHANGES_LAG_ALERT_MS,
      rankers: () => models.models,
      towers: { 'post-tower': embeds.postTower, 'user-tower': embeds.userTower },
      stores: { posts: sql.kind, state: state.kind },
      hasStream: Boolean(live.stream),
    });

  const context: AppContext = {
    config: api,
    clock: { now: Date.now },
    logger,
    metrics: { registry: telemetry.registry },
    ranker: slates,
    catalogue,
    stores: { ...stores.ports, state, sessions: state },
    applyNow: (changes) => applier.applyNow(changes, generations.writers),
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    health,
    models: rollout,
    rules: rules.rollout,
    onServed: (record) => {
      choices.served(record);
      rules.choices.served(record);
      indexes.choices.served(record);
    },
    admission,
    auth: operations.auth,
    limitCounter: operations.limitCounter,
    feedJobs: openFeedJobs(config, sql, telemetry.registry, logger),
    draining: operations.draining,
  };
  telemetry.watchReadiness(health);
  telemetry.watchPool(() => pool.queued);
  const app = await buildApp(context);
  return {
    app,
    generations,
    slates,
    draining: operations.draining,
    close: async () => {
      await app.close();
      await closeAll();
    },
  };
}
