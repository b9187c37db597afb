// The one look at the test file: every part of the retrieval stage, and the stage, over all users with test items.
import type { ItemGraph } from '../../src/candidates/item-graph.ts';
import { blend, GraphPool, POOL, poolOf, type Towers } from './retrieval-blend.ts';
import { historyOf, type RawPairs, type TrainingSet } from './retrieval-data.ts';
import { buildTowerIndex } from './retrieval-hnsw.ts';
import { BestList, type Quality, QualityMean, TOP } from './retrieval-metrics.ts';

export interface TestInput {
  training: TrainingSet;
  test: RawPairs;
  /** Users in the order of the training set. */
  towers: Towers;
  /** [users, width] exact best items by the towers. */
  pools: Uint32Array;
  graph: ItemGraph;
  recency: number;
  weight: number;
  deadlineMs: number;
  say: (text: string) => void;
}

export interface TestFigures {
  /** The stage as served: pools from the approximate index (exact where there is none) and from the graph. */
  blended: Quality;
  exact: Quality;
  /** null where hnswlib cannot be loaded or the budget leaves no time for it. */
  hnsw: Quality | null;
  graph: Quality;
  testUsers: number;
  /** Fewer than `testUsers` where time ran short: the rest were served from the exact pools. */
  hnswUsers: number;
  index: {
    kind: 'hnsw' | 'exact';
    space?: string;
    ef?: number;
    poolRecall?: number;
    buildSeconds?: number;
    reason?: string;
  };
}

export async function measureTest(input: TestInput): Promise<TestFigures> {
  const { training, test, towers, pools, say } = input;
  const { all, userOf, itemOf } = training;
  const width = pools.length / all.userCount;
  const { dim } = towers;
  const own = (user: number) => new Set(historyOf(all, user));
  const built = await buildTowerIndex({
    towers,
    pools,
    owns: own,
    searches: test.size,
    // Half of what is left: the graph and the blend take their part of every user too.
    deadlineMs: (Date.now() + input.deadlineMs) / 2,
    onProgress: (done, total) => {
      if (done % 10_000 === 0) say(`hnsw: ${done} of ${total} items`);
    },
  });
  const index = typeof built === 'string' ? null : built;
  const reason = typeof built === 'string' ? built : undefined;
  say(
    index === null
      ? `hnsw: ${reason}`
      : `hnsw: ef ${index.ef} finds ${(index.poolRecall * 100).toFixed(1)} %`,
  );
  const popular = mostPopular(all.items, all.itemCount);
  const means = {
    blended: new QualityMean(),
    exact: new QualityMean(),
    hnsw: new QualityMean(),
    graph: new QualityMean(),
  };
  const graph = new GraphPool(input.graph, POOL, input.recency);
  const out = new BestList(TOP);
  const began = Date.now();
  let done = 0;
  // Late, the searches are given up first: the exact pools are there already.
  let late = false;
  for (const [rawUser, rawItems] of test) {
    // An item that nobody had in training cannot be found, and counts as missed: ids below zero.
    const wanted = new Set([...rawItems].map((item) => itemOf.get(item) ?? -1 - item));
    const user = userOf.get(rawUser);
    if (user === undefined) {
      for (const mean of Object.values(means)) mean.add(popular, wanted);
      continue;
    }
    const history = historyOf(all, user);
    const exact = poolOf(pools, width, user);
    means.exact.add(exact, wanted);
    let pool = exact;
    if (index !== null && !late) {
      pool = index.search(towers.users.subarray(user * dim, (user + 1) * dim), own(user));
      means.hnsw.add(pool, wanted);
    }
    graph.fill(history);
    means.graph.add(graph.pool.items, wanted, graph.pool.size);
    blend(towers, user, pool, graph, input.weight, out);
    means.blended.add(out.items, wanted, out.size);
    if (++done % 500 === 0) {
      const left = ((Date.now() - began) / done) * (test.size - done);
      late ||= Date.now() + left > input.deadlineMs;
      if (done % 2000 === 0) say(`test: ${done} of ${test.size} users, ${Math.round(left / 1000)} s left`);
      await new Promise((next) => setImmediate(next));
    }
  }
  return {
    blended: means.blended.value,
    exact: means.exact.value,
    hnsw: index === null ? null : means.hnsw.value,
    hnswUsers: means.hnsw.users,
    graph: means.graph.value,
    testUsers: means.blended.users,
    index:
      index === null
        ? { kind: 'exact', reason }
        : {
            kind: 'hnsw',
            space: index.space,
            ef: index.ef,
            poolRecall: index.poolRecall,
            buildSeconds: index.buildSeconds,
          },
  };
}

/** For users that have no history at all. */
function mostPopular(items: Uint32Array, itemCount: number): Uint32Array {
  const counts = new Uint32Array(itemCount);
  for (const item of items) counts[item]++;
  const best = new BestList(TOP);
  for (let item = 0; item < itemCount; item++) best.offer(item, counts[item]);
  return best.items.slice(0, best.size);
}
