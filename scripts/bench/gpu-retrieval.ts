// Retrieval by exact scan on the device: all posts' vectors as weights, scores by one matrix product, the best by TopK,
// in chunks where the posts do not fit one. Beside it the service's own exact index on one core of this machine.
import { mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExactIndex } from '../../src/candidates/index/exact-index.ts';
import { PostTable } from '../../src/candidates/index/post-table.ts';
import { newHits } from '../../src/candidates/index/search-table.ts';
import type { Provider } from '../../src/ranking/onnx-session.ts';
import { DIM } from '../../src/vocabulary.ts';
import { Rng } from '../generate/rng.ts';
import { numbers, type Precision, randomNumbers, TENSOR_TYPE } from './gpu-graphs.ts';
import { type OnnxNode, type OnnxTensor, onnxParts } from './gpu-onnx.ts';
import { floats, isRefused, type Refused, rounded, timeRun, withSession } from './gpu-runs.ts';
import { median } from './statistics.ts';

export interface RetrievalPlan {
  provider: Provider;
  rounds: number;
  posts: readonly number[];
  precisions: readonly Precision[];
  queries: number;
  k: number;
  chunkPosts: number;
  /** Up to so many posts the index of the service is measured beside it. */
  cpuPosts: number;
}

export interface RetrievalRun {
  posts: number;
  precision: Precision;
  queries: number;
  k: number;
  chunks: number;
  batchMs: number;
  msPerQuery: number;
  queriesPerSecond: number;
  /** Share of the true `k` nearest, by float32 on the CPU, over the first queries. */
  recall: number;
  loadSeconds: number;
}

export interface RetrievalResult {
  posts: number;
  runs: (RetrievalRun | (Refused & { precision: Precision }))[];
  /** The service's exact index, one thread; null beyond `cpuPosts`. */
  cpu: { msPerQuery: number; recall: number } | null;
}

const CHECKED_QUERIES = 8;
const CENTRES = 1000;
/** Spread around a centre, so that lists of neighbours overlap as those of real embeddings do. */
const SPREAD = 0.8;

export async function measureRetrieval(
  plan: RetrievalPlan,
  progress: (line: string) => void,
): Promise<RetrievalResult[]> {
  const results: RetrievalResult[] = [];
  for (const posts of plan.posts) {
    progress(`retrieval: ${posts} posts, the true nearest`);
    const queries = vectorsOf('queries', plan.queries);
    const truth = nearest(plan, posts, queries);
    const runs: RetrievalResult['runs'] = [];
    for (const precision of plan.precisions) {
      progress(`retrieval: ${posts} posts, ${precision}`);
      const run = await onDevice(plan, posts, precision, queries, truth);
      runs.push(isRefused(run) ? { ...run, precision } : run);
    }
    const cpu = posts <= plan.cpuPosts ? await onCpu(plan, posts, queries, truth) : null;
    results.push({ posts, runs, cpu });
  }
  return results;
}

async function onDevice(
  plan: RetrievalPlan,
  posts: number,
  precision: Precision,
  queries: Float32Array,
  truth: readonly Set<number>[],
): Promise<RetrievalRun | Refused> {
  const folder = mkdtempSync(join(tmpdir(), 'feedrank-retrieval-'));
  const file = join(folder, 'scan.onnx');
  try {
    const chunks = writeScan(file, plan, posts, precision);
    const began = performance.now();
    return await withSession(file, 'the scan', plan.provider, async (session) => {
      const loadSeconds = (performance.now() - began) / 1000;
      const feeds = { queries: floats(queries, plan.queries, DIM) };
      const ms = await timeRun(session, feeds, plan.rounds);
      const rows = (await session.run(feeds)).rows.data as Int32Array;
      const found = truth.map((_, query) => rows.subarray(query * plan.k, (query + 1) * plan.k));
      return {
        posts,
        precision,
        queries: plan.queries,
        k: plan.k,
        chunks,
        batchMs: rounded(ms),
        msPerQuery: rounded(ms / plan.queries),
        queriesPerSecond: rounded((plan.queries / ms) * 1000),
        recall: recallOf(found, truth),
        loadSeconds: rounded(loadSeconds, 3),
      };
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `queries` [Q, DIM] → `rows` [Q, k] int32 and `similarity` [Q, k]: the best of each chunk, then the best of those. */
function writeScan(file: string, plan: RetrievalPlan, posts: number, precision: Precision): number {
  const { k, chunkPosts, queries } = plan;
  const type = TENSOR_TYPE[precision];
  const nodes: OnnxNode[] = [
    {
      operator: 'Cast',
      inputs: ['queries'],
      outputs: ['q'],
      attributes: { to: precision === 'fp32' ? 1 : 10 },
    },
  ];
  const tensors: OnnxTensor[] = [{ name: 'k', type: 'int64', dims: [1], data: BigInt64Array.of(BigInt(k)) }];
  const best: string[] = [];
  const rowsOfBest: string[] = [];
  for (let from = 0, chunk = 0; from < posts; from += chunkPosts, chunk++) {
    const size = Math.min(chunkPosts, posts - from);
    // [DIM, size], so that the product needs no transposition.
    const columns = new Float32Array(DIM * size);
    const vectors = vectorsOf('posts', size, from);
    for (let i = 0; i < size; i++) for (let d = 0; d < DIM; d++) columns[d * size + i] = vectors[i * DIM + d];
    tensors.push({ name: `posts${chunk}`, type, dims: [DIM, size], data: numbers(columns, precision) });
    nodes.push({ operator: 'MatMul', inputs: ['q', `posts${chunk}`], outputs: [`s${chunk}`] });
    nodes.push(topK(`s${chunk}`, `best${chunk}`, `at${chunk}`));
    tensors.push({ name: `from${chunk}`, type: 'int64', dims: [1], data: BigInt64Array.of(BigInt(from)) });
    nodes.push({ operator: 'Add', inputs: [`at${chunk}`, `from${chunk}`], outputs: [`row${chunk}`] });
    best.push(`best${chunk}`);
    rowsOfBest.push(`row${chunk}`);
  }
  const axis = { axis: 1 };
  if (best.length === 1) {
    nodes.push({ operator: 'Cast', inputs: best, outputs: ['similarity'], attributes: { to: 1 } });
    nodes.push({ operator: 'Cast', inputs: rowsOfBest, outputs: ['rows'], attributes: { to: 6 } });
  } else {
    nodes.push({ operator: 'Concat', inputs: best, outputs: ['all'], attributes: axis });
    nodes.push({ operator: 'Concat', inputs: rowsOfBest, outputs: ['all_rows'], attributes: axis });
    nodes.push(topK('all', 'last', 'last_at'));
    nodes.push({
      operator: 'GatherElements',
      inputs: ['all_rows', 'last_at'],
      outputs: ['last_rows'],
      attributes: axis,
    });
    nodes.push({ operator: 'Cast', inputs: ['last'], outputs: ['similarity'], attributes: { to: 1 } });
    nodes.push({ operator: 'Cast', inputs: ['last_rows'], outputs: ['rows'], attributes: { to: 6 } });
  }
  const parts = onnxParts({
    nodes,
    tensors,
    inputs: [{ name: 'queries', type: 'float32', dims: [queries, DIM] }],
    outputs: [
      { name: 'rows', type: 'int32', dims: [queries, k] },
      { name: 'similarity', type: 'float32', dims: [queries, k] },
    ],
  });
  const out = openSync(file, 'w');
  for (const part of parts) for (let at = 0; at < part.byteLength; ) at += writeSync(out, part, at);
  return best.length;
}

function topK(input: string, values: string, indices: string): OnnxNode {
  const attributes = { axis: 1, largest: 1, sorted: 1 };
  return { operator: 'TopK', inputs: [input, 'k'], outputs: [values, indices], attributes };
}

/** The service's own index over the same vectors. */
async function onCpu(
  plan: RetrievalPlan,
  posts: number,
  queries: Float32Array,
  truth: readonly Set<number>[],
): Promise<RetrievalResult['cpu']> {
  const table = PostTable.create({
    generation: 'bench',
    baseRows: posts,
    capacity: posts,
    keyBytes: posts * 12,
  });
  const vectors = vectorsOf('posts', posts);
  for (let i = 0; i < posts; i++) {
    const post = {
      id: `p${i}`,
      authorId: `a${i % 1000}`,
      createdAt: i,
      topic: '',
      language: 0,
      flags: 0,
      text: '',
    };
    table.append(post, vectors.subarray(i * DIM, (i + 1) * DIM));
  }
  const index = await ExactIndex.open(table);
  const hits = newHits(plan.k);
  const times: number[] = [];
  const found: Uint32Array[] = [];
  for (let query = 0; query < plan.queries; query++) {
    const began = performance.now();
    index.search(queries.slice(query * DIM, (query + 1) * DIM), plan.k, hits);
    times.push(performance.now() - began);
    if (query < truth.length) found.push(hits.rows.slice(0, hits.size));
  }
  return { msPerQuery: rounded(median(times)), recall: recallOf(found, truth) };
}

/** The true nearest of the first queries, by float32 over all posts; made in pieces, so that none need be kept. */
function nearest({ k, queries: count }: RetrievalPlan, posts: number, queries: Float32Array): Set<number>[] {
  const PIECE = 100_000;
  const checked = Math.min(CHECKED_QUERIES, count);
  const all = Array.from({ length: checked }, () => new Float32Array(posts));
  for (let from = 0; from < posts; from += PIECE) {
    const size = Math.min(PIECE, posts - from);
    const vectors = vectorsOf('posts', size, from);
    for (let query = 0; query < checked; query++) {
      for (let i = 0; i < size; i++) {
        let sum = 0;
        for (let d = 0; d < DIM; d++) sum += queries[query * DIM + d] * vectors[i * DIM + d];
        all[query][from + i] = sum;
      }
    }
  }
  return all.map((similarity) => {
    const threshold = similarity.slice().sort()[Math.max(0, posts - k)];
    const rows = new Set<number>();
    for (let row = 0; row < posts; row++) if (similarity[row] >= threshold) rows.add(row);
    return rows;
  });
}

function recallOf(found: readonly ArrayLike<number>[], truth: readonly Set<number>[]): number {
  let hits = 0;
  let wanted = 0;
  for (const [query, rows] of truth.entries()) {
    wanted += found[query].length;
    for (let i = 0; i < found[query].length; i++) if (rows.has(found[query][i])) hits++;
  }
  return rounded(hits / wanted);
}

/** `count` unit vectors [count, DIM] around shared centres; vector `from + i` is the same whatever was asked before. */
function vectorsOf(stream: string, count: number, from = 0): Float32Array {
  const centres = randomNumbers(CENTRES * DIM, 'centres', 1);
  const rng = new Rng(1, stream);
  const vectors = new Float32Array(count * DIM);
  for (let i = 0; i < count; i++) {
    rng.at(from + i);
    const centre = rng.below(CENTRES) * DIM;
    let norm = 0;
    for (let d = 0; d < DIM; d++) {
      const value = centres[centre + d] + SPREAD * (2 * rng.next() - 1);
      vectors[i * DIM + d] = value;
      norm += value * value;
    }
    const scale = 1 / Math.sqrt(norm);
    for (let d = 0; d < DIM; d++) vectors[i * DIM + d] *= scale;
  }
  return vectors;
}
