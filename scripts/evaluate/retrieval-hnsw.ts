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
async function hnswMissing(): Promise<string | null> {
  try {
    await loadAddon();
    return null;
  } catch (error) {
    return `hnswlib-node cannot be loaded: ${String(error instanceof Error ? error.message : error).split('\n')[0]}`;
  }
}

async function loadAddon(): Promise<Pick<typeof hnswlib, 'HierarchicalNSW'>> {
  return (await import('hnswlib-node')).default;
}

export interface BuildOptions {
  towers: Towers;
  /** [users, width]: the exact best items of each user, to calibrate against. */
  pools: Uint32Array;
  /** The user's own items. */
  owns: (user: number) => ReadonlySet<number>;
  /** How many searches will follow, and when the last must have ended. */
  searches: number;
  deadlineMs: number;
  onProgress: (done: number, total: number) => void;
}

/**
 * Inner products of vectors of unequal length ruin a graph's recall, so one more dimension makes every item equally
 * long, and the order by distance is the order by inner product (Bachrach et al., RecSys 2014).
 * A string where the build would not end in time, or the addon is missing: the reason.
 */
export async function buildTowerIndex(options: BuildOptions): Promise<TowerIndex | string> {
  const missing = await hnswMissing();
  if (missing !== null) return missing;
  const { dim, items } = options.towers;
  const itemCount = items.length / dim;
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
    if ((item + 1) % 1000 !== 0) continue;
    options.onProgress(item + 1, itemCount);
    await new Promise((next) => setImmediate(next));
    const expectedMs = ((Date.now() - began) / (item + 1)) * itemCount;
    if (began + expectedMs > options.deadlineMs) {
      return `building the graph of ${itemCount} items takes more time than the budget leaves`;
    }
  }
  const search = (user: Float32Array, own: ReadonlySet<number>): Uint32Array => {
    for (let d = 0; d < dim; d++) point[d] = finite(user[d]);
    point[dim] = 0;
    const k = Math.min(itemCount, POOL + own.size);
    const found = index.searchKnn(point, k).neighbors.filter((item) => !own.has(item));
    return Uint32Array.from(found.slice(0, POOL));
  };
  const result = { ef: 0, poolRecall: 0, buildSeconds: (Date.now() - began) / 1000, search };
  const setEf = (ef: number) => index.setEf(Math.min(ef, itemCount));
  return calibrate(result, setEf, options);
}

/** Climbs the ladder to the target, or as far as the searches still end in time. */
function calibrate(index: TowerIndex, setEf: (ef: number) => void, options: BuildOptions): TowerIndex {
  const { towers, pools, owns, searches, deadlineMs } = options;
  const { dim, users } = towers;
  const userCount = users.length / dim;
  const width = pools.length / userCount;
  const step = Math.max(1, Math.floor(userCount / CALIBRATION_USERS));
  for (const ef of EF_LADDER) {
    setEf(ef);
    const began = Date.now();
    let hits = 0;
    let wanted = 0;
    let tried = 0;
    for (let user = 0; user < userCount; user += step, tried++) {
      const exact = poolOf(pools, width, user);
      const found = new Set(index.search(users.subarray(user * dim, (user + 1) * dim), owns(user)));
      for (const item of exact) if (found.has(item)) hits++;
      wanted += exact.length;
    }
    const searchMs = (Date.now() - began) / tried;
    if (index.ef > 0 && Date.now() + searchMs * searches > deadlineMs) {
      setEf(index.ef);
      break;
    }
    index.ef = ef;
    index.poolRecall = hits / Math.max(1, wanted);
    if (index.poolRecall >= TARGET_RECALL) break;
  }
  return index;
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
