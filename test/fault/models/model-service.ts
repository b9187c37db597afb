// The composed service over a registry of its own with a copy of the committed models, a few hundred posts, and readers
// who ask for feeds all the time and hold every answer against what may be served.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pino } from 'pino';
import { composeService, type Service } from '../../../src/compose.ts';
import { readConfig } from '../../../src/config.ts';
import type { HistoryEntry } from '../../../src/ranking/lifecycle/stage-file.ts';
import { promotedVersion } from '../../../src/ranking/model-registry.ts';
import type { RolloutStatus } from '../../../src/rollout-status.ts';
import { randomOf } from '../../unit/features/catalogue.ts';

const COMMITTED = resolve(import.meta.dirname, '../../../models');
const MODELS = ['post-tower', 'user-tower', 'ranker', 'ranker-light'];
const TOPICS = ['cooking', 'astronomy', 'cycling', 'music', 'history'];

export interface FeedBody {
  posts: {
    id: string;
    token: string;
    score: number;
    explain?: { heads: { head: string; probability: number; weight: number }[] };
  }[];
  nextCursor: string | null;
  degraded: string[];
  model: string;
  index: string;
}

export interface ModelService {
  service: Service;
  dataDir: string;
  modelsDir: string;
  /** Version of the ranker that serves at the start, and its folder. */
  first: string;
  goodFolder: string;
  call(method: 'GET' | 'POST', url: string, payload?: object): Promise<{ status: number; body: unknown }>;
  feed(userId: string, query?: string): Promise<FeedBody>;
  status(): Promise<RolloutStatus>;
  history(limit?: number): Promise<HistoryEntry[]>;
  stage(move: object): Promise<{ status: number; body: unknown }>;
  /** Stopped before the service is. */
  readers: Readers[];
  close(): Promise<void>;
}

export interface ModelServiceOptions {
  mode?: 'auto' | 'manual';
  rollout?: object;
  experiments?: object;
  /** What the rules file holds at the start; absent: there is none. */
  rules?: object;
  posts?: number;
  environment?: Record<string, string>;
}

export async function startModelService(options: ModelServiceOptions = {}): Promise<ModelService> {
  const dataDir = mkdtempSync(join(tmpdir(), 'feedrank-models-'));
  const modelsDir = join(dataDir, 'models');
  for (const name of MODELS) {
    const version = await promotedVersion(COMMITTED, name);
    const isRanker = name === 'ranker';
    const folder = join(modelsDir, name, isRanker ? '1' : version);
    cpSync(join(COMMITTED, name, version), folder, { recursive: true });
    // Whatever its number, here it is the first.
    const path = join(folder, 'manifest.json');
    if (isRanker)
      writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), version: '1' }));
  }
  const first = await promotedVersion(modelsDir, 'ranker');
  const file = (name: string, content: object | undefined) => {
    if (content === undefined) return '';
    writeFileSync(join(dataDir, name), JSON.stringify(content));
    return join(dataDir, name);
  };
  file('rules.json', options.rules);
  const config = readConfig({
    DATA_DIR: dataDir,
    MODELS_DIR: modelsDir,
    RULES_FILE: join(dataDir, 'rules.json'),
    MODEL_ROLLOUT: options.mode ?? 'manual',
    ROLLOUT_FILE: file('rollout.json', options.rollout),
    EXPERIMENTS_FILE: file('experiments.json', options.experiments),
    MODELS_POLL_MS: '50',
    INDEX_POLL_MS: '100',
    FEED_WORKERS: '2',
    LIVE_CAPACITY: '2000',
    CHANGES_POLL_MS: '20',
    RATE_LIMIT_PER_MINUTE: '0',
    USER_RATE_LIMIT_PER_MINUTE: '0',
    FEED_DEADLINE_MS: '1000',
    EXPLORE_SHARE: '0',
    LOG_LEVEL: 'silent',
    ...options.environment,
  });
  const service = await composeService(config, pino({ level: 'silent' }));
  const call: ModelService['call'] = async (method, url, payload) => {
    const response = await service.app.inject({ method, url, ...(payload ? { payload } : {}) });
    return { status: response.statusCode, body: response.json() };
  };
  const get = async <T>(url: string) => {
    const { status, body } = await call('GET', url);
    if (status !== 200) throw new Error(`${url}: ${status} ${JSON.stringify(body)}`);
    return body as T;
  };
  const readers: Readers[] = [];
  const { status, body } = await call('POST', '/posts', { posts: posts(options.posts ?? 240) });
  if (status !== 200) throw new Error(`posts: ${status} ${JSON.stringify(body)}`);
  return {
    service,
    dataDir,
    modelsDir,
    first,
    goodFolder: join(modelsDir, 'ranker', first),
    call,
    feed: (userId, query = 'limit=10') => get<FeedBody>(`/feed/${userId}?${query}`),
    status: () => get<RolloutStatus>('/admin/models'),
    history: async (limit = 1000) =>
      (await get<{ history: HistoryEntry[] }>(`/admin/models/history?limit=${limit}`)).history,
    stage: (move) => call('POST', '/admin/models/stage', move),
    readers,
    close: async () => {
      for (const one of readers) await one.stop();
      await service.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

function posts(count: number) {
  const now = Date.now();
  const random = randomOf(5);
  const word = () => Math.floor(random() * 2 ** 30).toString(36);
  return Array.from({ length: count }, (_, i) => ({
    id: `post-${i}`,
    authorId: `author-${i % 40}`,
    createdAt: now - i * 300_000,
    title: `${TOPICS[i % TOPICS.length]} ${word()} ${word()}`,
    topic: TOPICS[i % TOPICS.length],
    language: 'en',
  }));
}

export interface Readers {
  answers: number;
  /** Answers that were no feed, or not one version's. */
  failures: string[];
  /** Answers by the model they name. */
  byModel: Map<string, number>;
  degraded: Map<string, number>;
  /** Lets the readers finish. */
  stop(): Promise<void>;
}

export interface ReadersOptions {
  clients?: number;
  /** Different users in turn. */
  users?: number;
  /** Pages of one feed. */
  pages?: number;
  /** Also sends a click with the page's token for so many of a hundred posts. */
  clicksPerHundred?: number;
  /** Looks at each page; a text is a failure. */
  check?: (page: FeedBody) => string | null;
}

/** Readers that go on until they are stopped; every page of one feed must be of one model. */
export function startReaders(world: ModelService, options: ReadersOptions = {}): Readers {
  const { clients = 2, users = 400, pages = 2, clicksPerHundred = 0, check } = options;
  const readers: Omit<Readers, 'stop'> = {
    answers: 0,
    failures: [],
    byModel: new Map(),
    degraded: new Map(),
  };
  const count = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1);
  const random = randomOf(99);
  let going = true;
  let turn = 0;
  // Under a heavy load of its own the readers would only measure the machine.
  const breathe = () => new Promise((resolve) => setTimeout(resolve, 2));

  async function click(user: string, page: FeedBody): Promise<void> {
    const events = page.posts
      .filter(() => random() * 100 < clicksPerHundred)
      .map(({ id, token }) => ({ userId: user, postId: id, type: 'click', at: Date.now(), token }));
    if (events.length > 0) await world.call('POST', '/events', { events });
  }

  async function read(user: string): Promise<void> {
    let cursor: string | null = null;
    let model: string | undefined;
    for (let number = 0; number < pages && going; number++) {
      const query = `limit=10&explain=1${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`;
      const { status, body } = await world.call('GET', `/feed/${user}?${query}`);
      readers.answers++;
      if (status !== 200) {
        readers.failures.push(`${status} ${JSON.stringify(body)}`);
        return;
      }
      const page = body as FeedBody;
      count(readers.byModel, page.model);
      for (const cause of page.degraded) count(readers.degraded, cause);
      const wrong = page.posts.some(({ score }) => !Number.isFinite(score))
        ? 'a score that is no number'
        : model !== undefined && page.model !== model
          ? `page ${number} of ${page.model} after one of ${model}`
          : (check?.(page) ?? null);
      if (wrong !== null) readers.failures.push(`${user}: ${wrong}`);
      model = page.model;
      if (clicksPerHundred > 0) await click(user, page);
      cursor = page.nextCursor;
      if (cursor === null) return;
      await breathe();
    }
  }

  const run = async () => {
    while (going) {
      await read(`reader-${turn++ % users}-${Math.floor(turn / users)}`);
      await breathe();
    }
  };
  const running = Promise.all(Array.from({ length: clients }, run));
  const stop = async () => {
    going = false;
    await running;
  };
  const started = Object.assign(readers, { stop });
  world.readers.push(started);
  return started;
}

export async function until(
  condition: () => boolean | Promise<boolean>,
  withinMs = 20_000,
): Promise<boolean> {
  const end = Date.now() + withinMs;
  while (Date.now() < end) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return false;
}
