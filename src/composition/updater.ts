// Composes the updater: opens the stores, waits for leadership, runs, and begins again after a failure. Several may run:
// one leads. Called by src/updater.ts.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Applier } from '../applier.ts';
import type { Config } from '../config.ts';
import { deadlineIn } from '../deadline.ts';
import { messageOf } from '../errors.ts';
import { EmbedPool } from '../features/embed-pool.ts';
import { openSqlStore } from '../features/store/postgres-store.ts';
import { openStateStore } from '../features/store/state-store.ts';
import { ChangePublisher } from '../features/stream/change-publisher.ts';
import { becomeLeader } from '../features/stream/leader-lock.ts';
import {
  MAX_KEPT_WAL_MB,
  makeSlot,
  setUpReplication,
  slotState,
} from '../features/stream/replication-slot.ts';
import { ReplicationSource } from '../features/stream/replication-source.ts';
import { StreamCheckpoint } from '../features/stream/stream-checkpoint.ts';
import { towerPost } from '../post-text.ts';
import { PostVectors } from '../post-vectors.ts';
import { promotedFolder } from '../ranking/model-registry.ts';
import { redisTarget } from '../redis-settings.ts';
import { StreamUpdater } from '../stream-updater.ts';
import { UserEmbedder } from '../user-embedder.ts';
import { DIM } from '../vocabulary.ts';
import { startUpkeep } from './live-data.ts';
import { createUpdaterMetrics } from './updater-metrics.ts';

const TIMEOUT_MS = 10_000;
const RETRY_MS = 1_000;
/** As in the serving process. */
const CONNECT_MS = 2000;

type Log = (level: 'info' | 'warn' | 'error', details: Record<string, unknown>, message: string) => void;

export interface RunningUpdater {
  /** Where /health/ready and /metrics are. */
  url: string;
  /** Finishes the batch in hand, writes the checkpoint, lets another lead. */
  close(): Promise<void>;
}

/** @throws Error when a setting is missing or a store or tower cannot be opened. */
export async function startUpdater(config: Config, log: Log): Promise<RunningUpdater> {
  const { DATABASE_URL: databaseUrl, REPLICATION_SLOT: slot } = config;
  const redis = redisTarget(config);
  if (!databaseUrl || !redis) {
    throw new Error(
      'DATABASE_URL and REDIS_URL (or a Cluster, or Sentinels) are needed: embedded stores are updated by the service itself',
    );
  }
  const closers: (() => Promise<unknown>)[] = [];
  const closeAll = async () => {
    for (const close of closers.splice(0).reverse()) await close().catch(() => {});
  };
  let leads = false;
  let completeAtMs = Date.now();
  const lagMs = () => (leads ? Math.max(0, Date.now() - completeAtMs) : 0);
  const metrics = createUpdaterMetrics(() => ({ leads, lagMs: lagMs() }), config.CHANGES_LAG_ALERT_MS);
  try {
    const sql = await openSqlStore({
      databaseUrl,
      dataDir: config.DATA_DIR,
      poolSize: config.DATABASE_POOL,
      connectTimeoutMs: CONNECT_MS,
    });
    closers.push(() => sql.close());
    closers.push(startUpkeep(config, sql, log));
    const state = await openStateStore({ redis, dataDir: config.DATA_DIR });
    closers.push(() => state.close());
    const publisher = await ChangePublisher.open({ redis, slot, length: config.CHANGE_STREAM_LENGTH });
    closers.push(() => publisher.close());
    const embeds = await EmbedPool.start({
      postTowerDir: await promotedFolder(config.MODELS_DIR, 'post-tower'),
      userTowerDir: await promotedFolder(config.MODELS_DIR, 'user-tower'),
      workers: config.EMBED_WORKERS,
      onWorkerExit: (error) => log('error', { reason: error.message }, 'an embed worker ended'),
    });
    closers.push(() => embeds.close());
    const vectors = new PostVectors({
      posts: sql,
      embedPosts: (posts) => embeds.embedPosts(posts.map(towerPost)),
      dim: DIM,
    });
    const applier = new Applier({
      source: sql,
      state,
      embedder: new UserEmbedder({
        state,
        tower: embeds.postTower,
        lookup: () => vectors,
        load: (postIds) => vectors.load(postIds),
        embedUsers: (users) => embeds.embedUsers(users),
        onComputed: (users) => metrics.embeddings.inc(users),
      }),
      embedPosts: (posts) => embeds.embedPosts(posts.map(towerPost)),
      dim: DIM,
      onChange: () => {},
    });
    const ended = new AbortController();
    const run = async (signal: AbortSignal) => {
      const report = await setUpReplication(sql.client, slot, MAX_KEPT_WAL_MB, deadlineIn(TIMEOUT_MS), false);
      if (report.unavailable) throw new Error(report.unavailable);
      for (const warning of report.warnings) log('warn', {}, warning);
      const updater = new StreamUpdater(
        {
          sql,
          applier,
          publisher,
          checkpoint: new StreamCheckpoint(sql.client, slot),
          slot: {
            state: () => slotState(sql.client, slot, deadlineIn(TIMEOUT_MS)),
            make: () => makeSlot(sql.client, slot, deadlineIn(TIMEOUT_MS)),
          },
          openSource: () => new ReplicationSource(databaseUrl, slot),
          onChanges: (changes) => {
            for (const change of changes) {
              metrics.changes.inc({ kind: change.kind });
              if (change.kind === 'post') vectors.forget(change.post.id);
              else if (change.kind === 'post_deleted') vectors.forget(change.postId);
            }
          },
          onComplete: (atMs) => {
            completeAtMs = atMs;
          },
          onReseed: () => metrics.reseeds.inc(),
          onStreamStart: () => metrics.streamStarts.inc(),
          onSkipped: () => metrics.skipped.inc(),
          onSlot: ({ keptBytes }) => {
            metrics.keptWal.set(keptBytes);
            if (lagMs() > config.CHANGES_LAG_ALERT_MS) log('warn', { lagMs: lagMs() }, 'changes are late');
          },
          log,
        },
        signal,
      );
      await updater.run();
    };
    const lead = async () => {
      while (!ended.signal.aborted) {
        const leadership = await becomeLeader(databaseUrl, slot, ended.signal, (reason) =>
          log('warn', { reason }, 'the database cannot be asked who leads'),
        );
        if (leadership === null) return;
        leads = true;
        completeAtMs = Date.now();
        log('info', { slot }, 'this updater leads');
        const term = new AbortController();
        const stop = () => term.abort();
        ended.signal.addEventListener('abort', stop);
        leadership.lost.then(stop);
        try {
          await run(term.signal);
        } catch (error) {
          log('warn', { reason: messageOf(error) }, 'the updater begins again');
        }
        leads = false;
        ended.signal.removeEventListener('abort', stop);
        await leadership.release();
        if (!ended.signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    };
    const leading = lead();
    closers.push(async () => {
      ended.abort();
      await leading;
    });
    const server = await serveOperations(config, () => ({ leads, lagMs: lagMs() }), metrics.registry);
    closers.push(() => new Promise((resolve) => server.close(resolve)));
    const { port } = server.address() as AddressInfo;
    return { url: `http://${config.HOST}:${port}`, close: closeAll };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function serveOperations(
  config: Config,
  read: () => { leads: boolean; lagMs: number },
  registry: { metrics(): Promise<string>; contentType: string },
): Promise<Server> {
  const server = createServer(async (request, response) => {
    if (request.url === '/metrics') {
      response.setHeader('content-type', registry.contentType).end(await registry.metrics());
      return;
    }
    if (request.url === '/health/ready' || request.url === '/health/live') {
      const { leads, lagMs } = read();
      const late = lagMs > config.CHANGES_LAG_ALERT_MS;
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ status: late ? 'late' : 'ok', leads, lagMs }));
      return;
    }
    response.writeHead(404).end();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(config.UPDATER_PORT, config.HOST, resolve);
  });
  return server;
}
