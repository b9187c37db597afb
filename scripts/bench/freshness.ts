// `npm run bench -- freshness`: from the answer to a write until two replicas show its effect, while events and feeds keep
// both busy: a new post can be retrieved, a like moves the user's vector, a delete, a block or a mute is honoured.
import { deadlineIn } from '../../src/deadline.ts';
import { type OnlineStore, openStateStore } from '../../src/features/store/state-store.ts';
import type { IngestBenchOptions } from './ingest.ts';
import { putPosts } from './ingest.ts';
import { type JsonClient, jsonClient, startLiveStack } from './live-stack.ts';
import { type Machine, machine } from './machine.ts';
import { quantile } from './statistics.ts';

export interface Percentiles {
  p50: number;
  p95: number;
  p99: number;
  max: number;
  samples: number;
}

export interface FreshnessReport {
  machine: Machine;
  at: string;
  origin: string;
  options: IngestBenchOptions;
  /** Milliseconds after the 2xx until it holds on the replica that answered, and on the other one. */
  post: { same: Percentiles; other: Percentiles };
  /** Until the user's stored vector has changed. */
  like: Percentiles;
  delete: { same: Percentiles; other: Percentiles };
  block: { same: Percentiles; other: Percentiles };
  mute: { same: Percentiles; other: Percentiles };
  /** Next requests on the same replica that still showed what was deleted, blocked or muted: must be 0. */
  lateOnSameReplica: number;
  load: { events: number; feeds: number; failed: number };
}

const PROBE_EVERY_MS = 10;
const GIVE_UP_MS = 20_000;
const STORE_MS = 5_000;
const LOAD_EVENTS_PER_SECOND = 400;
const LOAD_BATCH = 20;
const POSTS_EACH = 12;

type Probe = (client: JsonClient) => Promise<boolean>;

interface Samples {
  same: number[];
  other: number[];
}

export async function benchFreshness(options: IngestBenchOptions): Promise<FreshnessReport> {
  const stack = await startLiveStack(2, options.updater);
  const clients = stack.replicas.map((replica) => jsonClient(replica.base));
  const state = await openStateStore({ redis: { url: stack.redisUrl }, dataDir: '' });
  const load = { events: 0, feeds: 0, failed: 0 };
  let running = true;
  try {
    await putPosts(clients[0], options.posts);
    await until(() => isRetrievable(clients[1], `p${options.posts - 1}`));
    const background = [
      keepPosting(clients, options, load, () => running),
      keepReading(clients, options, load, () => running),
    ];
    const measured = await measure(clients, state, options);
    running = false;
    await Promise.all(background);
    const both = ({ same, other }: Samples) => ({ same: percentiles(same), other: percentiles(other) });
    return {
      machine: machine(),
      at: new Date().toISOString(),
      origin: stack.origin,
      options,
      post: both(measured.post),
      like: percentiles(measured.like),
      delete: both(measured.delete),
      block: both(measured.block),
      mute: both(measured.mute),
      lateOnSameReplica: measured.late,
      load,
    };
  } finally {
    running = false;
    for (const client of clients) client.close();
    await state.close();
    await stack.stop();
  }
}

async function measure(clients: readonly JsonClient[], state: OnlineStore, options: IngestBenchOptions) {
  const tower = await towerOf(clients[0]);
  const samples = () => ({ same: [] as number[], other: [] as number[] });
  const found = {
    post: samples(),
    like: [] as number[],
    delete: samples(),
    block: samples(),
    mute: samples(),
    late: 0,
  };
  const endAt = performance.now() + options.seconds * 1000;
  for (let n = 0; performance.now() < endAt; n++) {
    const [same, other] = n % 2 === 0 ? clients : [...clients].reverse();
    const author = `fresh-author-${n}`;
    const topic = `fresh-topic-${n}`;
    const deleted = `fresh-delete-${n}`;
    const post = (id: string, authorId: string, ofTopic = 'fresh') => {
      return { id, authorId, createdAt: Date.now(), title: `fresh ${id}`, topic: ofTopic };
    };
    const mutedAuthor = `fresh-muted-${n}`;
    // Several for each: a probe may be shown one of them, and does not meet that one again.
    const several = Array.from({ length: POSTS_EACH }, (_, i) => i);
    const posts = [
      post(deleted, `fresh-other-${n}`),
      ...several.map((i) => post(`fresh-block-${n}-${i}`, author)),
      ...several.map((i) => post(`fresh-mute-${n}-${i}`, mutedAuthor, topic)),
    ];
    await must(same.send('POST', '/posts', { posts }));
    await both(found.post, [same, other], (client) => isRetrievable(client, deleted));

    const reader = `fresh-reader-${n}`;
    const like = {
      id: `l${n}`,
      userId: reader,
      postId: `p${n % options.posts}`,
      type: 'like',
      at: Date.now(),
    };
    await must(same.send('POST', '/events', { events: [like] }));
    found.like.push(await until(() => hasVector(state, reader, tower)));

    const honoured = async (
      into: Samples,
      [method, path]: [string, string],
      [user, prefix]: [string, string],
      holds: Probe,
    ) => {
      if (await holds(same)) throw new Error(`${method} ${path}: holds before it was asked for`);
      await must(same.send(method, path));
      if (await isShown(same, user, prefix)) found.late++;
      await both(into, [same, other], holds);
    };
    await honoured(found.delete, ['DELETE', `/posts/${deleted}`], [reader, deleted], async (client) => {
      return !(await isRetrievable(client, deleted));
    });
    // Readers of their own: what one was shown it does not retrieve again.
    const [blocker, muter] = [`${reader}-b`, `${reader}-m`];
    await must(same.send('PUT', `/users/${blocker}/follows/${author}`));
    await must(same.send('PUT', `/users/${muter}/follows/${mutedAuthor}`));
    const ofBlocked = `fresh-block-${n}-`;
    await honoured(
      found.block,
      ['PUT', `/users/${blocker}/blocks/${author}`],
      [blocker, ofBlocked],
      (client) => isDropped(client, blocker, ofBlocked, 'blocked_author'),
    );
    const ofMuted = `fresh-mute-${n}-`;
    await honoured(found.mute, ['PUT', `/users/${muter}/mutes/topics/${topic}`], [muter, ofMuted], (client) =>
      isDropped(client, muter, ofMuted, 'muted_topic'),
    );
  }
  return found;
}

async function both(into: Samples, [same, other]: readonly JsonClient[], holds: Probe): Promise<void> {
  const [first, second] = await Promise.all([until(() => holds(same)), until(() => holds(other))]);
  into.same.push(first);
  into.other.push(second);
}

/** Milliseconds until it holds. */
async function until(holds: () => Promise<boolean>): Promise<number> {
  const startedAt = performance.now();
  while (!(await holds())) {
    if (performance.now() - startedAt > GIVE_UP_MS) throw new Error(`did not come true in ${GIVE_UP_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS));
  }
  return performance.now() - startedAt;
}

async function isRetrievable(client: JsonClient, postId: string): Promise<boolean> {
  return (await client.send('GET', `/posts/${postId}/similar?limit=1`)).status === 200;
}

/** Whether a long page of the user's feed shows such a post. */
async function isShown(client: JsonClient, userId: string, prefix: string): Promise<boolean> {
  const { body } = await must(client.send('GET', `/feed/${userId}?limit=50`));
  return (body as { posts: { id: string }[] }).posts.some((post) => post.id.startsWith(prefix));
}

/** Whether the user's feed retrieved such posts and dropped them for this reason. Pages of one post leave most unseen. */
async function isDropped(
  client: JsonClient,
  userId: string,
  prefix: string,
  reason: string,
): Promise<boolean> {
  const { body } = await must(client.send('GET', `/feed/${userId}?limit=1&explain=all`));
  const { dropped = [] } = body as { dropped?: { postId: string; reason: string }[] };
  return dropped.some((post) => post.postId.startsWith(prefix) && post.reason === reason);
}

async function hasVector(state: OnlineStore, userId: string, tower: string): Promise<boolean> {
  const found = await state.getState(userId, tower, deadlineIn(STORE_MS));
  return found !== null && found.embedding !== null;
}

async function towerOf(client: JsonClient): Promise<string> {
  const { body } = await must(client.send('GET', '/health/ready'));
  return (body as { models: Record<string, string> }).models['post-tower'];
}

async function must(sent: ReturnType<JsonClient['send']>): ReturnType<JsonClient['send']> {
  const answer = await sent;
  if (answer.status !== 200)
    throw new Error(`answered ${answer.status}: ${JSON.stringify(answer.body).slice(0, 200)}`);
  return answer;
}

async function keepPosting(
  clients: readonly JsonClient[],
  { users, posts }: IngestBenchOptions,
  load: FreshnessReport['load'],
  running: () => boolean,
): Promise<void> {
  for (let n = 0; running(); n++) {
    const events = Array.from({ length: LOAD_BATCH }, (_, i) => ({
      id: `load-${n}-${i}`,
      userId: `u${(n * LOAD_BATCH + i * 7919) % users}`,
      postId: `p${(n * 31 + i * 104_729) % posts}`,
      type: ['impression', 'click', 'like', 'reply'][i % 4],
      at: Date.now(),
    }));
    const answer = await clients[n % 2].send('POST', '/events', { events }).catch(() => null);
    if (answer?.status === 200) load.events += LOAD_BATCH;
    else load.failed++;
    await new Promise((resolve) => setTimeout(resolve, (LOAD_BATCH / LOAD_EVENTS_PER_SECOND) * 1000));
  }
}

async function keepReading(
  clients: readonly JsonClient[],
  { users }: IngestBenchOptions,
  load: FreshnessReport['load'],
  running: () => boolean,
): Promise<void> {
  for (let n = 0; running(); n++) {
    const answer = await clients[n % 2]
      .send('GET', `/feed/u${(n * 7919) % users}?limit=20`)
      .catch(() => null);
    if (answer?.status === 200) load.feeds++;
    else load.failed++;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function percentiles(values: readonly number[]): Percentiles {
  const at = (q: number) => Number(quantile(values, q).toFixed(1));
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1), samples: values.length };
}
