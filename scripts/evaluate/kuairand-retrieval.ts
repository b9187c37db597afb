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
/** Rows of a list that the second stage learns from, and the part of the validation that chooses between stages. */
const PART_SIZE = 100;
const CHOOSE_SHARE = 0.3;
/** Of a place that no video was proposed for. */
const LEAST_SCORE = -1e3;

export interface RetrievalOptions {
  testClicks: number;
  seed: number;
  onProgress?(fraction: number): void;
  /** Numbers of the videos that are scored for a click, each once; all of them where absent. */
  propose?(click: Click): Int32Array;
  /** Called for each impression in the order of time, before anything of its own time is learned. */
  onImpression?(row: number): void;
  /** Sees each list that is kept, at the time of its click. */
  onList?(kind: keyof RetrievalFigures['lists'], row: number, videos: Int32Array): void;
  /** Sees the 0-based rank that each tested click got from the retrieval. */
  onRank?(row: number, rank: number): void;
  /**
   * Requests whose retrieved list is kept for the second stage, about so many: parts of the lists of the validation's
   * first part, to learn from; whole ones of its last part, to choose by; and of the test.
   */
  listRequests?: { learn: number; choose: number; test: number };
}

export interface RecallFigures {
  'recall@100': number;
  'recall@200': number;
  'recall@1000': number;
  'ndcg@50': number;
}

/** What the retrieval hands to ranking, request after request; `size` rows each. */
export interface RetrievedLists {
  size: number;
  /** Row of the click that the list is for. [lists] */
  source: number[];
  /** −1 at the end of a list for which fewer were proposed. */
  video: Int32Array[];
  /** Log-probability by the list ranker, up to a constant of the list. */
  score: Float64Array[];
}

export interface RetrievalFigures {
  /** `whole`: the best first. `parts`: the clicked one and others drawn from the whole, where it was retrieved. */
  lists: { whole: RetrievedLists; parts: RetrievedLists };
  clicks: number;
  videos: number;
  retrieval: RecallFigures;
  popularity: RecallFigures;
  decayedPopularity: RecallFigures;
  /** Videos proposed for a click on average, and the part of the clicks whose video was among them. */
  proposed: { mean: number; recall: number };
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
  // Of their own, so that which lists are kept changes nothing of what is learned.
  const draws = mulberry32(options.seed + 2000);
  const tallies = rankers.map(() => new Tally());
  const test = { retrieval: new Tally(), popularity: new Tally(), decayed: new Tally() };
  let found = 0;
  let proposedTotal = 0;
  let ranker = rankers[0];
  let chosen = false;
  const whole = newLists(Math.min(LIST_SIZE, model.videos));
  const parts = newLists(Math.min(PART_SIZE, whole.size));
  const keepList = (row: number, part: boolean) => {
    const order = Array.from(proposed, (_, k) => k).sort((a, b) => scores[b] - scores[a] || a - b);
    const best = order.slice(0, whole.size);
    const lists = part ? parts : whole;
    const kept = part
      ? drawPart(
          best,
          best.findIndex((k) => proposed[k] === video[row]),
          lists.size,
          draws,
        )
      : best;
    if (kept === null) return;
    const listed = new Int32Array(lists.size).fill(-1);
    const score = new Float64Array(lists.size).fill(LEAST_SCORE);
    kept.forEach((k, place) => {
      listed[place] = proposed[k];
      score[place] = scores[k];
    });
    lists.source.push(row);
    lists.video.push(listed);
    lists.score.push(score);
    options.onList?.(part ? 'parts' : 'whole', row, listed);
  };

  const first = (fromMs: number) => set.at.findIndex((at) => at >= fromMs);
  const [validationFrom, testFrom] = [first(set.validationFromMs), first(set.testFromMs)];
  const count = (from: number, end: number) => clicked.subarray(from, end).reduce((a, b) => a + b, 0);
  const validationShare = VALIDATION_CLICKS / Math.max(1, count(validationFrom, testFrom));
  const testShare = options.testClicks / Math.max(1, count(testFrom, set.rows));

  const tested = Math.min(options.testClicks, count(testFrom, set.rows));
  // Spread evenly over each period.
  const chooseFrom = Math.round(validationFrom + (1 - CHOOSE_SHARE) * (testFrom - validationFrom));
  const { learn = 0, choose = 0, test: testLists = 0 } = options.listRequests ?? {};
  const listShare = {
    learn: learn / Math.max(1, count(validationFrom, chooseFrom)),
    choose: choose / Math.max(1, count(chooseFrom, testFrom)),
    test: testLists / Math.max(1, tested),
  };

  const matrix = new Float32Array(model.videos * FEATURES);
  const scores = new Float64Array(model.videos);
  const list = new Float32Array((NEGATIVES + 1) * FEATURES);
  const every = Int32Array.from({ length: model.videos }, (_, v) => v);
  let proposed: Int32Array = every;
  const fillProposed = (click: Click) => {
    proposed = options.propose?.(click) ?? every;
    model.begin(click.user, click.tab, click.at);
    proposed.forEach((v, k) => void model.fill(v, matrix, k * FEATURES));
  };
  /** A video that was not proposed comes after all that were. */
  const rankOf = (each: ListRanker, video: number): number => {
    each.score(matrix, proposed.length, scores);
    const at = proposed.indexOf(video);
    return at < 0 ? model.videos : rankIn(scores.subarray(0, proposed.length), at);
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
    if (options.onImpression) for (let row = start; row < end; row++) options.onImpression(row);
    const clicks: Click[] = [];
    for (let row = start; row < end; row++) {
      const draw = random();
      const keep = draws();
      if (clicked[row] !== 1) continue;
      const click = { row, user: set.user[row], video: video[row], tab: tab[row], at: set.at[row] };
      clicks.push(click);
      if (row >= validationFrom && row < testFrom && draw < validationShare) {
        fillProposed(click);
        rankers.forEach((each, k) => void tallies[k].add(rankOf(each, click.video)));
      }
      const learns = row >= validationFrom && row < chooseFrom && keep < listShare.learn;
      if (learns || (row >= chooseFrom && row < testFrom && keep < listShare.choose)) {
        fillProposed(click);
        // By the last ranker of those that are tried: which is best is not known yet.
        rankers[rankers.length - 1].score(matrix, proposed.length, scores);
        keepList(row, learns);
      }
      if (row >= testFrom && draw < testShare) {
        fillProposed(click);
        const rank = rankOf(ranker, click.video);
        test.retrieval.add(rank);
        proposedTotal += proposed.length;
        if (rank < model.videos) found++;
        if (keep < listShare.test) keepList(row, false);
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
    lists: { whole, parts },
    clicks: test.retrieval.clicks,
    videos: model.videos,
    retrieval: test.retrieval.figures,
    popularity: test.popularity.figures,
    decayedPopularity: test.decayed.figures,
    proposed: {
      mean: proposedTotal / Math.max(1, test.retrieval.clicks),
      recall: found / Math.max(1, test.retrieval.clicks),
    },
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

function newLists(size: number): RetrievedLists {
  return { size, source: [], video: [], score: [] };
}

/** The item at `clicked` first, then others of `best` drawn without repeats; null where it is not among them. */
function drawPart(best: number[], clicked: number, size: number, random: () => number): number[] | null {
  if (clicked < 0) return null;
  const rest = best.filter((_, i) => i !== clicked);
  for (let i = 0; i < size - 1 && i < rest.length; i++) {
    const j = i + Math.floor(random() * (rest.length - i));
    [rest[i], rest[j]] = [rest[j], rest[i]];
  }
  return [best[clicked], ...rest.slice(0, size - 1)];
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
