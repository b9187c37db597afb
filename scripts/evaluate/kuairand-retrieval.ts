// The retrieval stage on KuaiRand, replayed in time: every video of the catalogue is scored for each click to come, from
// what was known before it. Counters, edges, vectors and the list ranker learn as the clicks arrive. Called by kuairand.ts.
import type { KuairandData } from './kuairand-impressions.ts';
import { DecayedCounts, HashedPairCounts } from './replay-decayed-counts.ts';
import { ItemEdges } from './replay-item-edges.ts';
import { ItemVectors } from './replay-item-vectors.ts';
import { ListRanker } from './replay-list-ranker.ts';
import { seededRandom } from './replay-random.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const FOREVER = Number.POSITIVE_INFINITY;
const CUTS = [100, 200, 1000] as const;
const NEGATIVES = 60;
const EDGE_SLOTS = 128;
const EDGE_HISTORY = 10;
const VECTOR_HISTORY = 8;
const VECTOR_DIM = 24;
const LEAST_SHARE = 1e-5;
/** The columns that all readers share are renewed this often, in the stream's own time. */
const SHARED_EVERY_MS = 60_000;
const POPULAR_HALF_LIVES_MS = [FOREVER, 24 * HOUR_MS, 3 * HOUR_MS];
const SHARED = 8;
const OWN = 7;
const FEATURES = SHARED + OWN;
const VALIDATION_CLICKS = 1500;

export interface RetrievalOptions {
  testClicks: number;
  seed: number;
  onProgress?(fraction: number): void;
  /** Sees the 0-based rank that each tested click got from the retrieval. */
  onRank?(row: number, rank: number): void;
}

export interface RecallFigures {
  'recall@100': number;
  'recall@200': number;
  'recall@1000': number;
  'ndcg@50': number;
}

export interface RetrievalFigures {
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

interface Click {
  /** Row of the impression; −1 for an earlier watch. */
  row: number;
  user: number;
  video: number;
  tab: number;
  at: number;
}

/** What retrieval knows, updated click by click. */
export class VideoModel {
  readonly #popular: DecayedCounts[];
  readonly #shown: DecayedCounts[];
  readonly #edges: ItemEdges;
  readonly #vectors: ItemVectors;
  readonly #tabs: HashedPairCounts;
  readonly #tabTotal: DecayedCounts;
  readonly #author: Int32Array;
  readonly #tag: Int32Array;
  readonly #uploadedAt: Float64Array;
  readonly #tagClicks: Float64Array;
  #allClicks = 0;
  readonly #history: number[][];
  readonly #shared: Float32Array;
  #sharedAt = Number.NEGATIVE_INFINITY;
  readonly #edgeRate: Float64Array;
  readonly #seen: Uint8Array;
  readonly #authorCount: Float64Array;
  readonly #tagCount: Float64Array;
  readonly #reader = new Float32Array(VECTOR_DIM);
  #touched: number[] = [];
  #own: number[] = [];
  #tab = -1;
  #at = 0;

  constructor(
    catalogue: { author: Int32Array; tag: Int32Array; uploadedAt: Float64Array; users: number; tabs: number },
    seed: number,
  ) {
    const videos = catalogue.author.length;
    this.#author = catalogue.author;
    this.#tag = catalogue.tag;
    this.#uploadedAt = catalogue.uploadedAt;
    this.#popular = POPULAR_HALF_LIVES_MS.map((ms) => new DecayedCounts(videos, ms, 0));
    this.#shown = [FOREVER, 6 * HOUR_MS].map((ms) => new DecayedCounts(videos, ms, 0));
    const halfLives = { fastHalfLifeMs: 24 * HOUR_MS, slowHalfLifeMs: 30 * DAY_MS };
    this.#edges = new ItemEdges({ itemCount: videos, slots: EDGE_SLOTS, ...halfLives });
    this.#vectors = new ItemVectors(videos, VECTOR_DIM, seed);
    this.#tabs = new HashedPairCounts(18, 24 * HOUR_MS);
    this.#tabTotal = new DecayedCounts(Math.max(1, catalogue.tabs), 24 * HOUR_MS, 0);
    this.#tagClicks = new Float64Array(max(catalogue.tag) + 2);
    this.#history = Array.from({ length: catalogue.users }, () => []);
    this.#shared = new Float32Array(videos * SHARED);
    this.#edgeRate = new Float64Array(videos);
    this.#seen = new Uint8Array(videos);
    this.#authorCount = new Float64Array(max(catalogue.author) + 2);
    this.#tagCount = new Float64Array(max(catalogue.tag) + 2);
  }

  get videos(): number {
    return this.#author.length;
  }

  /** Clicks of a video, all or decayed by the given rung of the ladder. */
  popularity(rung: number): Float64Array {
    return this.#popular[rung].raw;
  }

  impression(video: number, at: number): void {
    for (const counts of this.#shown) counts.add(video, at);
  }

  click({ user, video, tab, at }: Click): void {
    for (const counts of this.#popular) counts.add(video, at);
    if (tab >= 0) {
      this.#tabs.add(tab, video, at);
      this.#tabTotal.add(tab, at);
    }
    const history = this.#history[user];
    for (const earlier of history.slice(-EDGE_HISTORY)) {
      if (earlier === video) continue;
      this.#edges.add(earlier, video, at);
      this.#edges.add(video, earlier, at);
    }
    this.#vectors.learn(history.slice(-VECTOR_HISTORY), video);
    this.#tagClicks[this.#tag[video] + 1]++;
    this.#allClicks++;
    history.push(video);
  }

  /** Prepares for the videos of one reader; `fill` refers to the latest call. */
  begin(user: number, tab: number, at: number): void {
    for (const video of this.#touched) this.#edgeRate[video] = 0;
    for (const video of this.#own) {
      this.#seen[video] = 0;
      this.#authorCount[this.#author[video] + 1] = 0;
      this.#tagCount[this.#tag[video] + 1] = 0;
    }
    this.#touched = [];
    this.#own = this.#history[user];
    for (const video of this.#own) {
      this.#seen[video] = 1;
      this.#authorCount[this.#author[video] + 1]++;
      this.#tagCount[this.#tag[video] + 1]++;
    }
    const recent = this.#own.slice(-4 * EDGE_HISTORY);
    for (const from of recent) {
      const degree = this.#edges.slowDegree[from];
      for (
        let slot = from * EDGE_SLOTS;
        slot < (from + 1) * EDGE_SLOTS && this.#edges.to[slot] >= 0;
        slot++
      ) {
        this.#edgeRate[this.#edges.to[slot]] += this.#edges.slow[slot] / degree / recent.length;
        this.#touched.push(this.#edges.to[slot]);
      }
    }
    this.#vectors.readerVector(this.#own.slice(-VECTOR_HISTORY), this.#reader);
    this.#tab = tab;
    this.#at = at;
    if (at - this.#sharedAt >= SHARED_EVERY_MS) this.#renewShared();
    // `#own` is the live list: what is added to it before the next call must be cleared too.
    this.#own = [...this.#own];
  }

  /** Writes FEATURES numbers of one video at `offset`. */
  fill(video: number, out: Float32Array, offset: number): void {
    let f = offset;
    for (let s = video * SHARED; s < (video + 1) * SHARED; s++) out[f++] = this.#shared[s];
    const share = Math.exp(this.#shared[video * SHARED]);
    out[f++] = this.#seen[video];
    out[f++] = Math.log1p(this.#authorCount[this.#author[video] + 1]);
    const tag = this.#tag[video] + 1;
    const tagShare = (this.#tagClicks[tag] + 1) / (this.#allClicks + 50);
    out[f++] = Math.log((this.#tagCount[tag] + 5 * tagShare) / ((this.#own.length + 5) * tagShare));
    out[f++] = Math.log((this.#edgeRate[video] + 0.2 * share) / share);
    out[f++] = this.#vectors.score(this.#reader, video);
    out[f++] = Math.log1p(this.#own.length);
    if (this.#tab < 0) out[f++] = 0;
    else {
      const clicks = this.#tabs.raw(this.#tab, video) * this.#tabs.factor(this.#at);
      const total = this.#tabTotal.value(this.#tab, this.#at);
      out[f++] = Math.log((clicks + 20 * share) / ((total + 20) * share));
    }
  }

  #renewShared(): void {
    this.#sharedAt = this.#at;
    const scales = [...this.#popular, ...this.#shown].map(({ rawTotal }) => 1 / Math.max(rawTotal, 1e-300));
    for (let video = 0; video < this.videos; video++) {
      let s = video * SHARED;
      let rung = 0;
      for (const counts of this.#popular) {
        this.#shared[s++] = Math.log(counts.raw[video] * scales[rung++] + LEAST_SHARE);
      }
      for (const counts of this.#shown) {
        this.#shared[s++] = Math.log(counts.raw[video] * scales[rung++] + LEAST_SHARE);
      }
      const shown = this.#shown[0].raw[video];
      this.#shared[s++] = Math.log((this.#popular[0].raw[video] + 5) / (shown + 10));
      const uploadedAt = this.#uploadedAt[video];
      const known = Number.isFinite(uploadedAt);
      this.#shared[s++] = known ? Math.log1p(Math.max(0, this.#at - uploadedAt) / DAY_MS) : 0;
      this.#shared[s++] = known ? 1 : 0;
    }
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
  const random = seededRandom(options.seed + 1000);
  const tallies = rankers.map(() => new Tally());
  const test = { retrieval: new Tally(), popularity: new Tally(), decayed: new Tally() };
  let ranker = rankers[0];
  let chosen = false;

  const first = (fromMs: number) => set.at.findIndex((at) => at >= fromMs);
  const [validationFrom, testFrom] = [first(set.validationFromMs), first(set.testFromMs)];
  const count = (from: number, end: number) => clicked.subarray(from, end).reduce((a, b) => a + b, 0);
  const validationShare = VALIDATION_CLICKS / Math.max(1, count(validationFrom, testFrom));
  const testShare = options.testClicks / Math.max(1, count(testFrom, set.rows));

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
      }
      if (row >= testFrom && draw < testShare) {
        fillAll(click);
        ranker.score(matrix, model.videos, scores);
        const rank = rankIn(scores, click.video);
        test.retrieval.add(rank);
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
