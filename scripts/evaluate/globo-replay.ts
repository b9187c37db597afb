// Replays a click stream in time: each next click is predicted from strictly earlier ones, then learned from. Nothing is
// rebuilt between days. Called by globo.ts.
import { type FloorSetting, floorScores, floorSettings, rankOf, SlidingCounts } from './globo-floors.ts';
import { ClickModel, type Gathered } from './globo-model.ts';
import type { ClickStream, ReplaySplit } from './globo-stream.ts';
import { firstFrom } from './globo-stream.ts';
import { ListRanker } from './replay-list-ranker.ts';
import { mulberry32 } from './retrieval-data.ts';

const HOUR_MS = 3_600_000;
const TOP = 20;
/** Candidates the ranker is shown beside the one that was opened. */
const NEGATIVES = 40;
/** The stream's first part only fills the counters: a ranker trained on empty ones learns nothing of use. */
const WARM_UP = 0.1;

export interface ReplayOptions {
  /** Targets learned from before the test, at most; of the test's own, the same share. */
  trainTargets: number;
  /** Targets that choose between settings, at most. */
  validationTargets: number;
  /** Targets tested, at most; all of the period when infinite. */
  testTargets: number;
  seed: number;
  onProgress?(clicks: number): void;
  /** Sees every prediction of the test: the click's index and the list served. */
  onPrediction?(click: number, top: number[]): void;
}

export interface Hits {
  hr20: number;
  mrr20: number;
}

export interface ReplayFigures {
  targets: number;
  model: Hits;
  lastHour: Hits;
  popularityAndTogether: Hits;
  /** Part of the targets that were among the candidates. */
  candidateRecall: number;
  candidatesMean: number;
  trainedOn: number;
  chosen: { hidden: number; rate: number; floor: { halfLifeMs: number; together: string; weight: number } };
  validation: { targets: number; rankers: { hidden: number; rate: number; hr20: number }[]; floor: number };
}

class Tally {
  targets = 0;
  hits = 0;
  reciprocal = 0;

  add(rank: number): void {
    this.targets++;
    if (rank >= TOP) return;
    this.hits++;
    this.reciprocal += 1 / (rank + 1);
  }

  get figures(): Hits {
    const n = Math.max(1, this.targets);
    return { hr20: this.hits / n, mrr20: this.reciprocal / n };
  }
}

/** Runs the whole stream. Figures are of the targets in [split.testFromMs, end]. */
export function replayClicks(stream: ClickStream, split: ReplaySplit, options: ReplayOptions): ReplayFigures {
  const { at, user, session, article, clicks } = stream;
  const contexts = stream.context.reduce(
    (most, column) => column.reduce((a, b) => Math.max(a, b + 1), most),
    0,
  );
  const sizes = { articles: stream.articles, users: stream.users, contexts, kinds: stream.context.length };
  const model = new ClickModel(sizes, options.seed);
  const lastHour = new SlidingCounts(stream.articles, clicks, HOUR_MS);
  const rankers = [
    { hidden: 0, rate: 0.003 },
    { hidden: 32, rate: 0.001 },
    { hidden: 32, rate: 0.003 },
  ].map((setting, k) => new ListRanker({ ...setting, features: model.features, seed: options.seed + k }));
  const floors = floorSettings(model);

  const from = {
    learning: firstFrom(at, at[0] + WARM_UP * (split.testFromMs - at[0])),
    validation: firstFrom(at, split.validationFromMs),
    test: firstFrom(at, split.testFromMs),
  };
  const isTarget = markTargets(stream);
  const share = (limit: number, first: number, end: number) =>
    limit / Math.max(1, countMarks(isTarget, first, end));
  const shares = {
    learning: share(options.trainTargets, from.learning, from.test),
    validation: share(options.validationTargets, from.validation, from.test),
    test: share(options.testTargets, from.test, clicks),
  };

  const random = mulberry32(options.seed + 1000);
  const rankerTallies = rankers.map(() => new Tally());
  const floorTallies = floors.map(() => new Tally());
  const test = { model: new Tally(), lastHour: new Tally(), floor: new Tally(), found: 0, candidates: 0 };
  let ranker = rankers[0];
  let floor = floors[0];
  let trainedOn = 0;
  let chosen = false;
  const scores = new Float64Array(stream.articles);
  const sessionItems: (number[] | undefined)[] = new Array(stream.sessions);
  const lastClick = new Int32Array(stream.users).fill(-1);
  const lists: { matrix: Float32Array; rows: number }[] = [];
  const NONE: number[] = [];

  for (let start = 0; start < clicks; ) {
    let end = start + 1;
    while (end < clicks && at[end] === at[start]) end++;
    if (!chosen && start >= from.test) {
      chosen = true;
      ranker = rankers[best(rankerTallies)];
      floor = floors[best(floorTallies)];
    }
    // First everything of this millisecond is predicted, then it is learned: none of it is earlier than the rest.
    lists.length = 0;
    for (let click = start; click < end; click++) {
      // Drawn for every click, so that what is sampled depends on the position alone.
      const draw = random();
      const drawToLearn = random();
      if (isTarget[click] === 0 || click < from.learning) continue;
      const learns = drawToLearn < shares.learning;
      const validates = click >= from.validation && click < from.test && draw < shares.validation;
      const tests = click >= from.test && draw < shares.test;
      if (!learns && !validates && !tests) continue;
      const items = sessionItems[session[click]] ?? NONE;
      const latest = lastClick[user[click]];
      const reader = {
        user: user[click],
        session: items,
        // The click's own context is not known before it is made: that of the reader's latest click is.
        context: latest < 0 ? NONE : stream.context.map((column) => column[latest]),
      };
      const gathered = model.gather(reader, at[click]);
      const target = article[click];
      if (validates) {
        rankers.forEach((each, k) => {
          each.score(gathered.matrix, gathered.count, scores);
          rankerTallies[k].add(rankOf(target, gathered, scores));
        });
        floors.forEach((setting, k) => {
          floorScores(model, gathered, setting, scores);
          floorTallies[k].add(rankOf(target, gathered, scores));
        });
      }
      if (tests) {
        ranker.score(gathered.matrix, gathered.count, scores);
        const rank = rankOf(target, gathered, scores);
        test.model.add(rank);
        if (options.onPrediction) options.onPrediction(click, topItems(gathered, scores));
        floorScores(model, gathered, floor, scores);
        test.floor.add(rankOf(target, gathered, scores));
        lastHour.advance(at[click]);
        test.lastHour.add(lastHour.rank(target, items));
        test.candidates += gathered.count;
        if (gathered.items.subarray(0, gathered.count).includes(target)) test.found++;
      }
      if (learns) {
        const list = trainingList(gathered, target, model.features, random);
        if (list) lists.push(list);
      }
    }
    for (const { matrix, rows } of lists) {
      trainedOn++;
      if (chosen) ranker.learn(matrix, rows);
      else for (const each of rankers) each.learn(matrix, rows);
    }
    for (let click = start; click < end; click++) {
      const context = stream.context.map((column) => column[click]);
      const items = (sessionItems[session[click]] ??= []);
      model.click(user[click], article[click], at[click], items, context);
      items.push(article[click]);
      lastClick[user[click]] = click;
      lastHour.add(article[click], at[click]);
    }
    options.onProgress?.(end);
    start = end;
  }
  const { hidden, rate } = ranker.options;
  return {
    targets: test.model.targets,
    model: test.model.figures,
    lastHour: test.lastHour.figures,
    popularityAndTogether: test.floor.figures,
    candidateRecall: test.found / Math.max(1, test.model.targets),
    candidatesMean: test.candidates / Math.max(1, test.model.targets),
    trainedOn,
    chosen: { hidden, rate, floor: describeFloor(model, floor) },
    validation: {
      targets: rankerTallies[0].targets,
      rankers: rankers.map((each, k) => ({
        hidden: each.options.hidden,
        rate: each.options.rate,
        hr20: rankerTallies[k].figures.hr20,
      })),
      floor: floorTallies[best(floorTallies)].figures.hr20,
    },
  };
}

function describeFloor(model: ClickModel, { halfLife, together, weight }: FloorSetting) {
  const kinds = ['last click, 4 h', 'last click, 48 h', 'session, 48 h'];
  return { halfLifeMs: model.popular[halfLife].halfLifeMs, together: kinds[together], weight };
}

/** 1 for a click that follows another in its session and opens an article the session had not opened. */
export function markTargets({ clicks, session, sessions, article }: ClickStream): Uint8Array {
  const opened: (Set<number> | undefined)[] = new Array(sessions);
  const marks = new Uint8Array(clicks);
  for (let click = 0; click < clicks; click++) {
    const articles = opened[session[click]];
    if (articles === undefined) opened[session[click]] = new Set([article[click]]);
    else if (!articles.has(article[click])) {
      marks[click] = 1;
      articles.add(article[click]);
    }
  }
  return marks;
}

function countMarks(marks: Uint8Array, from: number, end: number): number {
  let count = 0;
  for (let i = from; i < end; i++) count += marks[i];
  return count;
}

function best(tallies: Tally[]): number {
  let at = 0;
  tallies.forEach((tally, k) => {
    if (tally.figures.hr20 > tallies[at].figures.hr20) at = k;
  });
  return at;
}

/** The opened item's row first, then some of the others', drawn evenly; null when the item was no candidate. */
function trainingList(gathered: Gathered, target: number, features: number, random: () => number) {
  const at = gathered.items.subarray(0, gathered.count).indexOf(target);
  if (at < 0 || gathered.count < 2) return null;
  const rows = Math.min(NEGATIVES + 1, gathered.count);
  const matrix = new Float32Array(rows * features);
  const copy = (from: number, to: number) =>
    matrix.set(gathered.matrix.subarray(from * features, (from + 1) * features), to * features);
  copy(at, 0);
  for (let row = 1; row < rows; row++) {
    const drawn = Math.floor(random() * (gathered.count - 1));
    copy(drawn < at ? drawn : drawn + 1, row);
  }
  return { matrix, rows };
}

function topItems(gathered: Gathered, scores: Float64Array): number[] {
  const order = Array.from({ length: gathered.count }, (_, c) => c);
  order.sort((a, b) => scores[b] - scores[a] || a - b);
  return order.slice(0, TOP).map((c) => gathered.items[c]);
}
