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
  space: 'ip' | 'l2';
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
 * A graph by inner product first: with the long vectors inserted first it is navigable (Morozov & Babenko, NeurIPS
 * 2018), and it found .998 of the pools at ef 600 where the augmentation found .99 in this order and .45 in the order
 * of ids (MovieLens-small, 256 dimensions). Where it misses the target, one more dimension makes every item equally
 * long, so that distance orders as the inner product does (Bachrach et al., RecSys 2014); the better graph is kept.
 * A string where no build would end in time, or the addon is missing: the reason.
 */
export async function buildTowerIndex(options: BuildOptions): Promise<TowerIndex | string> {
  const missing = await hnswMissing();
  if (missing !== null) return missing;
  const first = await buildGraph('ip', options);
  if (typeof first === 'string' || first.poolRecall >= TARGET_RECALL) return first;
  const second = await buildGraph('l2', options);
  return typeof second === 'string' || second.poolRecall <= first.poolRecall ? first : second;
}

async function buildGraph(space: 'ip' | 'l2', options: BuildOptions): Promise<TowerIndex | string> {
  const { dim, items } = options.towers;
  const itemCount = items.length / dim;
  const began = Date.now();
  const { HierarchicalNSW } = await loadAddon();
  const extra = space === 'l2' ? 1 : 0;
  const index = new HierarchicalNSW(space, dim + extra);
  index.initIndex(itemCount, M, EF_CONSTRUCTION, LEVEL_SEED);
  const squares = Float64Array.from({ length: itemCount }, (_, item) =>
    squaredLength(items, item * dim, dim),
  );
  const order = Uint32Array.from(squares.keys()).sort((a, b) => squares[b] - squares[a] || a - b);
  const largest = squares[order[0]];
  const point: number[] = new Array(dim + extra).fill(0);
  for (let done = 1; done <= itemCount; done++) {
    const item = order[done - 1];
    for (let d = 0; d < dim; d++) point[d] = finite(items[item * dim + d]);
    if (extra === 1) point[dim] = Math.sqrt(Math.max(0, largest - squares[item]));
    index.addPoint(point, item);
    if (done % 1000 !== 0) continue;
    options.onProgress(done, itemCount);
    await new Promise((next) => setImmediate(next));
    if (began + ((Date.now() - began) / done) * itemCount > options.deadlineMs) {
      return `building the graph of ${itemCount} items takes more time than the budget leaves`;
    }
  }
  const search = (user: Float32Array, own: ReadonlySet<number>): Uint32Array => {
    for (let d = 0; d < dim; d++) point[d] = finite(user[d]);
    if (extra === 1) point[dim] = 0;
    const k = Math.min(itemCount, POOL + own.size);
    const found = index.searchKnn(point, k).neighbors.filter((item) => !own.has(item));
    return Uint32Array.from(found.slice(0, POOL));
  };
  const built = { space, ef: 0, poolRecall: 0, buildSeconds: (Date.now() - began) / 1000, search };
  return calibrate(built, (ef) => index.setEf(Math.min(ef, itemCount)), options);
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
