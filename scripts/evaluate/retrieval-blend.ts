// The retrieval stage of the evaluation: a pool from the towers and a pool from the item graph, scored together.
import { ItemGraph, type ItemGraphOptions } from '../../src/candidates/item-graph.ts';
import { historyOf, recencyFactors, type Split } from './retrieval-data.ts';
import { BestList, objective, type Quality, QualityMean, TOP } from './retrieval-metrics.ts';
import { type Axis, climb, range, type Trial } from './retrieval-search.ts';

/** Candidates that each source hands on: two sources make up the thousand that the service ranks. */
export const POOL = 500;

/** Vectors of two towers whose dot product is the score; a user's scores over all items have spread 1. */
export interface Towers {
  dim: number;
  /** [N, dim] row-major */
  users: Float32Array;
  /** [items, dim] row-major */
  items: Float32Array;
}

/** Fills the end of a pool where a user has fewer items left to rank than the pool is wide. */
const NO_ITEM = 0xffffffff;

/** One row of `pools` ([N, width], best first). */
export function poolOf(pools: Uint32Array, width: number, row: number): Uint32Array {
  const pool = pools.subarray(row * width, (row + 1) * width);
  const end = pool.indexOf(NO_ITEM);
  return end < 0 ? pool : pool.subarray(0, end);
}

/** Scores of one user's items by the graph, and the best of them; the buffers are reused from user to user. */
export class GraphPool {
  readonly pool: BestList;
  /** [items]; zero where the history does not reach. */
  readonly scores: Float32Array;
  /** Standard deviation of the scores over all items. */
  spread = 0;
  readonly #graph: ItemGraph;
  readonly #recency: number;
  readonly #reached: Uint32Array;
  #count = 0;

  /** `recency`: see `recencyFactors`. */
  constructor(graph: ItemGraph, capacity: number, recency: number) {
    this.#recency = recency;
    this.#graph = graph;
    this.pool = new BestList(Math.min(capacity, graph.itemCount));
    this.scores = new Float32Array(graph.itemCount);
    this.#reached = new Uint32Array(graph.itemCount);
  }

  fill(history: Uint32Array): void {
    const { scores, pool } = this;
    for (let i = 0; i < this.#count; i++) scores[this.#reached[i]] = 0;
    const factors = this.#recency > 0 ? recencyFactors(history.length, this.#recency) : undefined;
    this.#count = this.#graph.score(history, scores, this.#reached, factors);
    let sum = 0;
    let squares = 0;
    for (let i = 0; i < this.#count; i++) {
      const score = scores[this.#reached[i]];
      sum += score;
      squares += score * score;
    }
    const mean = sum / scores.length;
    this.spread = Math.sqrt(Math.max(0, squares / scores.length - mean * mean));
    const own = new Set(history);
    pool.clear();
    for (let i = 0; i < this.#count; i++) {
      const item = this.#reached[i];
      if (!own.has(item)) pool.offer(item, scores[item]);
    }
  }
}

/**
 * The best of both pools by (1 - weight) · tower score + weight · graph score, each in units of its spread for this
 * user, written to `out`. `towerPool` holds no item of the user's own.
 */
export function blend(
  towers: Towers,
  userRow: number,
  towerPool: ArrayLike<number>,
  graph: GraphPool,
  weight: number,
  out: BestList,
): void {
  out.clear();
  const { dim, users, items } = towers;
  const graphScale = graph.spread > 0 ? weight / graph.spread : 0;
  const inTower = new Set<number>();
  const offer = (item: number) => {
    let dot = 0;
    for (let d = 0, u = userRow * dim, i = item * dim; d < dim; d++) dot += users[u++] * items[i++];
    out.offer(item, (1 - weight) * dot + graphScale * graph.scores[item]);
  };
  for (let i = 0; i < towerPool.length; i++) {
    inTower.add(towerPool[i]);
    offer(towerPool[i]);
  }
  for (let i = 0; i < graph.pool.size; i++) {
    if (!inTower.has(graph.pool.items[i])) offer(graph.pool.items[i]);
  }
}

/** How the graph is built, and how much more a late item of a history counts (0 = not). */
export interface GraphSettings extends ItemGraphOptions {
  recency: number;
}

/** Of equal merit the ranges that the papers of item-graph.ts use, widened by half on either side. */
const GRAPH_AXES: Record<keyof GraphSettings, Axis> = {
  recency: [0, 0.5, 1, 1.5, 2, 3],
  target: range(0, 1, 0.1),
  source: range(0, 1, 0.1),
  power: range(0.4, 1.6, 0.15),
  user: range(0, 2, 0.25),
  neighbours: [50, 100, 200, 500, 1000],
};
/** Symmetric normalisation, the training-free filter of GF-CF. */
const GRAPH_START: GraphSettings = {
  neighbours: 200,
  user: 1,
  source: 0.5,
  target: 0.5,
  power: 1,
  recency: 0,
};

export interface TuneOptions {
  split: Split;
  /** How many of the split's users to measure on. */
  users: number;
  deadlineMs: number;
  say: (text: string) => void;
}

type TableRow = Record<string, number>;

/** Settings of the graph alone, by coordinate search on the validation users. */
export async function tuneGraph(options: TuneOptions): Promise<{ best: GraphSettings; table: TableRow[] }> {
  const table: TableRow[] = [];
  let quality: Quality;
  const evaluate = (settings: Record<string, number>) => {
    const tried = settings as unknown as GraphSettings;
    quality = measureGraph(ItemGraph.build(options.split.fit, tried), tried.recency, options);
    return objective(quality);
  };
  const onTrial = ({ settings }: Trial<Record<string, number>>) => {
    table.push({ ...settings, ...quality });
    options.say(`graph ${describe(settings)}: ${describe({ ...quality })}`);
  };
  // Where lines have no order, late means nothing.
  const axes = options.split.ordered ? GRAPH_AXES : { ...GRAPH_AXES, recency: [0] };
  const best = await climb({ ...GRAPH_START }, axes, evaluate, {
    deadlineMs: options.deadlineMs,
    onTrial,
  });
  return { best: best.settings as unknown as GraphSettings, table };
}

function measureGraph(graph: ItemGraph, recency: number, { split, users }: TuneOptions): Quality {
  const mean = new QualityMean();
  const ranked = new GraphPool(graph, TOP, recency);
  for (const user of split.users.subarray(0, users)) {
    ranked.fill(historyOf(split.fit, user));
    mean.add(ranked.pool.items, new Set(historyOf(split.held, user)), ranked.pool.size);
  }
  return mean.value;
}

/** What `tuneBlend` needs beside the options: towers and exact pools of the first users of the split, in its order. */
export interface BlendParts {
  graph: ItemGraph;
  recency: number;
  /** Where the search over weights begins. */
  weight: number;
  towers: Towers;
  pools: Uint32Array;
  /** Users after the tuning users on whom the choice is confirmed: [options.users, confirmUntil). */
  confirmUntil: number;
}

export interface Blend {
  /** 0 where the graph's gain over the towers alone is within the noise. */
  weight: number;
  /** Over the confirming users, at `weight`. */
  quality: Quality;
  /** Mean gain of the tuned weight over the towers alone, recall + NDCG per confirming user, and its standard error. */
  gain: { weight: number; mean: number; standardError: number };
  table: TableRow[];
}

/** Standard errors by which the graph must win on users that did not choose its weight: more would refuse what helps where users are few. */
const CLEAR_GAIN = 1;

/** Weight of the graph by a search on the tuning users, confirmed on others by a paired comparison. */
export async function tuneBlend(options: TuneOptions, parts: BlendParts): Promise<Blend> {
  const { split } = options;
  const { graph, recency, towers, pools, confirmUntil } = parts;
  const table: TableRow[] = [];
  const width = pools.length / Math.max(1, confirmUntil);
  const out = new BestList(TOP);
  const pool = new GraphPool(graph, POOL, recency);
  const measure = (weight: number, from: number, to: number) => {
    const mean = new QualityMean();
    const perUser = new Float64Array(to - from);
    for (let row = from; row < to; row++) {
      const user = split.users[row];
      pool.fill(historyOf(split.fit, user));
      blend(towers, row, poolOf(pools, width, row), pool, weight, out);
      const one = new QualityMean();
      for (const each of [mean, one]) each.add(out.items, new Set(historyOf(split.held, user)), out.size);
      perUser[row - from] = objective(one.value);
    }
    return { quality: mean.value, perUser };
  };
  let quality: Quality;
  const evaluate = ({ weight }: { weight: number }) => {
    quality = measure(weight, 0, options.users).quality;
    return objective(quality);
  };
  const onTrial = ({ settings }: Trial<{ weight: number }>) => {
    table.push({ ...settings, ...quality });
    options.say(`blend ${describe(settings)}: ${describe({ ...quality })}`);
  };
  const began = Date.now();
  const without = measure(0, options.users, confirmUntil);
  const confirmMs = Date.now() - began;
  const best = await climb({ weight: parts.weight }, { weight: range(0, 1, 0.1) }, evaluate, {
    deadlineMs: options.deadlineMs - confirmMs,
    onTrial,
  });
  const { weight } = best.settings;
  const blended = measure(weight, options.users, confirmUntil);
  const gain = { weight, ...pairedGain(blended.perUser, without.perUser) };
  const clear = gain.mean > CLEAR_GAIN * gain.standardError;
  options.say(
    `blend at ${weight} against towers alone, other users: ${gain.mean.toFixed(4)} ± ${gain.standardError.toFixed(4)}`,
  );
  return { weight: clear ? weight : 0, quality: (clear ? blended : without).quality, gain, table };
}

/** Mean of the differences and its standard error; 0 and 0 of nobody, which is no gain. */
export function pairedGain(a: Float64Array, b: Float64Array): { mean: number; standardError: number } {
  const count = a.length;
  if (count < 2) return { mean: 0, standardError: 0 };
  const differences = a.map((value, i) => value - b[i]);
  const mean = differences.reduce((sum, d) => sum + d, 0) / count;
  const variance = differences.reduce((sum, d) => sum + (d - mean) ** 2, 0) / (count - 1);
  return { mean, standardError: Math.sqrt(variance / count) };
}

/** [n, items] of the first n users of the split: the graph's scores, each row of spread 1 over all items. */
export function graphScores(
  graph: ItemGraph,
  recency: number,
  { fit, users }: Split,
  n: number,
): Float32Array {
  const scores = new Float32Array(n * graph.itemCount);
  const pool = new GraphPool(graph, 1, recency);
  for (let row = 0; row < n; row++) {
    pool.fill(historyOf(fit, users[row]));
    const scale = pool.spread > 0 ? 1 / pool.spread : 0;
    scores.set(
      pool.scores.map((score) => score * scale),
      row * graph.itemCount,
    );
  }
  return scores;
}

export function describe(figures: Record<string, number>): string {
  return Object.entries(figures)
    .map(
      ([name, value]) =>
        `${name} ${Number.isInteger(value) ? value : value.toFixed(name.includes('@') ? 4 : 2)}`,
    )
    .join(' ');
}
