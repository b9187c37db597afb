// Everything the next-click retrieval knows, updated by each click as it arrives: popularity at several half-lives, what
// follows what, what is read where, item and reader vectors. Gathers candidates and describes them. Called by globo-replay.
import { DecayedCounts, HashedPairCounts } from './replay-decayed-counts.ts';
import { ItemEdges } from './replay-item-edges.ts';
import { ItemVectors } from './replay-item-vectors.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** A ladder wide enough for any stream: the ranker learns how much each rung is worth. */
const HALF_LIVES_MS = [10 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, 48 * HOUR_MS];
const EDGE_SLOTS = 96;
const VECTOR_DIM = 24;
const CONTEXT_HALF_LIFE_MS = 2 * HOUR_MS;
const CONTEXT_BITS = 21;
const POPULAR = 150;
/** Clicks of a reader that are looked at. */
const HISTORY = 16;
const EDGE_HISTORY = 8;
/** Imagined clicks at the rate of popularity, added to every conditional rate so that few clicks prove little. */
const PRIOR = 8;
const CONTEXT_PRIOR = 30;
/** Share of clicks an item without any is taken to have. */
const LEAST_SHARE = 1e-6;
const FIXED_FEATURES = 2 * HALF_LIVES_MS.length + 13;

export interface Reader {
  user: number;
  /** Items of the session so far, latest last. */
  session: readonly number[];
  /** Context values of the reader's latest click, one a kind; empty when there is none. */
  context: readonly number[];
}

/** Candidates of one moment and what is known of each. */
export interface Gathered {
  count: number;
  items: Int32Array;
  /** [count, features] */
  matrix: Float32Array;
  /** Rates of co-occurrence for the floor: with the last click over 4 h and 48 h, with the session over 48 h. [3][count] */
  together: Float64Array[];
}

export class ClickModel {
  readonly features: number;
  /** All clicks, by half-life. */
  readonly popular: DecayedCounts[];
  /** Clicks that followed another in their session, by half-life. */
  readonly followed: DecayedCounts[];
  readonly #next: ItemEdges;
  readonly #together: ItemEdges;
  readonly #vectors: ItemVectors;
  readonly #context: HashedPairCounts;
  readonly #contextTotal: DecayedCounts;
  readonly #firstAt: Float64Array;
  readonly #historyItem: Int32Array;
  readonly #historyAt: Float64Array;
  readonly #historySize: Int32Array;
  readonly #kinds: number;
  readonly #stamp: Int32Array;
  readonly #nextRow: Float64Array[];
  readonly #readerVector = new Float32Array(VECTOR_DIM);
  readonly #gathered: Gathered;
  #moment = 0;

  constructor(sizes: { articles: number; users: number; contexts: number; kinds: number }, seed: number) {
    const { articles, users, contexts, kinds } = sizes;
    this.#kinds = kinds;
    this.features = FIXED_FEATURES + kinds;
    this.popular = HALF_LIVES_MS.map((ms) => new DecayedCounts(articles, ms, POPULAR));
    this.followed = HALF_LIVES_MS.map((ms) => new DecayedCounts(articles, ms, POPULAR));
    const edges = { itemCount: articles, slots: EDGE_SLOTS };
    this.#next = new ItemEdges({ ...edges, fastHalfLifeMs: HOUR_MS, slowHalfLifeMs: 12 * HOUR_MS });
    this.#together = new ItemEdges({ ...edges, fastHalfLifeMs: 4 * HOUR_MS, slowHalfLifeMs: 48 * HOUR_MS });
    this.#vectors = new ItemVectors(articles, VECTOR_DIM, seed);
    this.#context = new HashedPairCounts(CONTEXT_BITS, CONTEXT_HALF_LIFE_MS);
    this.#contextTotal = new DecayedCounts(contexts, CONTEXT_HALF_LIFE_MS, 0);
    this.#firstAt = new Float64Array(articles).fill(Number.NaN);
    this.#historyItem = new Int32Array(users * HISTORY);
    this.#historyAt = new Float64Array(users * HISTORY);
    this.#historySize = new Int32Array(users);
    this.#stamp = new Int32Array(articles).fill(-1);
    this.#nextRow = Array.from({ length: 6 }, () => new Float64Array(articles));
    this.#gathered = {
      count: 0,
      items: new Int32Array(articles),
      matrix: new Float32Array(4096 * this.features),
      together: Array.from({ length: 3 }, () => new Float64Array(articles)),
    };
  }

  /** The reader's latest items, oldest first, the session's included. */
  history(user: number): number[] {
    const size = Math.min(this.#historySize[user], HISTORY);
    const end = this.#historySize[user];
    return Array.from(
      { length: size },
      (_, k) => this.#historyItem[user * HISTORY + ((end - size + k) % HISTORY)],
    );
  }

  /** Takes in one click; `before` is the session's items before it, `context` the click's own. */
  click(
    user: number,
    item: number,
    atMs: number,
    before: readonly number[],
    context: readonly number[],
  ): void {
    for (const counts of this.popular) counts.add(item, atMs);
    if (before.length > 0) {
      for (const counts of this.followed) counts.add(item, atMs);
      const last = before[before.length - 1];
      if (last !== item) this.#next.add(last, item, atMs);
      for (let k = Math.max(0, before.length - EDGE_HISTORY); k < before.length; k++) {
        if (before[k] === item) continue;
        this.#together.add(before[k], item, atMs);
        this.#together.add(item, before[k], atMs);
      }
    }
    this.#vectors.learn(this.history(user), item);
    for (const value of context) {
      this.#context.add(value, item, atMs);
      this.#contextTotal.add(value, atMs);
    }
    if (Number.isNaN(this.#firstAt[item])) this.#firstAt[item] = atMs;
    const at = user * HISTORY + (this.#historySize[user]++ % HISTORY);
    this.#historyItem[at] = item;
    this.#historyAt[at] = atMs;
  }

  /** Candidates for a reader now; valid until the next call. Items of the session are left out. */
  gather(reader: Reader, atMs: number): Gathered {
    const gathered = this.#gathered;
    gathered.count = 0;
    this.#moment++;
    for (const item of reader.session) this.#stamp[item] = this.#moment;
    for (const counts of this.followed) this.#addAll(counts.top, counts.topCount);
    this.#addAll(this.popular[1].top, this.popular[1].topCount);

    const history = this.history(reader.user);
    const last = reader.session.length > 0 ? reader.session[reader.session.length - 1] : -1;
    const [nextFast, nextSlow, lastFast, lastSlow, session, earlier] = this.#nextRow;
    const spread: number[] = [];
    if (last >= 0) {
      this.#spread(this.#next, last, nextFast, nextSlow, spread, 1, 1);
      this.#spread(this.#together, last, lastFast, lastSlow, spread, 1, 1);
    }
    const seen = new Set(reader.session);
    const recent = [...seen].slice(-EDGE_HISTORY);
    for (const item of recent)
      this.#spread(this.#together, item, null, session, spread, 1, 1 / recent.length);
    const older = history.filter((item) => !seen.has(item)).slice(-EDGE_HISTORY);
    for (const item of older) this.#spread(this.#together, item, null, earlier, spread, 1, 1 / older.length);

    if (gathered.matrix.length < gathered.count * this.features) {
      gathered.matrix = new Float32Array(gathered.count * this.features * 2);
    }
    this.#describe(reader, history, older, atMs);
    for (const item of spread) for (const row of this.#nextRow) row[item] = 0;
    return gathered;
  }

  #addAll(items: Int32Array, count: number): void {
    for (let i = 0; i < count; i++) this.#add(items[i]);
  }

  #add(item: number): void {
    if (this.#stamp[item] === this.#moment) return;
    this.#stamp[item] = this.#moment;
    this.#gathered.items[this.#gathered.count++] = item;
  }

  /** Adds the rates at which `from` led to its followers to the two rows, and the followers to the candidates. */
  #spread(
    edges: ItemEdges,
    from: number,
    fast: Float64Array | null,
    slow: Float64Array,
    touched: number[],
    fastWeight: number,
    slowWeight: number,
  ): void {
    const fastDegree = edges.fastDegree[from];
    const slowDegree = edges.slowDegree[from];
    if (slowDegree === 0) return;
    for (let slot = from * edges.slots; slot < (from + 1) * edges.slots; slot++) {
      const item = edges.to[slot];
      if (item < 0) break;
      if (fast !== null) fast[item] += (fastWeight * edges.fast[slot]) / fastDegree;
      slow[item] += (slowWeight * edges.slow[slot]) / slowDegree;
      touched.push(item);
      this.#add(item);
    }
  }

  #describe(reader: Reader, history: number[], older: number[], atMs: number): void {
    const { items, matrix, count, together } = this.#gathered;
    const [nextFast, nextSlow, lastFast, lastSlow, session, earlier] = this.#nextRow;
    const last = reader.session.length > 0 ? reader.session[reader.session.length - 1] : -1;
    // Rates are shrunk towards popularity by how many clicks they rest on.
    const trust = (degree: number) => degree / (degree + PRIOR);
    const trusts =
      last < 0
        ? [0, 0, 0, 0]
        : [
            trust(this.#next.fastDegree[last] * this.#next.fastFactor(atMs)),
            trust(this.#next.slowDegree[last] * this.#next.slowFactor(atMs)),
            trust(this.#together.fastDegree[last] * this.#together.fastFactor(atMs)),
            trust(this.#together.slowDegree[last] * this.#together.slowFactor(atMs)),
          ];
    const rows = [nextFast, nextSlow, lastFast, lastSlow];
    const shares = [...this.followed, ...this.popular];
    const totals = shares.map((counts) => (counts.rawTotal > 0 ? 1 / counts.rawTotal : 0));
    this.#vectors.readerVector(history, this.#readerVector);
    const contextFactor = this.#context.factor(atMs);
    const contextTotals = reader.context.map((value) => this.#contextTotal.value(value, atMs));
    const sessionLength = Math.log1p(reader.session.length);
    const historyLength = Math.log1p(history.length);

    for (let c = 0; c < count; c++) {
      const item = items[c];
      let f = c * this.features;
      for (let k = 0; k < shares.length; k++) {
        matrix[f++] = Math.log(shares[k].raw[item] * totals[k] + LEAST_SHARE);
      }
      const share = this.followed[1].raw[item] * totals[1] + LEAST_SHARE;
      for (let k = 0; k < rows.length; k++) {
        matrix[f++] = Math.log((trusts[k] * rows[k][item] + (1 - trusts[k]) * share) / share);
      }
      matrix[f++] = Math.log(session[item] + 0.02 * share + LEAST_SHARE);
      matrix[f++] = older.length > 0 ? Math.log((earlier[item] + 0.2 * share) / share) : 0;
      together[0][c] = lastFast[item];
      together[1][c] = lastSlow[item];
      together[2][c] = session[item];
      matrix[f++] = Math.log((atMs - this.#firstAt[item]) / HOUR_MS + 0.05);
      const readAt = this.#readAt(reader.user, item);
      matrix[f++] = Number.isNaN(readAt) ? 0 : 1;
      matrix[f++] = Number.isNaN(readAt) ? 0 : Math.log1p((atMs - readAt) / HOUR_MS);
      matrix[f++] = this.#vectors.score(this.#readerVector, item);
      matrix[f++] = sessionLength;
      matrix[f++] = historyLength;
      matrix[f++] = Math.log(share) * sessionLength;
      const wide = this.popular[1].raw[item] * totals[HALF_LIVES_MS.length + 1] + LEAST_SHARE;
      for (let k = 0; k < this.#kinds; k++) {
        if (k >= reader.context.length) {
          matrix[f++] = 0;
          continue;
        }
        const clicks = this.#context.raw(reader.context[k], item) * contextFactor;
        const prior = CONTEXT_PRIOR * wide;
        matrix[f++] = Math.log((clicks + prior) / ((contextTotals[k] + CONTEXT_PRIOR) * wide));
      }
    }
  }

  /** When the reader last opened the item, as far back as their history is kept; NaN if not. */
  #readAt(user: number, item: number): number {
    const size = Math.min(this.#historySize[user], HISTORY);
    let latest = Number.NaN;
    for (let at = user * HISTORY; at < user * HISTORY + size; at++) {
      if (this.#historyItem[at] === item && !(this.#historyAt[at] < latest)) latest = this.#historyAt[at];
    }
    return latest;
  }
}
