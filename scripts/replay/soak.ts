// The soak: clicks replayed through two replicas on Redis and PostgreSQL while the updater is killed and one replica is
// stopped; then nothing may be lost, counted twice or different from a rebuild. Called by the replay command.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { streamKeys } from '../../src/features/stream/stream-keys.ts';
import { runCommand } from '../../test/setup/child-process.ts';
import { type Machine, machine } from '../bench/machine.ts';
import { secondsUntil, sleep } from '../faults/clock.ts';
import { atMost, type Criterion, equals, holds } from '../faults/criterion.ts';
import { REPOSITORY } from '../faults/fault-world.ts';
import { measureForeignLoad } from '../faults/foreign-load.ts';
import type { Service } from '../faults/service.ts';
import { Site } from '../faults/site.ts';
import { supervise } from '../faults/supervisor.ts';
import type { FeatureDiff } from '../features/diff.ts';
import type { Clicks } from './clicks.ts';
import { type PauseReport, pauseReplica } from './paused-replica.ts';
import { compareWithRebuild, type RebuiltComparison } from './rebuilt-state.ts';
import { type ReplayResult, runReplay } from './run.ts';
import { diffServedFeatures } from './served-features.ts';

export interface SoakOptions {
  clicks: Clicks;
  speed: number;
  /** The readers of the clicks share so many accounts; 0 = each has their own. */
  accounts: number;
  feedsPerSecond: number;
  minutes: number;
  kills: number;
  pauseSeconds: number;
  /** A small world to start from. */
  quick: boolean;
  cacheDir: string;
  note(text: string): void;
}

/** What a soak found. */
interface Found {
  replay: ReplayResult;
  stored: number;
  /** Clicks that the change stream's counters took in. */
  counted: number;
  kills: number;
  pause: PauseReport | null;
  /** From the end of the replay until everything was applied; null when it never was. */
  settledSeconds: number | null;
  rebuilt: RebuiltComparison;
  /** Of requests while the updater ran, and of those soon after a kill: users' states wait for it, posts do not. */
  features: FeatureDiff;
  featuresAfterKills: FeatureDiff;
}

export interface SoakReport extends Found {
  at: string;
  machine: Machine;
  /** `posts` and `users`: the world it began with. */
  options: Pick<SoakOptions, 'speed' | 'accounts' | 'feedsPerSecond' | 'minutes' | 'pauseSeconds'> & {
    posts: number;
    users: number;
    sessionMinutes: number;
    streamEntries: number;
    cachedPosts: number;
  };
  /** Others' share of all cores meanwhile; null where it cannot be read. */
  foreignShare: number | null;
  criteria: Criterion[];
}

/** Kills end and the pause begins at these shares of the run: both lie in the first half, growth is judged in the second. */
const KILLS_FROM = 0.04;
const KILLS_TO = 0.38;
const PAUSE_AT = 0.4;
/** Small, so that everything is as large as it will ever be long before the second half, where growth is judged. */
const SESSION_MINUTES = 1;
const STREAM_ENTRIES = 2000;
const CACHED_POSTS = 2000;
const SETTLE_MS = 90_000;
const VECTORS_MS = 2000;
/** The sign of life that a killed updater left ends, and it is started again. */
const RECOVERY_MS = 15_000;
const POST_FRESH_MS = 2000;
/** As in the fault suite's soak: what a garbage-collected heap moves by. */
const GROWTH_SHARE = 0.05;

export async function soak(options: SoakOptions): Promise<SoakReport> {
  const { speed, accounts, feedsPerSecond, minutes, pauseSeconds, quick, cacheDir, note } = options;
  const site = await Site.open({ quick, soakMinutes: minutes, cacheDir, note });
  const { posts, users } = site.world;
  const foreign = measureForeignLoad();
  let found: Found;
  try {
    found = await soakIn(site, options);
  } finally {
    await site.close();
  }
  return {
    at: new Date().toISOString(),
    machine: machine(),
    options: {
      ...{ speed, accounts, feedsPerSecond, minutes, pauseSeconds, posts, users },
      ...{ sessionMinutes: SESSION_MINUTES, streamEntries: STREAM_ENTRIES, cachedPosts: CACHED_POSTS },
    },
    foreignShare: foreign(),
    ...found,
    criteria: criteriaOf(found, options),
  };
}

async function soakIn(site: Site, options: SoakOptions): Promise<Found> {
  const { clicks, speed, accounts, feedsPerSecond, minutes, pauseSeconds, cacheDir, note } = options;
  await runCommand(process.execPath, [
    join(REPOSITORY, 'scripts', 'setup-db.ts'),
    ...['--database-url', site.postgres.directUrl],
  ]);
  const env = {
    DATABASE_URL: site.postgres.directUrl,
    REDIS_URL: site.redis.directUrl,
    FEED_WORKERS: '1',
    FEATURE_LOG_SHARE: '0.1',
    FEED_SESSION_MS: String(SESSION_MINUTES * 60_000),
    CHANGE_STREAM_LENGTH: String(STREAM_ENTRIES),
    POST_CACHE_POSTS: String(CACHED_POSTS),
  };
  const updater = await site.startService({ script: 'updater.ts', index: false, env });
  const endSupervision = supervise(updater);
  site.defer(endSupervision);
  const replicas = [await site.startService({ env }), await site.startService({ env })];
  const follow = async () => (await Promise.all(replicas.map(streams))).every(Boolean);
  if ((await secondsUntil(follow, SETTLE_MS)) === null)
    throw new Error('a replica does not follow the change stream');
  const redis = new Redis(site.redis.directUrl);
  site.defer(() => redis.disconnect());
  const clicksCounted = async () => Number((await redis.hget(streamKeys('feedrank').counters, 'click')) ?? 0);
  const countedBefore = await clicksCounted();
  const redisPid = Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1]);
  const prefix = `globo-${randomUUID().slice(0, 8)}-`;
  const durationMs = minutes * 60_000;
  const stopped = new Set<string>();
  const isDisturbed = (atMs: number) =>
    killedAtMs.some((killed) => atMs >= killed && atMs < killed + RECOVERY_MS);
  let kills = 0;
  const killedAtMs: number[] = [];
  let pause: PauseReport | null = null;
  const replay = await runReplay({
    clicks,
    bases: replicas.map(({ base }) => base),
    speed,
    accounts,
    prefix,
    durationMs,
    feedsPerSecond,
    asked: (base) => !stopped.has(base),
    disturbed: () => isDisturbed(Date.now()),
    pids: {
      'replica 1': () => replicas[0].pid,
      'replica 2': () => replicas[1].pid,
      updater: () => updater.pid,
      Redis: () => redisPid,
    },
    onProgress: note,
    beside: async ({ seconds }) => {
      kills = await killAgainAndAgain(updater, options, seconds, () => {
        killedAtMs.push(Date.now());
      });
      note(`the updater was killed ${kills} times`);
      await sleep(PAUSE_AT * durationMs - seconds() * 1000);
      if (pauseSeconds === 0) return;
      note(`replica 2 is stopped for ${pauseSeconds} s`);
      pause = await pauseReplica(replicas[1], replicas[0], { prefix, pauseSeconds, stopped });
    },
  });
  note('waiting until everything is applied');
  const settledSeconds = await secondsUntil(async () => {
    const held = await Promise.all(replicas.map(async (replica) => (await replica.health()).index.posts));
    const posts = await sourcePosts(site);
    const counted = (await clicksCounted()) - countedBefore;
    return held.every((count) => count === posts) && counted >= replay.sent.acceptedEvents;
  }, SETTLE_MS);
  // Vectors are made a moment after the histories that they are made of.
  await sleep(VECTORS_MS);
  const stored = await storedClicks(site, prefix);
  const counted = (await clicksCounted()) - countedBefore;
  await endSupervision();
  note('rebuilding from PostgreSQL to compare');
  const rebuilt = await compareWithRebuild(site, cacheDir);
  note('recomputing features of sampled requests');
  const features = await diffServedFeatures(site, (atMs) => !isDisturbed(atMs));
  const featuresAfterKills = await diffServedFeatures(site, isDisturbed);
  return {
    ...{ replay, stored, counted, kills, pause, settledSeconds, rebuilt },
    ...{ features, featuresAfterKills },
  };
}

/** Evenly over its part of the run, and only while the updater runs. */
async function killAgainAndAgain(
  updater: Service,
  { kills, minutes }: SoakOptions,
  seconds: () => number,
  onKill: () => void,
): Promise<number> {
  const whole = minutes * 60;
  let done = 0;
  for (let i = 0; i < kills; i++) {
    const at = whole * (KILLS_FROM + ((KILLS_TO - KILLS_FROM) * i) / Math.max(1, kills - 1));
    await sleep(1000 * (at - seconds()));
    if ((await secondsUntil(() => updater.alive, 10_000)) === null) break;
    onKill();
    await updater.kill();
    done++;
  }
  return done;
}

async function streams(service: Service): Promise<boolean> {
  return (await service.health()).stores.changes === 'stream';
}

async function sourcePosts(site: Site): Promise<number> {
  const [{ posts }] = await site.postgres.query<{ posts: number }>(
    'select count(*)::int as posts from posts where deleted_at is null',
  );
  return posts;
}

async function storedClicks(site: Site, prefix: string): Promise<number> {
  const [{ events }] = await site.postgres.query<{ events: number }>(
    'select count(*)::int as events from events where starts_with(id, $1)',
    [prefix],
  );
  return events;
}

function criteriaOf(
  { replay, stored, counted, kills, pause, settledSeconds, rebuilt, features }: Found,
  options: Pick<SoakOptions, 'kills'>,
): Criterion[] {
  const { freshness, feeds, sent, memory } = replay;
  const { events } = sent;
  return [
    equals('events accepted, of those sent', sent.acceptedEvents, events),
    equals('events stored, of those sent', stored, events),
    equals('events counted, of those sent', counted, events),
    equals('updater killed -9', kills, options.kills),
    atMost('everything applied after the end', settledSeconds, 60, { unit: 's', timed: true }),
    holds(
      'users’ history, edges and profile as a full rebuild gives them',
      rebuilt.different === 0,
      `${rebuilt.different} of ${rebuilt.users} differ${rebuilt.different > 0 ? `: ${rebuilt.examples.join(', ')}` : ''}`,
    ),
    equals('users with a vector on one side only', rebuilt.vectorsMissing, 0),
    holds(
      'features used as the SQL store gives them at the watermark',
      features.unequal.length === 0 && features.rows > 0,
      featuresFound(features),
    ),
    ...(pause ? pauseCriteria(pause) : []),
    equals('feeds not answered, by neither replica', feeds.failed, 0),
    atMost('new post retrievable on the other replica, p99', freshness.others?.p99 ?? null, POST_FRESH_MS, {
      unit: 'ms',
      timed: true,
    }),
    equals('new posts never found on a replica', freshness.late, 0),
    ...memory.map(({ process, mean, slope, samples }) => {
      const minutes = ((samples.at(-1)?.[0] ?? 0) - (samples[Math.floor(samples.length / 2)]?.[0] ?? 0)) / 60;
      return atMost(
        `growth of ${process} over the second half, of ${mean} MiB (${slope} MiB a minute)`,
        slope * minutes,
        GROWTH_SHARE * mean,
        { unit: 'MiB', timed: true },
      );
    }),
  ];
}

function featuresFound({ rows, requests, unequal, skew }: FeatureDiff): string {
  const found = `${rows} posts of ${requests} requests`;
  if (unequal.length === 0) return `${found}, none differs`;
  const worst = skew.slice(0, 4).map((one) => `${one.feature} ${(100 * one.unequal).toFixed(2)} %`);
  return `${found}; ${unequal.length} features differ: ${worst.join(', ')}`;
}

function pauseCriteria({ caughtUpSeconds, silent, flagged, seconds }: PauseReport): Criterion[] {
  return [
    atMost(`replica stopped for ${seconds} s: caught up after`, caughtUpSeconds, 10, {
      unit: 's',
      timed: true,
    }),
    equals('its answers that were behind and did not say so', silent, 0),
    holds('its answers that said so', true, String(flagged)),
  ];
}
