// Off-policy evaluation from end to end: the service explores, readers of a known click model answer, and the command's
// estimate of other value weights is compared with what a second service with those weights earns.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { opeCommand } from '../../scripts/evaluate/ope.ts';
import type { ServingLogEvaluation } from '../../scripts/evaluate/ope-serving-log.ts';
import { execute } from '../../scripts/import/command.ts';
import { composeService, type Service } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import type { ServingRecord } from '../../src/contracts.ts';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';
import { FIELD, RECORD_WORDS } from '../../src/post-record.ts';
import { seededRandom } from '../../src/rerank/seeded-random.ts';

const POSTS = 48;
const READERS = 240;
const DEPTH = 3;
/** Readers look further with this probability. */
const LOOKS = [1, 0.8, 0.6];
const NOTHING = { click: 0, like: 0, reply: 0, share: 0, dwell: 0, negative: 0 };
const LOGGED = { ...NOTHING, click: 1 };
/** Against what is opened: a change for the worse. */
const OTHER = { ...NOTHING, click: -1 };
/** Hot enough that either policy often picks what the other prefers. */
const RULES = { exploration: { temperature: 3 } };
const REWARD = { ...NOTHING, click: 1 };
const folders: string[] = [];

async function start(dataDir: string, weights: object): Promise<Service> {
  writeFileSync(join(dataDir, 'rules.json'), JSON.stringify(RULES));
  const config = readConfig({
    DATA_DIR: dataDir,
    RULES_FILE: join(dataDir, 'rules.json'),
    VALUE_WEIGHTS: JSON.stringify(weights),
    EXPLORE_SHARE: '1',
    FEED_WORKERS: '1',
    CHANGES_POLL_MS: '20',
    RATE_LIMIT_PER_MINUTE: '0',
    USER_RATE_LIMIT_PER_MINUTE: '0',
    FEED_DEADLINE_MS: '10000',
    LOG_LEVEL: 'silent',
  });
  const service = await composeService(config, pino({ level: 'silent' }));
  await send(service, '/posts', { posts: posts() });
  await send(service, '/events', { events: firstEngagements() });
  await countersApplied(service);
  return service;
}

async function send(service: Service, url: string, payload: object): Promise<void> {
  const response = await service.app.inject({ method: 'POST', url, payload });
  if (response.statusCode !== 200) throw new Error(response.body);
}

const NOW = Date.now();
const WORDS =
  'sourdough oven butter garlic pastry telescope saturn nebula comet orbit bicycle gravel saddle sprint chain canal'.split(
    ' ',
  );

function posts() {
  return Array.from({ length: POSTS }, (_, i) => ({
    id: `p${i}`,
    authorId: `a${i % 16}`,
    createdAt: NOW - 3_600_000 - i * 60_000,
    title: `${WORDS[i % 16]} ${WORDS[(5 * i + 3) % 16]} ${WORDS[(i * i + 7) % 16]} ${i}`,
    language: 'en',
  }));
}

/** Half of the posts were clicked by some, half liked by some. */
function firstEngagements() {
  return Array.from({ length: POSTS }, (_, i) => {
    const type = i % 2 === 0 ? 'click' : 'like';
    return Array.from({ length: 3 + (i % 7) }, (_, k) => {
      const at = NOW - 1_800_000 + 1000 * k;
      return { userId: `early-${k}`, postId: `p${i}`, type, at };
    });
  }).flat();
}

/** What the readers of this world open. */
function clickProbability(postId: string): number {
  const i = Number(postId.slice(1));
  return i % 2 === 0 ? 0.5 : 0.1;
}

async function countersApplied(service: Service): Promise<void> {
  const { table } = service.generations.current;
  for (let wait = 0; wait < 400; wait++) {
    const last = table.rowOfId(`p${POSTS - 1}`);
    if (last >= 0 && table.records.f32[last * RECORD_WORDS + FIELD.likes] >= 1) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('the counters were not applied within 10 s');
}

interface Page {
  posts: { id: string; token: string }[];
  degraded: string[];
}

async function page(service: Service, reader: number): Promise<Page> {
  const response = await service.app.inject({ method: 'GET', url: `/feed/r${reader}?limit=${DEPTH + 2}` });
  return response.json();
}

/** Expected clicks of a page's first positions. */
function expectedClicks({ posts }: Page): number {
  return posts
    .slice(0, DEPTH)
    .reduce((sum, { id }, position) => sum + LOOKS[position] * clickProbability(id), 0);
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'feedrank-ope-'));
  folders.push(path);
  return path;
}

function meanOf(values: readonly number[]) {
  const mean = values.reduce((a, b) => a + b) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  return { mean, error: Math.sqrt(variance / values.length) };
}

let evaluation: ServingLogEvaluation;
let records: ServingRecord[];
let loggedTruth: ReturnType<typeof meanOf>;
let otherTruth: ReturnType<typeof meanOf>;

beforeAll(async () => {
  const dataDir = folder();
  const service = await start(dataDir, LOGGED);
  const random = seededRandom(5);
  const earned: number[] = [];
  const clicks: object[] = [];
  for (let reader = 0; reader < READERS; reader++) {
    const served = await page(service, reader);
    earned.push(expectedClicks(served));
    served.posts.slice(0, DEPTH).forEach(({ id, token }, position) => {
      if (random() >= LOOKS[position] * clickProbability(id)) return;
      clicks.push({ userId: `r${reader}`, postId: id, type: 'click', at: Date.now(), token });
    });
  }
  // Sent together at the end: the posts' counters stay what they were for every reader.
  for (let at = 0; at < clicks.length; at += 200) {
    await send(service, '/events', { events: clicks.slice(at, at + 200) });
  }
  await service.close();
  loggedTruth = meanOf(earned);

  const other = await start(folder(), OTHER);
  const values: number[] = [];
  for (let reader = 0; reader < READERS; reader++) values.push(expectedClicks(await page(other, reader)));
  await other.close();
  otherTruth = meanOf(values);

  const json = join(dataDir, 'figures.json');
  const flags = ['--serving-log', '--data-dir', dataDir, '--depth', String(DEPTH), '--json', json];
  flags.push('--weights', JSON.stringify(OTHER), '--reward', JSON.stringify(REWARD));
  const errors: string[] = [];
  const code = await execute(opeCommand, flags, { out: () => {}, error: (text) => void errors.push(text) });
  expect(code, errors.join()).toBe(0);
  evaluation = JSON.parse(readFileSync(json, 'utf8'));
  const store = await openSqlStore({ dataDir, attach: true });
  records = [];
  for await (const batch of store.scan(500)) records.push(...batch);
  await store.close();
}, 120_000);

afterAll(() => {
  for (const path of folders) rmSync(path, { recursive: true, force: true });
});

describe('a change of value weights, estimated on recorded traffic', () => {
  it('finds the pool of every explored first page in the serving log, and every click', () => {
    expect(evaluation.counts).toMatchObject({ records: READERS, usable: READERS, withoutPool: 0 });
    expect(evaluation.counts.events.byToken).toBeGreaterThan(READERS / 2);
    expect(evaluation.counts.events.byPost).toBe(0);
    for (const record of records) {
      expect(record.exploration!.steps.slice(0, DEPTH).map(({ postId }) => postId)).toEqual(
        record.posts.slice(0, DEPTH).map(({ postId }) => postId),
      );
      expect(JSON.stringify(record.exploration).length).toBeLessThan(24_000);
    }
  });

  it('covers what the service with those weights really earns', () => {
    const { current, snips, dr } = evaluation.value;
    for (const [estimate, truth] of [
      [current, loggedTruth],
      [snips, otherTruth],
      [dr, otherTruth],
    ] as const) {
      // Four standard errors of both, where 95 % are two: requests have random ids, and this runs often.
      const error = Math.hypot(estimate.standardError, truth.error);
      expect(Math.abs(estimate.value - truth.mean)).toBeLessThan(4 * error);
    }
  });

  it('says which way it goes', () => {
    expect(loggedTruth.mean - otherTruth.mean).toBeGreaterThan(0.1);
    expect(evaluation.value.lift.dr.high).toBeLessThan(0);
  });
});
