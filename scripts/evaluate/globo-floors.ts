// What the next-click replay has to beat, on the same targets: popularity of the last hour, and decayed popularity with
// co-occurrence. Called by globo-replay.
import type { ClickModel, Gathered } from './globo-model.ts';

/** Clicks of each item within the last `spanMs`, exactly. */
export class SlidingCounts {
  readonly counts: Int32Array;
  readonly #spanMs: number;
  readonly #active: Int32Array;
  readonly #place: Int32Array;
  #activeCount = 0;
  readonly #items: Int32Array;
  readonly #times: Float64Array;
  #oldest = 0;
  #next = 0;

  /** `clicks` is how many will be added at most. */
  constructor(itemCount: number, clicks: number, spanMs: number) {
    this.#spanMs = spanMs;
    this.counts = new Int32Array(itemCount);
    this.#active = new Int32Array(itemCount);
    this.#place = new Int32Array(itemCount);
    this.#items = new Int32Array(clicks);
    this.#times = new Float64Array(clicks);
  }

  add(item: number, atMs: number): void {
    this.#items[this.#next] = item;
    this.#times[this.#next++] = atMs;
    if (this.counts[item]++ === 0) {
      this.#place[item] = this.#activeCount;
      this.#active[this.#activeCount++] = item;
    }
  }

  /** Forgets clicks older than the span. */
  advance(atMs: number): void {
    while (this.#oldest < this.#next && this.#times[this.#oldest] < atMs - this.#spanMs) {
      const item = this.#items[this.#oldest++];
      if (--this.counts[item] > 0) continue;
      const place = this.#place[item];
      const moved = this.#active[--this.#activeCount];
      this.#active[place] = moved;
      this.#place[moved] = place;
    }
  }

  /** 0-based rank of `target` by count, items of `without` left out; ties by item, as new ones have larger numbers. */
  rank(target: number, without: readonly number[]): number {
    const own = this.counts[target];
    if (own === 0) return Number.POSITIVE_INFINITY;
    const before = (item: number) => this.counts[item] > own || (this.counts[item] === own && item > target);
    let rank = 0;
    for (let k = 0; k < this.#activeCount; k++) if (before(this.#active[k])) rank++;
    for (const item of new Set(without)) if (this.counts[item] > 0 && before(item)) rank--;
    return rank;
  }
}

const WEIGHTS = [0.03, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2];

export interface FloorSetting {
  /** Index of the half-life among the model's. */
  halfLife: number;
  /** Which of `Gathered.together`. */
  together: number;
  /** Weight of co-occurrence against the share of clicks. */
  weight: number;
}

export function floorSettings(model: ClickModel): FloorSetting[] {
  return model.popular.flatMap((_, halfLife) =>
    [0, 1, 2].flatMap((together) => WEIGHTS.map((weight) => ({ halfLife, together, weight }))),
  );
}

/** Share of the clicks, decayed, plus weighted co-occurrence rate with the session's items. */
export function floorScores(
  model: ClickModel,
  gathered: Gathered,
  { halfLife, together, weight }: FloorSetting,
  scores: Float64Array,
): void {
  const counts = model.popular[halfLife];
  const total = counts.rawTotal > 0 ? 1 / counts.rawTotal : 0;
  for (let c = 0; c < gathered.count; c++) {
    scores[c] = counts.raw[gathered.items[c]] * total + weight * gathered.together[together][c];
  }
}

/** 0-based rank of the target among the candidates, infinite when it is not among them; a tie counts against it. */
export function rankOf(target: number, gathered: Gathered, scores: Float64Array): number {
  const at = gathered.items.subarray(0, gathered.count).indexOf(target);
  if (at < 0) return Number.POSITIVE_INFINITY;
  let rank = 0;
  for (let c = 0; c < gathered.count; c++) if (c !== at && scores[c] >= scores[at]) rank++;
  return rank;
}
