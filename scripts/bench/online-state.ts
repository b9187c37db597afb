// `npm run bench -- online-state`: what users' online state takes in a Redis of its own, part by part, read from
// `INFO memory`, and how fast it is filled. Nothing else runs on that server.
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { deadlineIn } from '../../src/deadline.ts';
import { closeRedis } from '../../src/features/store/redis-client.ts';
import { type OnlineStore, openStateStore } from '../../src/features/store/state-store.ts';
import { hash32 } from '../../src/hashing.ts';
import { DIM, SEEN_LIMIT } from '../../src/vocabulary.ts';
import { startRedis } from '../../test/setup/redis-server.ts';
import { type FilledUsers, fillUsers } from './filled-users.ts';
import { type Machine, machine } from './machine.ts';

type Patch = Parameters<OnlineStore['putStates']>[0][number];

export interface OnlineStateReport {
  machine: Machine;
  at: string;
  redis: string;
  users: number;
  /** Of one user each; memory is Redis's own count, keys and tables included. */
  parts: {
    part: string;
    users: number;
    bytesPerUser: number;
    usersPerSecond: number | null;
    /** CPU time of the writing process and of Redis, microseconds a user: what other work on the machine leaves alone. */
    cpuMicros: number | null;
    serverCpuMicros: number | null;
  }[];
  /** As `build-index` does it: histories to vectors by the user tower, profiles, seen posts, all written. */
  filled: FilledUsers;
  secondsPerMillionUsers: number;
  rssMb: number;
}

const BATCH = 2_000;
/** Of the parts: a user's bytes do not depend on how many there are. */
const PART_USERS = 200_000;
const WRITE_MS = 120_000;
const TOWER = 'post-tower@1';
const HISTORY = 30;
const POSTS = 1_000_000;
const AUTHORS = 100_000;
const TOPICS = 40;
const DAY_MS = 86_400_000;
/** The size of two halves that hold SEEN_LIMIT posts each at one false positive in a thousand (Bloom, 1970). */
const BLOOM = Buffer.alloc(2 * Math.ceil((SEEN_LIMIT * Math.log(1000)) / Math.LN2 ** 2 / 8), 0xaa);

/** @param options.users all of them are filled, at most PART_USERS are measured part by part */
export async function benchOnlineState(options: { users: number }): Promise<OnlineStateReport> {
  const users = Math.min(options.users, PART_USERS);
  const server = await startRedis(join('.cache', 'servers'));
  const redis = new Redis(server.url);
  const store = await openStateStore({ redis: { url: server.url }, dataDir: '' });
  try {
    const info = async (section: string, key: string) =>
      new RegExp(`^${key}:(.*)$`, 'm').exec(await redis.info(section))?.[1].trim() ?? '';
    const used = async () => Number(await info('memory', 'used_memory'));
    const parts: OnlineStateReport['parts'] = [];
    const fill = async (part: string, count: number, patchOf: (i: number) => Patch) => {
      const before = await used();
      let ms = 0;
      let cpuMs = 0;
      const serverCpu = async () =>
        1000 * (Number(await info('cpu', 'used_cpu_user')) + Number(await info('cpu', 'used_cpu_sys')));
      const serverBefore = await serverCpu();
      for (let at = 0; at < count; at += BATCH) {
        const patches = Array.from({ length: Math.min(BATCH, count - at) }, (_, i) => patchOf(at + i));
        const startedAt = performance.now();
        const cpu = process.cpuUsage();
        await store.putStates(patches, deadlineIn(WRITE_MS));
        ms += performance.now() - startedAt;
        const { user, system } = process.cpuUsage(cpu);
        cpuMs += (user + system) / 1000;
        const rate = Math.round(((at + patches.length) * 1000) / ms);
        if ((at / BATCH) % 25 === 24) console.error(`bench: ${part}: ${at + BATCH} of ${count}, ${rate}/s`);
      }
      const bytesPerUser = Math.round((await used()) - before) / count;
      parts.push({
        part,
        users: count,
        bytesPerUser: Math.round(bytesPerUser),
        usersPerSecond: Math.round((count * 1000) / ms),
        cpuMicros: Math.round((cpuMs * 1000) / count),
        serverCpuMicros: Math.round(((await serverCpu()) - serverBefore) * (1000 / count)),
      });
    };
    const filled = await fillUsers(store, {
      users: options.users,
      onProgress: (line) => console.error(`bench: ${line}`),
    });
    await redis.flushall();
    await store.putStates([numbered(0)], deadlineIn(WRITE_MS));
    await fill('vector and 30 engagements, numbered ids', users, (i) => numbered(i + 1));
    const rssMb = Math.round(Number(await info('memory', 'used_memory_rss')) / 1e6);
    await fill('the same written again', users, (i) => numbered(i + 1));
    await fill('profile and 10 follows', users, (i) => profile(i + 1));
    const few = Math.max(1, Math.round(users / 20));
    await fill(`${SEEN_LIMIT} seen posts, in pages of 20`, few, (i) => seen(i + 1, SEEN_LIMIT));
    await fill('100 seen posts, in pages of 20', few, (i) => seen(users - i, 100));
    const before = await used();
    for (let i = 0; i < few; i++) await redis.set(`fr3{ub${i}}s`, BLOOM, 'PX', 14 * DAY_MS);
    parts.push({
      part: `${SEEN_LIMIT} to ${2 * SEEN_LIMIT} seen posts as two Bloom filters, .1 % false positives`,
      users: few,
      bytesPerUser: Math.round(((await used()) - before) / few),
      usersPerSecond: null,
      cpuMicros: null,
      serverCpuMicros: null,
    });
    await fill('vector and 30 engagements, UUIDs', few, (i) => withUuids(i));
    return {
      machine: machine(),
      at: new Date().toISOString(),
      redis: `${await info('server', 'redis_version')}, ${server.origin}`,
      users,
      parts,
      filled,
      secondsPerMillionUsers: Math.round((1e7 * filled.seconds) / filled.users) / 10,
      rssMb,
    };
  } finally {
    await store.close();
    await closeRedis(redis);
    await server.stop();
  }
}

/** The same numbers for the same user: a fill written again changes nothing. */
function random(seed: number): () => number {
  let state = (seed * 0x9e3779b1) >>> 0;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5) >>> 0;
    return state / 2 ** 32;
  };
}

function unit(next: () => number): Float32Array {
  const vector = Float32Array.from({ length: DIM }, () => next() - 0.5);
  const norm = Math.hypot(...vector);
  return vector.map((value) => value / norm);
}

const nowMs = Date.now();

function engaged(i: number, id: (prefix: string, value: number) => string): Patch {
  const next = random(i);
  const below = (limit: number) => Math.floor(next() * limit);
  // Sessions of five, a few days apart.
  let at = nowMs - below(DAY_MS);
  const history = Array.from({ length: HISTORY }, (_, n) => {
    at -= n % 5 === 0 ? below(4 * DAY_MS) : below(300_000);
    const type = (['click', 'click', 'like', 'dwell', 'share'] as const)[below(5)];
    return {
      postId: id('p', below(POSTS)),
      authorId: id('u', below(AUTHORS)),
      topic: hash32(`topic-${below(TOPICS) % (1 + (i % 12))}`),
      type,
      at,
      dwellMs: type === 'dwell' ? 10_000 + below(60_000) : 0,
    };
  });
  return { userId: `u${i}`, embedding: { tower: TOWER, vector: unit(next) }, history };
}

function numbered(i: number): Patch {
  return engaged(i, (prefix, value) => `${prefix}${value}`);
}

function withUuids(i: number): Patch {
  const uuid = (prefix: string, value: number) => {
    const next = random(value + prefix.charCodeAt(0) * 1e6);
    const hex = Array.from({ length: 32 }, () => Math.floor(next() * 16).toString(16)).join('');
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  };
  return { ...engaged(i, uuid), userId: uuid('x', i) };
}

function profile(i: number): Patch {
  const userId = `u${i}`;
  const next = random(i + 7);
  const edges = Array.from({ length: 10 }, () => ({
    userId,
    kind: 'follow' as const,
    target: `u${Math.floor(next() * AUTHORS)}`,
    createdAt: nowMs - Math.floor(next() * 300 * DAY_MS),
  }));
  const user = {
    id: userId,
    createdAt: nowMs - 400 * DAY_MS,
    languages: ['en'],
    topics: ['topic-1', 'topic-2'],
  };
  return { userId, user, edges };
}

function seen(i: number, posts: number): Patch {
  const next = random(i + 13);
  const postIds = Array.from({ length: posts }, () => `p${Math.floor(next() * POSTS)}`);
  return {
    userId: `u${i}`,
    seen: { postIds, atMs: postIds.map((_, n) => nowMs - DAY_MS + Math.floor(n / 20) * 60_000) },
  };
}
