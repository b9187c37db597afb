// The retrieval stage of the evaluation: a pool from the towers and a pool from the item graph, scored together.
import { ItemGraph, type ItemGraphOptions } from '../../src/candidates/item-graph.ts';
import { historyOf, type Split } from './retrieval-data.ts';
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
  readonly #reached: Uint32Array;
  #count = 0;

  constructor(graph: ItemGraph, capacity: number) {
    this.#graph = graph;
    this.pool = new BestList(Math.min(capacity, graph.itemCount));
    this.scores = new Float32Array(graph.itemCount);
    this.#reached = new Uint32Array(graph.itemCount);
  }

  fill(history: Uint32Array): void {
    const { scores, pool } = this;
    for (let i = 0; i < this.#count; i++) scores[this.#reached[i]] = 0;
    this.#count = this.#graph.score(history, scores, this.#reached);
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

/** Of equal merit the ranges that the papers of item-graph.ts use, widened by half on either side. */
const GRAPH_AXES: Record<keyof ItemGraphOptions, Axis> = {
  target: range(0, 1, 0.1),
  source: range(0, 1, 0.1),
  power: range(0.4, 1.6, 0.15),
  user: range(0, 2, 0.25),
  neighbours: [50, 100, 200, 500, 1000],
};
/** Symmetric normalisation, the training-free filter of GF-CF. */
const GRAPH_START: ItemGraphOptions = { neighbours: 200, user: 1, source: 0.5, target: 0.5, power: 1 };

export interface TuneOptions {
  split: Split;
  /** How many of the split's users to measure on. */
  users: number;
  deadlineMs: number;
  say: (text: string) => void;
}

type TableRow = Record<string, number>;

/** Settings of the graph alone, by coordinate search on the validation users. */
export async function tuneGraph(
  options: TuneOptions,
): Promise<{ best: ItemGraphOptions; table: TableRow[] }> {
  const table: TableRow[] = [];
  let quality: Quality;
  const evaluate = (settings: Record<string, number>) => {
    const graph = ItemGraph.build(options.split.fit, settings as unknown as ItemGraphOptions);
    quality = measureGraph(graph, options);
    return objective(quality);
  };
  const onTrial = ({ settings }: Trial<Record<string, number>>) => {
    table.push({ ...settings, ...quality });
    options.say(`graph ${describe(settings)}: ${describe({ ...quality })}`);
  };
  const best = await climb({ ...GRAPH_START }, GRAPH_AXES, evaluate, {
    deadlineMs: options.deadlineMs,
    onTrial,
  });
  return { best: best.settings as unknown as ItemGraphOptions, table };
}

function measureGraph(graph: ItemGraph, { split, users }: TuneOptions): Quality {
  const mean = new QualityMean();
  const ranked = new GraphPool(graph, TOP);
  for (const user of split.users.subarray(0, users)) {
    ranked.fill(historyOf(split.fit, user));
    mean.add(ranked.pool.items, new Set(historyOf(split.held, user)), ranked.pool.size);
  }
  return mean.value;
}

/** Weight of the graph together with its settings, by coordinate search from the graph's own best. */
export async function tuneBlend(
  options: TuneOptions,
  start: ItemGraphOptions,
  towers: Towers,
  towerPools: Uint32Array,
): Promise<{ best: ItemGraphOptions & { weight: number }; quality: Quality; table: TableRow[] }> {
  const table: TableRow[] = [];
  const { split } = options;
  const width = towerPools.length / Math.max(1, Math.min(options.users, split.users.length));
  const out = new BestList(TOP);
  let built: { key: string; graph: ItemGraph } | undefined;
  let quality: Quality;
  const evaluate = ({ weight, ...settings }: Record<string, number>) => {
    const key = JSON.stringify(settings);
    if (built?.key !== key)
      built = { key, graph: ItemGraph.build(split.fit, settings as unknown as ItemGraphOptions) };
    const pool = new GraphPool(built.graph, POOL);
    const mean = new QualityMean();
    split.users.subarray(0, options.users).forEach((user, row) => {
      pool.fill(historyOf(split.fit, user));
      blend(towers, row, poolOf(towerPools, width, row), pool, weight, out);
      mean.add(out.items, new Set(historyOf(split.held, user)), out.size);
    });
    quality = mean.value;
    return objective(quality);
  };
  let bestQuality: Quality | undefined;
  const onTrial = (trial: Trial<Record<string, number>>, best: Trial<Record<string, number>>) => {
    table.push({ ...trial.settings, ...quality });
    if (trial === best) bestQuality = quality;
    options.say(`blend ${describe(trial.settings)}: ${describe({ ...quality })}`);
  };
  const axes = { weight: range(0, 1, 0.1), ...GRAPH_AXES };
  const best = await climb({ ...start, weight: 0.5 }, axes, evaluate, {
    deadlineMs: options.deadlineMs,
    onTrial,
  });
  return {
    best: best.settings as unknown as ItemGraphOptions & { weight: number },
    quality: bestQuality!,
    table,
  };
}

export function describe(figures: Record<string, number>): string {
  return Object.entries(figures)
    .map(
      ([name, value]) =>
        `${name} ${Number.isInteger(value) ? value : value.toFixed(name.includes('@') ? 4 : 2)}`,
    )
    .join(' ');
}
