// The towers' item vectors behind hnswlib: the approximate search whose loss against the exact scan is reported.
import type * as hnswlib from 'hnswlib-node';
import type { Towers } from './retrieval-blend.ts';
import { POOL, poolOf } from './retrieval-blend.ts';

/** hnswlib's usual graph; its authors' advice for high recall in many dimensions (Malkov & Yashunin, 2016: M 12-48). */
const M = 24;
const EF_CONSTRUCTION = 200;
const LEVEL_SEED = 100;
/** Share of the exact pool that the search must find; the cheapest ef that does is taken. */
const TARGET_RECALL = 0.98;
const EF_LADDER = [600, 800, 1200, 1600, 2400, 3200];
const CALIBRATION_USERS = 200;

export interface TowerIndex {
  ef: number;
  /** Share of the exact pools that the search found at this ef. */
  poolRecall: number;
  buildSeconds: number;
  /** The `POOL` best items, best first, without the user's own. */
  search(user: Float32Array, own: ReadonlySet<number>): Uint32Array;
}

/** null when the addon is usable, else the reason why not. */
export async function hnswMissing(): Promise<string | null> {
  try {
    await loadAddon();
    return null;
  } catch (error) {
    return `hnswlib-node cannot be loaded: ${String(error instanceof Error ? error.message : error).split('\n')[0]}`;
  }
}

async function loadAddon(): Promise<typeof hnswlib> {
  const module = await import('hnswlib-node');
  return module.default ?? module;
}

/**
 * Inner products of vectors of unequal length ruin a graph's recall, so one more dimension makes every item equally
 * long, and the order by distance is the order by inner product (Bachrach et al., RecSys 2014).
 * `pools` [users, width]: the exact best items of each user, to calibrate against; `owns` the user's own items.
 */
export async function buildTowerIndex(
  towers: Towers,
  pools: Uint32Array,
  owns: (user: number) => ReadonlySet<number>,
  onProgress: (done: number, total: number) => void,
): Promise<TowerIndex> {
  const { dim, items, users } = towers;
  const itemCount = items.length / dim;
  const userCount = users.length / dim;
  const began = Date.now();
  const { HierarchicalNSW } = await loadAddon();
  const index = new HierarchicalNSW('l2', dim + 1);
  index.initIndex(itemCount, M, EF_CONSTRUCTION, LEVEL_SEED);
  const squares = Float64Array.from({ length: itemCount }, (_, item) =>
    squaredLength(items, item * dim, dim),
  );
  const largest = squares.reduce((a, b) => Math.max(a, b), 0);
  const point: number[] = new Array(dim + 1).fill(0);
  for (let item = 0; item < itemCount; item++) {
    for (let d = 0; d < dim; d++) point[d] = finite(items[item * dim + d]);
    point[dim] = Math.sqrt(Math.max(0, largest - squares[item]));
    index.addPoint(point, item);
    if (item % 1000 === 0) {
      onProgress(item, itemCount);
      await new Promise((next) => setImmediate(next));
    }
  }
  const buildSeconds = (Date.now() - began) / 1000;

  const search = (user: Float32Array, own: ReadonlySet<number>): Uint32Array => {
    for (let d = 0; d < dim; d++) point[d] = finite(user[d]);
    point[dim] = 0;
    const k = Math.min(itemCount, POOL + own.size);
    const found = index.searchKnn(point, k).neighbors.filter((item) => !own.has(item));
    return Uint32Array.from(found.slice(0, POOL));
  };
  const width = pools.length / userCount;
  const result: TowerIndex = { ef: 0, poolRecall: 0, buildSeconds, search };
  const step = Math.max(1, Math.floor(userCount / CALIBRATION_USERS));
  for (const ef of EF_LADDER) {
    index.setEf(Math.min(ef, itemCount));
    let hits = 0;
    let wanted = 0;
    for (let user = 0; user < userCount; user += step) {
      const exact = poolOf(pools, width, user);
      const found = new Set(search(users.subarray(user * dim, (user + 1) * dim), owns(user)));
      for (const item of exact) if (found.has(item)) hits++;
      wanted += exact.length;
    }
    result.ef = ef;
    result.poolRecall = hits / Math.max(1, wanted);
    if (result.poolRecall >= TARGET_RECALL) break;
  }
  return result;
}

function squaredLength(values: Float32Array, from: number, dim: number): number {
  let sum = 0;
  for (let d = from; d < from + dim; d++) sum += values[d] * values[d];
  return sum;
}

/** A hole in a vector kills the process inside hnswlib. */
function finite(value: number): number {
  if (!Number.isFinite(value)) throw new Error(`a tower gave a vector with the value ${value}`);
  return value;
}
