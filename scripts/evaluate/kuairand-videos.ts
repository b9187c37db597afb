// What the retrieval of short videos knows, updated by each click and impression as it arrives, and how a video looks to a
// reader by it: popularity, exposure, tags, authors, what is watched together, vectors, surface. Called by kuairand-retrieval.
import { DecayedCounts, HashedPairCounts } from './replay-decayed-counts.ts';
import { ItemEdges } from './replay-item-edges.ts';
import { ItemVectors } from './replay-item-vectors.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const FOREVER = Number.POSITIVE_INFINITY;
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
export const FEATURES = SHARED + OWN;

export interface Click {
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

function max(values: Int32Array): number {
  return values.reduce((a, b) => Math.max(a, b), -1);
}
