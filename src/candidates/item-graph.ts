// Item to item by co-occurrence: which items the same users engaged with, normalised by degree. Built once from
// interactions, read-only afterwards: by the index build for the `similar` source, and by the offline evaluation.
import { selectLargest } from './select-largest.ts';

/** Who engaged with what, as compressed rows: the items of user u are `items[start[u] .. start[u + 1])`, no repeats. */
export interface Interactions {
  readonly userCount: number;
  readonly itemCount: number;
  /** [userCount + 1] */
  readonly start: Uint32Array;
  /** [pairs] */
  readonly items: Uint32Array;
}

/**
 * weight(i → j) = (Σ_u deg(u)^-user / (deg(i)^source · deg(j)^target))^power, over the users u of both items.
 * (.5 + .5, 1) is the linear filter of GF-CF (Shen et al., CIKM 2021), whose user term is deg(u)^-1;
 * power < 1 is the RP3 family's (Christoffel et al., RecSys 2015), target > source that of a popularity penalty.
 */
export interface ItemGraphOptions {
  /** Strongest neighbours kept per item. */
  neighbours: number;
  user: number;
  source: number;
  target: number;
  power: number;
}

export interface Neighbours {
  items: Uint32Array;
  weights: Float32Array;
}

/** The edges as compressed rows; over shared memory a worker opens them without a copy. */
export interface ItemGraphParts {
  /** [items + 1]: the edges that leave item i are start[i] … start[i + 1] − 1. */
  start: Uint32Array;
  /** [edges], in no particular order within an item. */
  items: Uint32Array;
  /** [edges], above 0. */
  weights: Float32Array;
}

export class ItemGraph {
  readonly itemCount: number;
  readonly parts: ItemGraphParts;
  readonly #start: Uint32Array;
  readonly #items: Uint32Array;
  readonly #weights: Float32Array;

  /** Over parts that are trusted: what is read from a file is checked by its reader. */
  constructor(parts: ItemGraphParts) {
    this.parts = parts;
    this.itemCount = parts.start.length - 1;
    this.#start = parts.start;
    this.#items = parts.items;
    this.#weights = parts.weights;
  }

  /** Row by row (Gustavson's sparse product), so memory is the kept edges alone: 8 bytes each. */
  static build(interactions: Interactions, options: ItemGraphOptions): ItemGraph {
    checkOptions(options);
    const { itemCount, start, items } = interactions;
    const byItem = transpose(interactions);
    const userWeight = degreeWeights(start, -options.user);
    const targetWeight = degreeWeights(byItem.start, -options.target);
    const sourceWeight = degreeWeights(byItem.start, -options.source);

    const rowStart = new Uint32Array(itemCount + 1);
    const edges = new EdgeBuffer(Math.min(itemCount * options.neighbours, items.length * 16));
    const sum = new Float64Array(itemCount);
    const touched = new Uint32Array(itemCount);
    const scratch = new Float64Array(itemCount);
    for (let item = 0; item < itemCount; item++) {
      let count = 0;
      for (let a = byItem.start[item]; a < byItem.start[item + 1]; a++) {
        const user = byItem.items[a];
        const weight = userWeight[user];
        for (let b = start[user]; b < start[user + 1]; b++) {
          const other = items[b];
          if (sum[other] === 0) touched[count++] = other;
          sum[other] += weight;
        }
      }
      sum[item] = 0;
      let kept = 0;
      for (let t = 0; t < count; t++) {
        const other = touched[t];
        if (other === item) continue;
        sum[other] *= targetWeight[other];
        scratch[kept++] = sum[other];
      }
      const least = kept > options.neighbours ? selectLargest(scratch, kept, options.neighbours) : 0;
      edges.reserve(Math.min(kept, options.neighbours));
      // Two passes, so that ties at the threshold never crowd out a stronger edge.
      let room = Math.min(kept, options.neighbours);
      for (let pass = 0; pass < 2; pass++) {
        for (let t = 0; t < count && room > 0; t++) {
          const other = touched[t];
          const value = sum[other];
          if (value === 0 || (pass === 0 ? value <= least : value !== least)) continue;
          edges.push(other, (value * sourceWeight[item]) ** options.power);
          room--;
        }
      }
      for (let t = 0; t < count; t++) sum[touched[t]] = 0;
      rowStart[item + 1] = edges.size;
    }
    return new ItemGraph({ start: rowStart, items: edges.items(), weights: edges.weights() });
  }

  get edgeCount(): number {
    return this.#items.length;
  }

  /** At most `limit` of an item's neighbours, strongest first (ties by item); empty for an item nobody shares. */
  neighbours(item: number, limit = Number.POSITIVE_INFINITY): Neighbours {
    if (!(item >= 0 && item < this.itemCount))
      return { items: new Uint32Array(0), weights: new Float32Array(0) };
    const from = this.#start[item];
    const order = Array.from({ length: this.#start[item + 1] - from }, (_, i) => from + i);
    order.sort((a, b) => this.#weights[b] - this.#weights[a] || this.#items[a] - this.#items[b]);
    if (order.length > limit) order.length = Math.max(0, Math.floor(limit));
    return {
      items: Uint32Array.from(order, (edge) => this.#items[edge]),
      weights: Float32Array.from(order, (edge) => this.#weights[edge]),
    };
  }

  /**
   * As `neighbours`, of those at `first` or above, into buffers of at least `limit`; returns how many. Allocates
   * nothing: an item has few edges, so they are inserted in order.
   */
  strongest(
    item: number,
    first: number,
    limit: number,
    outItems: Uint32Array,
    outWeights: Float32Array,
  ): number {
    if (!(item >= 0 && item < this.itemCount) || limit <= 0) return 0;
    let size = 0;
    for (let edge = this.#start[item]; edge < this.#start[item + 1]; edge++) {
      const other = this.#items[edge];
      const weight = this.#weights[edge];
      if (other < first) continue;
      const isBelow = (at: number) =>
        outWeights[at] < weight || (outWeights[at] === weight && outItems[at] > other);
      if (size === limit && !isBelow(size - 1)) continue;
      let at = size < limit ? size++ : size - 1;
      for (; at > 0 && isBelow(at - 1); at--) {
        outItems[at] = outItems[at - 1];
        outWeights[at] = outWeights[at - 1];
      }
      outItems[at] = other;
      outWeights[at] = weight;
    }
    return size;
  }

  /**
   * Adds up the edges that leave a history: scores[j] += Σ_{i in history} weight(i → j). `scores` is [itemCount] and
   * zero on entry; the items reached are listed in `reached` ([itemCount]) and their count is returned, so that the
   * caller can clear what was written. Items of the history itself are scored like any other. `factors`: what each
   * item of the history counts, above 0; 1 where there are none.
   */
  score(
    history: ArrayLike<number>,
    scores: Float32Array,
    reached: Uint32Array,
    factors?: ArrayLike<number>,
  ): number {
    let count = 0;
    for (let h = 0; h < history.length; h++) {
      const item = history[h];
      const factor = factors === undefined ? 1 : factors[h];
      for (let edge = this.#start[item]; edge < this.#start[item + 1]; edge++) {
        const other = this.#items[edge];
        if (scores[other] === 0) reached[count++] = other;
        scores[other] += factor * this.#weights[edge];
      }
    }
    return count;
  }
}

/** The same pairs with the two sides exchanged: `items` of the result are users. */
export function transpose({ userCount, itemCount, start, items }: Interactions): Interactions {
  const turned = new Uint32Array(itemCount + 1);
  for (let i = 0; i < items.length; i++) turned[items[i] + 1]++;
  for (let i = 0; i < itemCount; i++) turned[i + 1] += turned[i];
  const cursor = turned.slice(0, itemCount);
  const users = new Uint32Array(items.length);
  for (let user = 0; user < userCount; user++) {
    for (let i = start[user]; i < start[user + 1]; i++) users[cursor[items[i]]++] = user;
  }
  return { userCount: itemCount, itemCount: userCount, start: turned, items: users };
}

function degreeWeights(start: Uint32Array, exponent: number): Float64Array {
  return Float64Array.from(
    { length: start.length - 1 },
    (_, i) => Math.max(1, start[i + 1] - start[i]) ** exponent,
  );
}

function checkOptions(options: ItemGraphOptions): void {
  const { neighbours, power, user, source, target } = options;
  if (!(Number.isInteger(neighbours) && neighbours > 0))
    throw new RangeError(`neighbours must be a positive integer, is ${neighbours}`);
  if (!(power > 0)) throw new RangeError(`power must be above 0, is ${power}`);
  if (![user, source, target].every(Number.isFinite))
    throw new RangeError('exponents must be finite numbers');
}

/** Growing columns of edges. */
class EdgeBuffer {
  size = 0;
  #items: Uint32Array;
  #weights: Float32Array;

  constructor(capacity: number) {
    this.#items = new Uint32Array(Math.max(capacity, 16));
    this.#weights = new Float32Array(Math.max(capacity, 16));
  }

  reserve(more: number): void {
    if (this.size + more <= this.#items.length) return;
    const capacity = Math.max(this.size + more, Math.ceil(this.#items.length * 1.5));
    const items = new Uint32Array(capacity);
    const weights = new Float32Array(capacity);
    items.set(this.#items);
    weights.set(this.#weights);
    this.#items = items;
    this.#weights = weights;
  }

  push(item: number, weight: number): void {
    this.#items[this.size] = item;
    this.#weights[this.size++] = weight;
  }

  items(): Uint32Array {
    return this.#items.slice(0, this.size);
  }

  weights(): Float32Array {
    return this.#weights.slice(0, this.size);
  }
}
