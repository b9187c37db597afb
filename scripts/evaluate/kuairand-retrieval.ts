// The retrieval stage on KuaiRand, replayed in time: every video of the catalogue is scored for each click to come, from
// what was known before it. Counters, edges, vectors and the list ranker learn as the clicks arrive. Called by kuairand.ts.
import type { KuairandData } from './kuairand-impressions.ts';
import { type Click, FEATURES, VideoModel } from './kuairand-videos.ts';
import { ListRanker } from './replay-list-ranker.ts';
import { mulberry32 } from './retrieval-data.ts';

const CUTS = [100, 200, 1000] as const;
const NEGATIVES = 60;
/** Videos handed to ranking, as by the service. */
const LIST_SIZE = 1000;
const VALIDATION_CLICKS = 1500;

export interface RetrievalOptions {
  testClicks: number;
  seed: number;
  onProgress?(fraction: number): void;
  /** Sees the 0-based rank that each tested click got from the retrieval. */
  onRank?(row: number, rank: number): void;
  /** Requests whose retrieved list is kept for the second stage, at most: of the validation, and of the test. */
  listRequests?: { validation: number; test: number };
}

export interface RecallFigures {
  'recall@100': number;
  'recall@200': number;
  'recall@1000': number;
  'ndcg@50': number;
}

/** What the retrieval hands to ranking, request after request; `size` rows each, the best first. */
export interface RetrievedLists {
  requests: { validation: number; test: number };
  size: number;
  /** Row of the click that the list is for. [lists] */
  source: number[];
  video: Int32Array[];
  /** Log-probability by the list ranker, up to a constant of the list. */
  score: Float64Array[];
}

export interface RetrievalFigures {
  lists: RetrievedLists;
  clicks: number;
  videos: number;
  retrieval: RecallFigures;
  popularity: RecallFigures;
  decayedPopularity: RecallFigures;
  chosen: { hidden: number; rate: number };
  validation: { hidden: number; rate: number; recall: number }[];
}

class Tally {
  clicks = 0;
  readonly #within = CUTS.map(() => 0);
  #gain = 0;

  add(rank: number): void {
    this.clicks++;
    CUTS.forEach((cut, c) => {
      if (rank < cut) this.#within[c]++;
    });
    if (rank < 50) this.#gain += 1 / Math.log2(rank + 2);
  }

  /** Mean over the cuts: what settings are compared by. */
  get recall(): number {
    return this.#within.reduce((a, b) => a + b, 0) / CUTS.length / Math.max(1, this.clicks);
  }

  get figures(): RecallFigures {
    const n = Math.max(1, this.clicks);
    const [a, b, c] = this.#within;
    return { 'recall@100': a / n, 'recall@200': b / n, 'recall@1000': c / n, 'ndcg@50': this.#gain / n };
  }
}

export function replayRetrieval(data: KuairandData, options: RetrievalOptions): RetrievalFigures {
  const { set, video, tab, watched } = data;
  const clicked = set.labels[0].values;
  const catalogue = catalogueOf(data);
  const model = new VideoModel({ ...catalogue, users: data.users, tabs: max(tab) + 1 }, options.seed);
  const rankers = [
    { hidden: 0, rate: 0.003 },
    { hidden: 0, rate: 0.01 },
    { hidden: 16, rate: 0.002 },
  ].map((setting, k) => new ListRanker({ ...setting, features: FEATURES, seed: options.seed + k }));
  const random = mulberry32(options.seed + 1000);
  const tallies = rankers.map(() => new Tally());
  const test = { retrieval: new Tally(), popularity: new Tally(), decayed: new Tally() };
  let ranker = rankers[0];
  let chosen = false;
  const lists: RetrievedLists = {
    requests: { validation: 0, test: 0 },
    size: Math.min(LIST_SIZE, model.videos),
    source: [],
    video: [],
    score: [],
  };
  const keepList = (row: number) => {
    const order = Array.from({ length: model.videos }, (_, v) => v).sort(
      (a, b) => scores[b] - scores[a] || a - b,
    );
    const video = Int32Array.from(order.slice(0, lists.size));
    lists.source.push(row);
    lists.video.push(video);
    lists.score.push(Float64Array.from(video, (v) => scores[v]));
  };

  const first = (fromMs: number) => set.at.findIndex((at) => at >= fromMs);
  const [validationFrom, testFrom] = [first(set.validationFromMs), first(set.testFromMs)];
  const count = (from: number, end: number) => clicked.subarray(from, end).reduce((a, b) => a + b, 0);
  const validationShare = VALIDATION_CLICKS / Math.max(1, count(validationFrom, testFrom));
  const testShare = options.testClicks / Math.max(1, count(testFrom, set.rows));

  const tested = Math.min(options.testClicks, count(testFrom, set.rows));
  const validated = Math.min(VALIDATION_CLICKS, count(validationFrom, testFrom));
  // Spread evenly over each period.
  const listShare = {
    validation: (options.listRequests?.validation ?? 0) / Math.max(1, validated),
    test: (options.listRequests?.test ?? 0) / Math.max(1, tested),
  };

  const matrix = new Float32Array(model.videos * FEATURES);
  const scores = new Float64Array(model.videos);
  const list = new Float32Array((NEGATIVES + 1) * FEATURES);
  const fillAll = (click: Click) => {
    model.begin(click.user, click.tab, click.at);
    for (let v = 0; v < model.videos; v++) model.fill(v, matrix, v * FEATURES);
  };
  let watch = 0;
  for (let start = 0; start < set.rows; ) {
    let end = start + 1;
    while (end < set.rows && set.at[end] === set.at[start]) end++;
    for (; watch < watched.at.length && watched.at[watch] < set.at[start]; watch++) {
      model.click({
        row: -1,
        user: watched.user[watch],
        video: watched.video[watch],
        tab: -1,
        at: watched.at[watch],
      });
    }
    if (!chosen && start >= testFrom) {
      chosen = true;
      ranker =
        rankers[tallies.reduce((best, tally, k) => (tally.recall > tallies[best].recall ? k : best), 0)];
    }
    const clicks: Click[] = [];
    for (let row = start; row < end; row++) {
      const draw = random();
      if (clicked[row] !== 1) continue;
      const click = { row, user: set.user[row], video: video[row], tab: tab[row], at: set.at[row] };
      clicks.push(click);
      if (row >= validationFrom && row < testFrom && draw < validationShare) {
        fillAll(click);
        rankers.forEach((each, k) => {
          each.score(matrix, model.videos, scores);
          tallies[k].add(rankIn(scores, click.video));
        });
        // By the latest ranker that was tried: which is best is not known yet.
        if (draw < Math.min(1, validationShare) * listShare.validation) {
          lists.requests.validation++;
          keepList(row);
        }
      }
      if (row >= testFrom && draw < testShare) {
        fillAll(click);
        ranker.score(matrix, model.videos, scores);
        const rank = rankIn(scores, click.video);
        test.retrieval.add(rank);
        if (draw < Math.min(1, testShare) * listShare.test) {
          lists.requests.test++;
          keepList(row);
        }
        options.onRank?.(row, rank);
        test.popularity.add(rankIn(model.popularity(0), click.video));
        test.decayed.add(rankIn(model.popularity(1), click.video));
      }
      model.begin(click.user, click.tab, click.at);
      model.fill(click.video, list, 0);
      for (let n = 1; n <= NEGATIVES; n++)
        model.fill(Math.floor(random() * model.videos), list, n * FEATURES);
      for (const each of chosen ? [ranker] : rankers) each.learn(list, NEGATIVES + 1);
    }
    for (let row = start; row < end; row++) model.impression(video[row], set.at[row]);
    for (const click of clicks) model.click(click);
    options.onProgress?.(end / set.rows);
    start = end;
  }
  return {
    lists,
    clicks: test.retrieval.clicks,
    videos: model.videos,
    retrieval: test.retrieval.figures,
    popularity: test.popularity.figures,
    decayedPopularity: test.decayed.figures,
    chosen: { hidden: ranker.options.hidden, rate: ranker.options.rate },
    validation: rankers.map(({ options: { hidden, rate } }, k) => ({
      hidden,
      rate,
      recall: tallies[k].recall,
    })),
  };
}

function catalogueOf({ videos, details }: KuairandData) {
  const authors = new Map<string, number>();
  const tags = new Map<string, number>();
  const code = (table: Map<string, number>, name: string | undefined) => {
    if (!name) return -1;
    if (!table.has(name)) table.set(name, table.size);
    return table.get(name)!;
  };
  return {
    author: Int32Array.from(videos, (id) => code(authors, details.get(id)?.author)),
    tag: Int32Array.from(videos, (id) => code(tags, details.get(id)?.tag)),
    uploadedAt: Float64Array.from(videos, (id) => details.get(id)?.uploadedAt ?? Number.NaN),
  };
}

/** 0-based; half of those that tie count as before. */
export function rankIn(scores: ArrayLike<number>, target: number): number {
  let before = 0;
  let ties = 0;
  for (let i = 0; i < scores.length; i++) {
    if (scores[i] > scores[target]) before++;
    else if (scores[i] === scores[target] && i !== target) ties++;
  }
  return before + Math.floor(ties / 2);
}

function max(values: Int32Array): number {
  return values.reduce((a, b) => Math.max(a, b), -1);
}
