import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServedLabels } from '../../../scripts/evaluate/ope-engagements.ts';
import {
  poolLogits,
  readExploration,
  stepProbabilities,
} from '../../../scripts/evaluate/ope-exploration-record.ts';
import { evaluateServingLog, type ServingLogOptions } from '../../../scripts/evaluate/ope-serving-log.ts';
import { servingTable } from '../../../scripts/evaluate/ope-table.ts';
import type {
  EngagementEvent,
  ExplorationRecord,
  ServingRecord,
  SlateEntry,
} from '../../../src/contracts.ts';
import { deadlineIn } from '../../../src/deadline.ts';
import { openSqlStore, type SqlStore } from '../../../src/features/store/postgres-store.ts';
import { DEFAULT_WEIGHTS, type ValueWeights } from '../../../src/ranking/value-model.ts';
import { seededRandom } from '../../../src/rerank/seeded-random.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { freshDataFolder } from '../../setup/pglite-template.ts';
import { rerankPosts } from '../rerank/test-ranked.ts';

const POSTS = Array.from({ length: 12 }, (_, i) => ({ authorId: `a${i % 4}` }));
const DEPTH = 4;
const TEMPERATURE = 1;
const rules = { exploration: { temperature: TEMPERATURE, pool: POSTS.length, depth: POSTS.length } };
/** Posts that are clicked are not the ones that are liked, so that the weights decide. */
const PROBABILITIES = POSTS.map((_, i) =>
  Float32Array.of(0.05 + 0.03 * i, 0.3 - 0.024 * i, 0.01, 0.01, 0.02 + 0.01 * (i % 3), 0.02),
);
const CLICKS: ValueWeights = { click: 1, like: 0, reply: 0, share: 0, dwell: 0, negative: 0 };
const LIKES: ValueWeights = { ...CLICKS, click: 0, like: 1 };
/** Clicks and likes balance: what is left decides, so that the change is a mild one. */
const MILD: ValueWeights = { ...CLICKS, like: 1.25, dwell: 1 };
const REWARD: ValueWeights = { ...CLICKS, like: 2 };
/** How often a position is looked at. */
const SEEN = [1, 0.7, 0.5, 0.4];

function scoresUnder(weights: ValueWeights): number[] {
  return PROBABILITIES.map((p) => HEADS.reduce((sum, head, h) => sum + weights[head] * p[h], 0));
}

/** The slate that the service's own re-ranker samples. */
function explore(weights: ValueWeights, seed: number, extra: object = {}): SlateEntry[] {
  const query = { explore: true, seed, slateSize: POSTS.length };
  return rerankPosts(POSTS, { ...rules, ...extra }, query, scoresUnder(weights)).slate;
}

/** What the service is to log of it; the pool in ranked order. */
function recordOf(slate: readonly SlateEntry[], weights: ValueWeights): ExplorationRecord {
  const scores = scoresUnder(weights);
  const pool = [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b);
  const bytes = Buffer.alloc(pool.length * HEADS.length * 4);
  pool.forEach((row, item) => {
    PROBABILITIES[row].forEach((p, h) => void bytes.writeFloatLE(p, (item * HEADS.length + h) * 4));
  });
  return {
    temperature: TEMPERATURE,
    probabilities: bytes.toString('base64'),
    boosts: null,
    weights: HEADS.map((head) => weights[head]),
    steps: slate.map(({ row, propensity }) => ({
      postId: `p${row}`,
      pick: pool.indexOf(row),
      propensity,
      eligible: null,
    })),
  };
}

function servingRecord(request: number, slate: readonly SlateEntry[], exploration?: unknown): ServingRecord {
  const requestId = `r${String(request).padStart(6, '0')}`;
  return {
    requestId,
    userId: `u${request % 400}`,
    at: 1_700_000_000_000 + request * 1000,
    model: 'ranker@1',
    index: 'g1',
    rules: 'rules',
    explored: true,
    degraded: [],
    watermark: '1',
    posts: slate.slice(0, DEPTH).map(({ row, propensity, score }, position) => ({
      postId: `p${row}`,
      token: `${requestId}/${position}`,
      position,
      score,
      propensity,
      sources: ['nearest'],
      probabilities: null,
    })),
    ...(exploration === undefined ? {} : { exploration: exploration as ExplorationRecord }),
  };
}

/** What readers do: engagements by the heads' probabilities, where the position was looked at. */
function engagements(record: ServingRecord, random: () => number): EngagementEvent[] {
  const { userId, at } = record;
  return record.posts.flatMap(({ postId, token, position }) => {
    const p = PROBABILITIES[Number(postId.slice(1))];
    if (random() >= SEEN[position]) return [];
    const found: EngagementEvent[] = [];
    const add = (type: 'click' | 'like') =>
      found.push({ id: `${token}/${type}`, userId, postId, type, at: at + 500, token });
    // A like is an engagement too: it counts as a click.
    if (random() < p[0]) add('click');
    if (random() < p[1]) add('like');
    return found;
  });
}

/** Expected reward of a request under weights, over every order of the first positions. */
function truthOf(weights: ValueWeights): number {
  const exploration = readExploration(servingRecord(0, [], recordOf(explore(CLICKS, 1), CLICKS)))!;
  const logits = poolLogits(
    exploration,
    HEADS.map((head) => weights[head]),
  );
  // The pool in the order of `recordOf`: by falling score under the weights that logged it.
  const scores = scoresUnder(CLICKS);
  const pool = [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b);
  const rest = (position: number, open: Uint8Array): number => {
    if (position === DEPTH) return 0;
    return stepProbabilities(logits, open).reduce((sum, p, item) => {
      if (p === 0) return sum;
      const [click, like] = PROBABILITIES[pool[item]];
      const either = 1 - (1 - click) * (1 - like);
      const earned = SEEN[position] * (REWARD.click * either + REWARD.like * like);
      return sum + p * (earned + rest(position + 1, open.with(item, 0)));
    }, 0);
  };
  return rest(0, new Uint8Array(POSTS.length).fill(1));
}

function memoryLog(records: ServingRecord[], events: EngagementEvent[]) {
  return {
    async *scan() {
      yield records;
    },
    async *scanEvents() {
      yield events;
    },
  };
}

const options: ServingLogOptions = { weights: MILD, reward: REWARD, depth: DEPTH, seed: 1, resamples: 200 };

function world(requests: number, seed: number) {
  const random = seededRandom(seed);
  const records = Array.from({ length: requests }, (_, request) => {
    const slate = explore(CLICKS, seed * 100_003 + request);
    return servingRecord(request, slate, recordOf(slate, CLICKS));
  });
  return { records, events: records.flatMap((record) => engagements(record, random)) };
}

describe('the new policy’s probability', () => {
  test('with the logging weights equals what the re-ranker reported, at every step', () => {
    for (let seed = 0; seed < 20; seed++) {
      const slate = explore(CLICKS, seed);
      const exploration = readExploration(servingRecord(0, slate, recordOf(slate, CLICKS)))!;
      const logits = poolLogits(exploration, exploration.weights);
      exploration.steps.forEach(({ pick, propensity, eligible }) => {
        expect(stepProbabilities(logits, eligible)[pick!]).toBeCloseTo(propensity, 5);
      });
    }
  });

  test('with other weights equals what the re-ranker would report for the same pick', () => {
    const like = explore(LIKES, 3);
    // The same slate as if the click weights had sampled it: only the pool and the picks are used.
    const exploration = readExploration(servingRecord(0, like, recordOf(like, CLICKS)))!;
    const logits = poolLogits(
      exploration,
      HEADS.map((head) => LIKES[head]),
    );
    exploration.steps.forEach(({ pick, eligible }, k) => {
      expect(stepProbabilities(logits, eligible)[pick!]).toBeCloseTo(like[k].propensity, 5);
    });
  });

  test('is spread over the eligible alone', () => {
    const record = recordOf(explore(CLICKS, 1), CLICKS);
    // Items 1, 2 and 10 could be picked first, and item 2 was.
    const bits = Buffer.of(0b0000_0110, 0b0000_0100).toString('base64');
    record.steps = [{ ...record.steps[0], pick: 2, eligible: bits }];
    const exploration = readExploration(servingRecord(0, [], record))!;
    const probabilities = stepProbabilities(
      Float64Array.from({ length: 12 }, (_, i) => i % 3),
      exploration.steps[0].eligible,
    );
    const total = Math.exp(1) + Math.exp(2) + Math.exp(1);
    expect([...probabilities].flatMap((p, item) => (p > 0 ? [item] : []))).toEqual([1, 2, 10]);
    expect(probabilities[2]).toBeCloseTo(Math.exp(2) / total, 12);
  });

  test('a record that contradicts itself has no pool', () => {
    const record = recordOf(explore(CLICKS, 1), CLICKS);
    const twice = { ...record, steps: [record.steps[0], record.steps[0]] };
    const outside = { ...record, steps: [{ ...record.steps[0], pick: 12 }] };
    const short = { ...record, probabilities: 'AAAA' };
    for (const wrong of [undefined, {}, twice, outside, short, { ...record, temperature: 0 }]) {
      expect(readExploration(servingRecord(0, [], wrong))).toBeNull();
    }
    expect(readExploration(servingRecord(0, [], record))).not.toBeNull();
  });
});

describe('joining engagements', () => {
  test('by token, else by user and post within 24 h; an un-like takes the like back', () => {
    const labels = new ServedLabels();
    const first = labels.serve('u', 'p', 'token-1', 1000);
    const second = labels.serve('u', 'p', 'token-2', 5000);
    const event = (type: EngagementEvent['type'], at: number, more: object = {}) =>
      labels.event({ id: `${type}${at}`, userId: 'u', postId: 'p', type, at, ...more });
    event('like', 6000, { token: 'token-1' });
    event('share', 4000);
    event('reply', 6000);
    event('dwell', 7000, { dwellMs: 12_000 });
    event('dwell', 7000, { dwellMs: 100, token: 'token-1' });
    event('impression', 7000);
    event('report', 5000 + 24 * 3_600_000 + 1);
    event('hide', 500);
    event('click', 6000, { token: 'token-of-another-log' });
    expect([...labels.labelsOf(first)]).toEqual([1, 1, 0, 1, 0, 0]);
    expect([...labels.labelsOf(second)]).toEqual([1, 0, 1, 0, 1, 0]);
    event('unlike', 8000, { token: 'token-1' });
    expect([...labels.labelsOf(first)]).toEqual([1, 0, 0, 1, 0, 0]);
    event('not_interested', 9000, { token: 'token-2' });
    expect(labels.labelsOf(second)[HEADS.indexOf('negative')]).toBe(1);
    expect(labels.joined).toEqual({ byToken: 3, byPost: 3 });
  });
});

describe('other value weights on recorded traffic', () => {
  const current = truthOf(CLICKS);
  const target = truthOf(MILD);

  test('are estimated with their true value in the intervals, and the difference with its sign', async () => {
    const { records, events } = world(2500, 1);
    const evaluation = await evaluateServingLog(memoryLog(records, events), options);
    const { value, counts, warnings } = evaluation;
    expect(counts).toMatchObject({ records: 2500, usable: 2500, withoutPool: 0 });
    expect(Math.abs(target - current)).toBeGreaterThan(0.1);
    for (const [estimate, truth] of [
      [value.current, current],
      [value.snips, target],
      [value.dr, target],
      [value.lift.snips, target - current],
      [value.lift.dr, target - current],
    ] as const) {
      expect(estimate.low).toBeLessThan(truth);
      expect(estimate.high).toBeGreaterThan(truth);
    }
    expect(value.lift.dr.low).toBeGreaterThan(0);
    // The control variate pays: the model explains part of what chance would.
    expect(value.dr.standardError).toBeLessThan(value.snips.standardError);
    expect(value.positions.map(({ requests }) => requests)).toEqual([2500, 2500, 2500, 2500]);
    expect(value.positions[3].effectiveSize).toBeLessThan(value.positions[0].effectiveSize);
    expect(warnings.at(-1)).toContain('logged pools');
    expect(servingTable(evaluation)).toContain('difference, DR');
  });

  test('the weights in force come out as what was logged, with no difference', async () => {
    const { records, events } = world(500, 2);
    const { value } = await evaluateServingLog(memoryLog(records, events), { ...options, weights: CLICKS });
    expect(value.snips.value).toBeCloseTo(value.current.value, 4);
    for (const estimate of Object.values(value.lift)) {
      for (const figure of [estimate.value, estimate.low, estimate.high]) expect(figure).toBeCloseTo(0, 4);
    }
    expect(value.positions.every(({ effectiveSize }) => effectiveSize > 499.9)).toBe(true);
  });

  test('too large a change for the log is said', async () => {
    const { records, events } = world(150, 3);
    const { warnings } = await evaluateServingLog(memoryLog(records, events), { ...options, weights: LIKES });
    expect(warnings.join()).toMatch(/from position \d on the weights leave .* effective requests of 150/);
  });

  test('without weights the log shows what was earned, pool or not', async () => {
    const { records, events } = world(600, 4);
    const bare = records.map((record) => ({ ...record, exploration: undefined }));
    const { value, heads, counts } = await evaluateServingLog(memoryLog(bare, events), {
      ...options,
      weights: null,
    });
    expect(counts).toMatchObject({ usable: 600, withoutPool: 600 });
    expect(value.current.low).toBeLessThan(current);
    expect(value.current.high).toBeGreaterThan(current);
    const likes = events.filter(({ type }) => type === 'like').length;
    expect(heads.like.current.value).toBeCloseTo(likes / 600, 9);
  });

  test('a post that was dropped from the page after sampling earns nothing and is still a step', async () => {
    const { records, events } = world(400, 5);
    const dropped = records.map((record) => ({
      ...record,
      posts: record.posts
        .filter((_, position) => position !== 1)
        .map((post, position) => ({ ...post, position })),
    }));
    const { value } = await evaluateServingLog(memoryLog(dropped, events), options);
    expect(value.positions[1]).toMatchObject({ requests: 400, current: 0 });
    expect(value.positions[2].current).toBeGreaterThan(0);
  });
});

describe('records that cannot be used', () => {
  const { records, events } = world(60, 6);
  const evaluate = (changed: ServingRecord[]) => evaluateServingLog(memoryLog(changed, events), options);

  test('are counted by reason', async () => {
    const mixed = records.map((record, i) => {
      if (i % 4 === 1) return { ...record, explored: false };
      if (i % 4 === 2) return { ...record, exploration: undefined };
      if (i % 4 === 3)
        return { ...record, posts: record.posts.map((p) => ({ ...p, position: p.position + 20 })) };
      return record;
    });
    const { counts, warnings } = await evaluate(mixed);
    expect(counts).toMatchObject({
      records: 60,
      notExplored: 15,
      withoutPool: 15,
      laterPages: 15,
      usable: 15,
    });
    expect(warnings.join()).toContain('15 explored requests lack their pool');
    expect(warnings.join()).toContain('15 pages after the first');
  });

  test('a log with nothing of use says why', async () => {
    await expect(evaluate([])).rejects.toThrow('holds no records');
    await expect(evaluate(records.map((r) => ({ ...r, explored: false })))).rejects.toThrow(
      'none of 60 records is explored',
    );
    await expect(evaluate(records.map((r) => ({ ...r, exploration: null as never })))).rejects.toThrow(
      '60 explored requests lack the pool',
    );
  });

  test('propensities that do not follow from the logged pool are refused', async () => {
    const wrong = records.map((record) => {
      const exploration = structuredClone(
        (record as { exploration?: unknown }).exploration,
      ) as ExplorationRecord;
      for (const step of exploration.steps) step.propensity *= 0.9;
      return { ...record, exploration };
    });
    await expect(evaluate(wrong)).rejects.toThrow(/of \d+ logged propensities do not follow/);
  });
});

describe('from the SQL store', () => {
  let folder: Awaited<ReturnType<typeof freshDataFolder>>;
  let store: SqlStore;

  beforeAll(async () => {
    folder = await freshDataFolder();
    store = await openSqlStore({ dataDir: folder.path });
  });

  afterAll(async () => {
    await store.close();
    folder.remove();
  });

  test('gives the figures of the same log in memory', async () => {
    const { records, events } = world(200, 7);
    await store.append(records, deadlineIn(20_000));
    await store.appendEvents(events, deadlineIn(20_000));
    const reward = DEFAULT_WEIGHTS;
    const stored = await evaluateServingLog(store, { ...options, reward });
    expect(stored).toEqual(await evaluateServingLog(memoryLog(records, events), { ...options, reward }));
    expect(stored.counts.events.byToken).toBe(events.length);
  });
});
