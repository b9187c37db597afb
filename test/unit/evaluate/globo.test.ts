import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rankOf, SlidingCounts } from '../../../scripts/evaluate/globo-floors.ts';
import { markTargets, replayClicks } from '../../../scripts/evaluate/globo-replay.ts';
import {
  type ClickStream,
  clickStream,
  firstFrom,
  splitStream,
} from '../../../scripts/evaluate/globo-stream.ts';
import { DecayedCounts } from '../../../scripts/evaluate/replay-decayed-counts.ts';
import { ItemEdges } from '../../../scripts/evaluate/replay-item-edges.ts';
import { ListRanker } from '../../../scripts/evaluate/replay-list-ranker.ts';
import { mulberry32 } from '../../../scripts/evaluate/retrieval-data.ts';

const HOUR = 3_600_000;
const ARTICLES = 60;
const CLICKS = 2600;

/** Sessions that walk from an article to the next number, half of the time. */
function syntheticKeys(clicks: number, seed: number): number[][] {
  const random = mulberry32(seed);
  const keys: number[][] = [[], [], [], []];
  const last = new Map<number, number>();
  for (let i = 0; i < clicks; i++) {
    const user = Math.floor(random() * 40);
    const session = user * 1000 + Math.floor(i / 400);
    const before = last.get(session);
    const walk = before !== undefined && random() < 0.5;
    const article = walk ? (before + 1) % ARTICLES : Math.floor(random() * ARTICLES);
    last.set(session, article);
    const values = [user, session, article, i * 60_000];
    for (let k = 0; k < 4; k++) keys[k].push(values[k]);
  }
  return keys;
}

function predictions(
  stream: ClickStream,
  testFromMs: number,
): { figures: ReturnType<typeof replayClicks>; lists: Map<number, number[]> } {
  const lists = new Map<number, number[]>();
  const figures = replayClicks(
    stream,
    { validationFromMs: testFromMs - 5 * HOUR, testFromMs },
    {
      trainTargets: 1e9,
      validationTargets: 1e9,
      testTargets: 1e9,
      seed: 1,
      onPrediction: (click, top) => lists.set(click, top),
    },
  );
  return { figures, lists };
}

describe('the targets of a click stream', () => {
  it('are the clicks after the first of a session on articles the session had not opened', () => {
    // Sessions 1: a b a c, 2: a a; in the order of time 1 1 2 1 2 1.
    const keys = [
      [7, 7, 8, 7, 8, 7],
      [1, 1, 2, 1, 2, 1],
      [10, 11, 10, 10, 10, 12],
      [1, 2, 3, 4, 5, 6],
    ];
    expect([...markTargets(clickStream(keys, []))]).toEqual([0, 1, 0, 0, 0, 1]);
  });

  it('come in the order of time whatever the order of the file', () => {
    const stream = clickStream(
      [
        [1, 2],
        [5, 6],
        [100, 200],
        [9, 3],
      ],
      [[4, 4]],
    );
    expect([...stream.at]).toEqual([3, 9]);
    expect([...stream.user]).toEqual([0, 1]);
  });

  it('an empty file is an error that names it', () => {
    expect(() => clickStream([[], [], [], []], [])).toThrow(/clicks\.parquet: holds no click/);
  });

  it('tests the last UTC day, and the last fifth of a short period', () => {
    const days = Float64Array.from({ length: 24 * 4 }, (_, h) => h * HOUR + 1);
    expect(splitStream(days)).toEqual({ validationFromMs: 48 * HOUR, testFromMs: 72 * HOUR });
    const short = Float64Array.from({ length: 11 }, (_, h) => h * HOUR);
    expect(splitStream(short)).toEqual({ validationFromMs: 6 * HOUR, testFromMs: 8 * HOUR });
    expect(firstFrom(short, 6 * HOUR)).toBe(6);
  });
});

describe('floors', () => {
  it('count the clicks of the last hour, without the session, newer articles first among equals', () => {
    const counts = new SlidingCounts(5, 10, HOUR);
    for (const [item, at] of [
      [0, 0],
      [0, 1],
      [1, 2 * HOUR],
      [2, 2 * HOUR],
      [2, 2 * HOUR],
      [3, 2 * HOUR],
    ])
      counts.add(item, at);
    counts.advance(2 * HOUR + 1);
    expect(counts.counts[0]).toBe(0);
    expect(counts.rank(2, [])).toBe(0);
    expect(counts.rank(3, [])).toBe(1);
    expect(counts.rank(1, [])).toBe(2);
    expect(counts.rank(1, [2, 2])).toBe(1);
    expect(counts.rank(0, [])).toBe(Number.POSITIVE_INFINITY);
  });

  it('rank a target that is no candidate last, and let ties count against it', () => {
    const gathered = {
      count: 3,
      items: Int32Array.of(4, 5, 6),
      matrix: new Float32Array(0),
      together: [],
    };
    expect(rankOf(5, gathered, Float64Array.of(1, 1, 0))).toBe(1);
    expect(rankOf(9, gathered, Float64Array.of(1, 1, 0))).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('decayed counts', () => {
  it('halve after a half-life, for any length of stream', () => {
    const counts = new DecayedCounts(2, HOUR, 2);
    counts.add(0, 0);
    expect(counts.value(0, HOUR)).toBeCloseTo(0.5, 12);
    counts.add(1, 5000 * HOUR);
    expect(counts.value(1, 5000 * HOUR)).toBe(1);
    expect(counts.value(0, 5000 * HOUR)).toBeLessThan(1e-100);
  });

  it('keep the same top list as sorting all counts would', () => {
    const clicks = fc.array(fc.tuple(fc.nat(30), fc.integer({ min: 0, max: 200 })), {
      minLength: 1,
      maxLength: 200,
    });
    fc.assert(
      fc.property(clicks, (steps) => {
        const counts = new DecayedCounts(31, HOUR, 8);
        const plain = new Float64Array(31);
        let at = 0;
        for (const [item, minutes] of steps) {
          for (let i = 0; i < 31; i++) plain[i] *= 2 ** -((minutes * 60_000) / HOUR);
          at += minutes * 60_000;
          plain[item]++;
          counts.add(item, at);
        }
        const sorted = [...plain].sort((a, b) => b - a);
        for (let k = 0; k < counts.topCount; k++)
          expect(counts.value(counts.top[k], at)).toBeCloseTo(sorted[k], 9);
        expect(counts.topCount).toBe(Math.min(8, plain.filter((value) => value > 0).length));
      }),
    );
  });
});

describe('item edges', () => {
  it('count by both half-lives, and give the weakest slot to a newcomer', () => {
    const edges = new ItemEdges({ itemCount: 4, slots: 2, fastHalfLifeMs: HOUR, slowHalfLifeMs: 2 * HOUR });
    edges.add(0, 1, 0);
    edges.add(0, 1, 0);
    edges.add(0, 2, 0);
    edges.add(0, 3, 2 * HOUR);
    expect([...edges.to.subarray(0, 2)]).toEqual([1, 3]);
    expect(edges.fast[0] * edges.fastFactor(2 * HOUR)).toBeCloseTo(0.5, 12);
    expect(edges.slow[0] * edges.slowFactor(2 * HOUR)).toBeCloseTo(1, 12);
    expect(edges.slowDegree[0] * edges.slowFactor(2 * HOUR)).toBeCloseTo(2.5, 12);
  });
});

describe('the list ranker', () => {
  it.each([0, 8])('learns which column marks the opened item (%i hidden units)', (hidden) => {
    const random = mulberry32(3);
    const ranker = new ListRanker({ features: 3, hidden, rate: 0.01, seed: 1 });
    const list = () => {
      const matrix = Float32Array.from({ length: 30 }, () => random());
      // The opened item is the one of largest second column.
      const best = [...Array(10).keys()].reduce((a, b) => (matrix[3 * b + 1] > matrix[3 * a + 1] ? b : a), 0);
      const top = matrix.slice(3 * best, 3 * best + 3);
      matrix.copyWithin(3 * best, 0, 3);
      matrix.set(top, 0);
      return matrix;
    };
    for (let i = 0; i < 12_000; i++) ranker.learn(list(), 10);
    let first = 0;
    const scores = new Float64Array(10);
    for (let i = 0; i < 300; i++) {
      ranker.score(list(), 10, scores);
      if (scores.every((score, k) => k === 0 || score < scores[0])) first++;
    }
    expect(first).toBeGreaterThan(270);
  });
});

describe('the replay', () => {
  const keys = syntheticKeys(CLICKS, 5);
  const context = [keys[0].map((user) => user % 3)];
  const testFromMs = 1700 * 60_000;

  it('predicts nothing from the future: changed later clicks leave earlier predictions as they were', () => {
    const cut = 2100;
    const changed = keys.map((column) => [...column]);
    for (let i = cut; i < CLICKS; i++) changed[2][i] = keys[2][CLICKS + cut - 1 - i];
    const as = predictions(clickStream(keys, context), testFromMs);
    const other = predictions(clickStream(changed, context), testFromMs);
    const before = [...as.lists].filter(([click]) => click <= cut);
    expect(before.length).toBeGreaterThan(200);
    let same = 0;
    for (const [click, list] of before) {
      const theirs = other.lists.get(click);
      // The click at the cut itself is a target in one stream and may be none in the other.
      if (click === cut && theirs === undefined) continue;
      expect(theirs, `click ${click}`).toEqual(list);
      same++;
    }
    expect(same).toBeGreaterThan(200);
    expect(
      [...as.lists].some(([click, list]) => click > cut + 100 && `${other.lists.get(click)}` !== `${list}`),
    ).toBe(true);
  });

  it('learns nothing from a click before it has predicted the others of the same millisecond', () => {
    const together = keys.map((column) => [...column]);
    for (let i = 0; i < CLICKS; i++) together[3][i] = Math.floor(i / 2) * 120_000;
    const baseline = predictions(clickStream(together, context), testFromMs).lists;
    // The first click of a pair opens another article; the second, of another session, must be served the same.
    let cut = firstFrom(Float64Array.from(together[3]), testFromMs) + 40;
    while (!baseline.has(cut + 1) || together[1][cut] === together[1][cut + 1]) cut += 2;
    const changed = together.map((column) => [...column]);
    for (let i = cut; i < cut + 2; i++) changed[2][i] = (together[2][i] + 17) % ARTICLES;
    const other = predictions(clickStream(changed, context), testFromMs).lists;
    expect(other.get(cut + 1) ?? baseline.get(cut + 1)).toEqual(baseline.get(cut + 1));
    const after = [...baseline].filter(([click]) => click > cut + 1);
    expect(after.some(([click, list]) => `${other.get(click)}` !== `${list}`)).toBe(true);
  });

  it('beats both floors where sessions walk from article to article', () => {
    const { figures, lists } = predictions(clickStream(keys, context), testFromMs);
    expect(figures.targets).toBe(lists.size);
    expect(figures.model.hr20).toBeGreaterThan(figures.lastHour.hr20);
    // Half of the clicks follow the walk, the others are even over the articles: at best (20 − 1)/59 of them are hit.
    expect(figures.model.hr20).toBeGreaterThan(0.45);
    expect(figures.candidateRecall).toBeGreaterThan(0.9);
  });

  it('never serves what the session has opened', () => {
    const stream = clickStream(keys, context);
    const opened = new Map<number, Set<number>>();
    const { lists } = predictions(stream, testFromMs);
    for (let click = 0; click < stream.clicks; click++) {
      const session = opened.get(stream.session[click]) ?? new Set();
      for (const item of lists.get(click) ?? []) expect(session.has(item)).toBe(false);
      session.add(stream.article[click]);
      opened.set(stream.session[click], session);
    }
  });
});
