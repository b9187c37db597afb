// `npm run bench -- ingest`: events that one replica takes and commits to PostgreSQL, in batches and one by one. What
// was acknowledged is counted in the database afterwards.
import { readdirSync, readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import pg from 'pg';
import { closeRedis } from '../../src/features/store/redis-client.ts';
import { streamKeys } from '../../src/features/stream/stream-keys.ts';
import { type JsonClient, jsonClient, type LiveStack, startLiveStack } from './live-stack.ts';
import { type Machine, machine, processSeconds } from './machine.ts';
import { type Spread, spread } from './statistics.ts';

export interface IngestBenchOptions {
  seconds: number;
  users: number;
  posts: number;
  /** Whether an updater follows meanwhile; it shares the machine. */
  updater: boolean;
}

export interface IngestPhase {
  /** Events of one request. */
  batch: number;
  /** Requests in flight. */
  clients: number;
  events: number;
  eventsPerSecond: number;
  /** Requests refused with 503 and Retry-After; their events are not counted. */
  refused: number;
  latencyMs: Spread;
  /** CPU of the service for one event, µs; all its threads. */
  serviceMicros: number;
  /** CPU of PostgreSQL for one event, µs; all its processes. */
  databaseMicros: number;
  /** CPU of this process, which makes and sends the events, for one of them, µs. */
  generatorMicros: number;
  /** CPU of the updater, which follows beside it, for one event taken, µs; null without one. */
  updaterMicros: number | null;
}

export interface IngestBenchReport {
  machine: Machine;
  at: string;
  origin: string;
  options: IngestBenchOptions;
  phases: IngestPhase[];
  /** Events answered `stored`, and rows in the database. */
  acknowledged: number;
  rows: number;
  /** From the last answer until the updater had applied everything; null without one. */
  caughtUpSeconds: number | null;
}

const TYPES = ['impression', 'impression', 'impression', 'click', 'like', 'dwell'] as const;
const POSTS_BATCH = 500;
const CATCH_UP_MS = 600_000;

export async function benchIngest(options: IngestBenchOptions): Promise<IngestBenchReport> {
  const stack = await startLiveStack(1, options.updater);
  const { base, pid } = stack.replicas[0];
  const pids = { service: pid, database: stack.databasePid, updater: stack.updaterPid };
  const client = jsonClient(base);
  try {
    await putPosts(client, options.posts);
    const phases: IngestPhase[] = [];
    const tally: Tally = { sent: 0, stored: 0 };
    for (const { batch, clients } of [
      { batch: 100, clients: 8 },
      { batch: 1, clients: 64 },
    ]) {
      await run(client, pids, tally, options, batch, clients, 1);
      const phase = await run(client, pids, tally, options, batch, clients, options.seconds);
      console.error(
        `  batches of ${batch}: ${phase.eventsPerSecond} events/s, p99 ${phase.latencyMs.p99} ms, ${phase.refused} refused`,
      );
      phases.push(phase);
    }
    const caughtUpSeconds = options.updater ? await caughtUp(stack) : null;
    return {
      machine: machine(),
      at: new Date().toISOString(),
      origin: stack.origin,
      options,
      phases,
      caughtUpSeconds,
      acknowledged: tally.stored,
      rows: await countEvents(stack.databaseUrl),
    };
  } finally {
    client.close();
    await stack.stop();
  }
}

interface Pids {
  service: number;
  database: number;
  updater: number | null;
}

interface Tally {
  sent: number;
  stored: number;
}

async function run(
  client: JsonClient,
  pids: Pids,
  tally: Tally,
  options: IngestBenchOptions,
  batch: number,
  clients: number,
  seconds: number,
): Promise<IngestPhase> {
  const latencies: number[] = [];
  let events = 0;
  let refused = 0;
  const before = cpuSeconds(pids);
  const startedAt = performance.now();
  const endAt = startedAt + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < endAt) {
        const body = { events: Array.from({ length: batch }, () => nextEvent(tally.sent++, options)) };
        const answer = await client.send('POST', '/events', body);
        if (answer.status === 503) {
          refused++;
          await new Promise((resolve) => setTimeout(resolve, 1000));
          continue;
        }
        const { stored } = answer.body as { stored: number };
        if (answer.status !== 200 || stored !== batch) {
          throw new Error(
            `POST /events answered ${answer.status}: ${JSON.stringify(answer.body).slice(0, 300)}`,
          );
        }
        events += stored;
        tally.stored += stored;
        latencies.push(answer.ms);
      }
    }),
  );
  const after = cpuSeconds(pids);
  const micros = (one: keyof typeof after) =>
    Number((((after[one] - before[one]) / events) * 1e6).toFixed(1));
  const elapsed = (performance.now() - startedAt) / 1000;
  return {
    batch,
    clients,
    events,
    eventsPerSecond: Math.round(events / elapsed),
    refused,
    latencyMs: spread(latencies),
    serviceMicros: micros('service'),
    databaseMicros: micros('database'),
    generatorMicros: micros('generator'),
    updaterMicros: pids.updater === null ? null : micros('updater'),
  };
}

function cpuSeconds({ service, database, updater }: Pids) {
  return {
    service: processSeconds(service),
    database: familySeconds(database),
    generator: processSeconds(process.pid),
    updater: updater === null ? 0 : processSeconds(updater),
  };
}

function nextEvent(n: number, { users, posts }: IngestBenchOptions): object {
  const type = TYPES[n % TYPES.length];
  return {
    id: `e${n}`,
    userId: `u${(n * 7919) % users}`,
    postId: `p${(n * 104_729) % posts}`,
    type,
    at: Date.now(),
    ...(type === 'dwell' ? { dwellMs: 5_000 + (n % 20_000) } : {}),
  };
}

export async function putPosts(client: JsonClient, posts: number): Promise<void> {
  for (let at = 0; at < posts; at += POSTS_BATCH) {
    const batch = Array.from({ length: Math.min(POSTS_BATCH, posts - at) }, (_, i) => ({
      id: `p${at + i}`,
      authorId: `a${(at + i) % 500}`,
      createdAt: Date.now() - (at + i) * 1000,
      title: `post ${at + i} about ${['tides', 'maps', 'bread', 'kites', 'chess'][(at + i) % 5]}`,
      topic: `topic-${(at + i) % 20}`,
    }));
    const { status, body } = await client.send('POST', '/posts', { posts: batch });
    if (status !== 200)
      throw new Error(`POST /posts answered ${status}: ${JSON.stringify(body).slice(0, 300)}`);
  }
}

/** Seconds until everything that is committed now is applied to the users and published. */
async function caughtUp({ redisUrl, slot }: LiveStack): Promise<number> {
  const redis = new Redis(redisUrl);
  const startedAt = Date.now();
  try {
    while (Number((await redis.get(streamKeys(slot).live)) ?? 0) < startedAt) {
      if (Date.now() - startedAt > CATCH_UP_MS) throw new Error('the updater did not catch up');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return Number(((Date.now() - startedAt) / 1000).toFixed(1));
  } finally {
    await closeRedis(redis);
  }
}

/** CPU of a process and of those that it started and that live. */
function familySeconds(parent: number): number {
  let sum = processSeconds(parent);
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent)
        sum += processSeconds(Number(name));
    } catch {
      // It ended meanwhile.
    }
  }
  return sum;
}

async function countEvents(connectionString: string): Promise<number> {
  const database = new pg.Client({ connectionString });
  await database.connect();
  try {
    const { rows } = await database.query<{ n: string }>('select count(*) as n from events');
    return Number(rows[0].n);
  } finally {
    await database.end();
  }
}
