// `bench -- ann | exact | build`: the searches beside the raw call they stand on, the scan beside the memory's
// bandwidth, the graph's insertion beside hnswlib's own.
import { join } from 'node:path';
import hnswlib from 'hnswlib-node';
import { graphShards } from '../../src/candidates/index/artifact.ts';
import { scanKernel } from '../../src/candidates/index/exact-index.ts';
import { HnswBuilder, HnswIndex } from '../../src/candidates/index/hnsw-index.ts';
import { InvertedIndex } from '../../src/candidates/index/inverted-index.ts';
import { newHits } from '../../src/candidates/index/search-table.ts';
import type { VectorIndex } from '../../src/contracts.ts';
import { DIM } from '../../src/vocabulary.ts';
import type { KernelWorld } from './kernel-world.ts';
import { type BenchCase, type Comparison, compareCases, medianMs } from './rounds.ts';

const K = 1000;
/** Rows inserted in one round of the build comparison. */
const INSERTED = 2000;

/** Each search at its calibrated setting, with its recall@1000 against the exact scan; baseline: raw `searchKnn`. */
export async function benchAnn(world: KernelWorld, rounds: number): Promise<Comparison[]> {
  const { table, manifest } = world.generation;
  const queries = world.users.map((user) => user.embedding);
  const k = Math.min(K, table.rows);
  const truth = queries.map((query) => rowsOf(world.scan, query, k));
  const hits = newHits(k);
  const search = (name: string, index: VectorIndex): BenchCase => ({
    name,
    recall: recallOf(index, queries, truth, k),
    run: () => medianMs(queries, (query) => index.search(query, k, hits)),
  });
  const cases: BenchCase[] = [];
  const best = (kind: string) =>
    manifest.calibration.measured
      .filter((one) => one.kind === kind && one.recall >= manifest.calibration.targetRecall)
      .sort((a, b) => a.p50Ms - b.p50Ms)[0];
  const graphAt = best('hnsw');
  if (graphAt?.ef) {
    const shards = graphShards(join(world.indexDir, manifest.version), manifest);
    const raw = new hnswlib.HierarchicalNSW('ip', DIM);
    if (shards.length === 1) {
      await raw.readIndex(shards[0].path);
      raw.setEf(Math.max(graphAt.ef, k));
      const plain = queries.map((query) => Array.from(query));
      const rawRows = (query: number[]) => raw.searchKnn(query, k).neighbors;
      cases.push({
        name: `hnswlib searchKnn, ef ${graphAt.ef}`,
        recall: meanRecall(plain.map(rawRows), truth),
        run: () => medianMs(plain, rawRows),
      });
    }
    const graph = await HnswIndex.load({ ef: graphAt.ef, shards }, table);
    cases.push(search(`graph, ef ${graphAt.ef}`, graph));
  }
  const listsAt = best('ivf');
  if (listsAt?.probes) {
    const lists = new InvertedIndex(world.scan, { all: listsAt.probes, short: [] });
    cases.push(search(`inverted lists, ${listsAt.probes} of ${manifest.lists?.count}`, lists));
  }
  cases.push(search('whole scan', world.scan));
  return [await compareCases(`ann, ${table.rows} posts, k ${k}`, 'ms', cases, rounds)];
}

/** The scan of all rows beside reading the same bytes and doing nothing with them. */
export async function benchExact(world: KernelWorld, rounds: number): Promise<Comparison[]> {
  const { table } = world.generation;
  const { memory, layout, rows } = table;
  const instance = await WebAssembly.instantiate(await scanKernel(), { env: { memory } });
  const { readAll } = instance.exports as { readAll(from: number, to: number): number };
  const queries = world.users.slice(0, 50).map((user) => user.embedding);
  const k = Math.min(K, rows);
  const hits = newHits(k);
  const millions = rows / 1e6;
  const read = () => readAll(layout.codes, layout.codes + rows * DIM);
  const cases: BenchCase[] = [
    {
      name: 'reading the codes',
      run: async () => (await medianMs(queries, read)) / millions,
    },
    {
      name: 'scan with float32 re-score',
      run: async () => (await medianMs(queries, (query) => world.scan.search(query, k, hits))) / millions,
    },
  ];
  return [await compareCases(`exact, ${rows} posts, k ${k}`, 'ms per million', cases, rounds)];
}

/** Rows inserted a second by the build's graph, beside hnswlib's addPoint on arrays that are ready. */
export async function benchBuild(world: KernelWorld, rounds: number): Promise<Comparison[]> {
  const { table } = world.generation;
  const rows = Math.min(INSERTED, table.rows);
  const vectors = table.vectors.slice(0, rows * DIM);
  const points = Array.from({ length: rows }, (_, row) =>
    Array.from(vectors.subarray(row * DIM, (row + 1) * DIM)),
  );
  const options = { m: 16, efConstruction: 200 };
  const seconds = (work: () => void): number => {
    const startedAt = performance.now();
    work();
    return (performance.now() - startedAt) / rows;
  };
  const cases: BenchCase[] = [
    {
      name: 'hnswlib addPoint',
      run: () => {
        const graph = new hnswlib.HierarchicalNSW('ip', DIM);
        graph.initIndex(rows, options.m, options.efConstruction, 100);
        return seconds(() => {
          for (const [row, point] of points.entries()) graph.addPoint(point, row);
        });
      },
    },
    {
      name: 'graph builder',
      run: async () => {
        const builder = await HnswBuilder.create(rows, options);
        return seconds(() => builder.insert(vectors, 0, rows));
      },
    },
  ];
  return [await compareCases(`build, ${rows} rows into an empty graph`, 'ms per row', cases, rounds)];
}

function rowsOf(index: VectorIndex, query: Float32Array, k: number): Set<number> {
  const hits = newHits(k);
  index.search(query, k, hits);
  return new Set(hits.rows.subarray(0, hits.size));
}

function recallOf(
  index: VectorIndex,
  queries: readonly Float32Array[],
  truth: readonly Set<number>[],
  k: number,
): number {
  return meanRecall(
    queries.map((query) => [...rowsOf(index, query, k)]),
    truth,
  );
}

function meanRecall(found: readonly number[][], truth: readonly Set<number>[]): number {
  const shares = found.map((rows, i) => rows.filter((row) => truth[i].has(row)).length / truth[i].size);
  return shares.reduce((sum, share) => sum + share, 0) / shares.length;
}
