// A feed worker: read views of the shared catalogue, its own search and ONNX sessions, and the pipeline over them.
// Speaks pool.ts's protocol; several generations may be open, each request names none: the newest one serves.
import { constants, getPriority, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import type { GraphFile } from './candidates/index/artifact.ts';
import { PostTable } from './candidates/index/post-table.ts';
import { newHits } from './candidates/index/search-table.ts';
import type { ListProbes } from './candidates/index/short-searches.ts';
import type { TableHandle } from './candidates/index/table-handle.ts';
import { openIndex, type TwoTierIndex } from './candidates/index/two-tier-index.ts';
import { parseRetrievalConfig } from './candidates/retrieval-config.ts';
import { Retriever, standardSources } from './candidates/retrieve.ts';
import { TrendingBoard } from './candidates/trending-board.ts';
import type { FeedQuery } from './contracts.ts';
import { FeedrankError, messageOf } from './errors.ts';
import { packHashes } from './hashing.ts';
import { probeIndex } from './index-probe.ts';
import { compareIndexes, type IndexShadowJob } from './index-shadow.ts';
import { packUser } from './pack-user.ts';
import { type PackedAnswer, transferable } from './packed-answer.ts';
import { runPacked } from './pipeline.ts';
import type { PoolRequest, PoolResponse } from './pool.ts';
import { ChunkBoard } from './ranking/chunk-board.ts';
import { ForkJoin } from './ranking/fork-join.ts';
import type { ShadowSample } from './ranking/lifecycle/shadow-comparison.ts';
import type { RankerSource } from './ranking/model-registry.ts';
import { type RankerPlan, RankerShelf } from './ranking/ranker-shelf.ts';
import { ValueModel, type ValueWeights } from './ranking/value-model.ts';
import { parseRules, type RulesConfig } from './rerank/rules-config.ts';
import { runShadow } from './shadow-run.ts';
import { steadyNow } from './steady-clock.ts';

export interface FeedWorkerData {
  ranking: RankerSource;
  weights: ValueWeights;
  retrieval: unknown;
}

/** Message `open`. */
export interface OpenGeneration {
  handle: TableHandle;
  graph: GraphFile | null;
  /** Inverted lists to probe, null where another search was calibrated. */
  probes: ListProbes | null;
}

/** Answer to `open`. */
export interface OpenedGeneration {
  search: string;
  searchReason: string | null;
}

/** Message `rules`. */
export interface RulesUpdate {
  serving: { rules: RulesConfig; version: string };
  /** On trial: for the requests that name it. */
  trial: { rules: RulesConfig; version: string } | null;
}

interface Rules {
  rules: RulesConfig;
  rulesVersion: string;
  /** hash64 pairs of pinned posts. */
  pinned: Uint32Array;
}

/** Message `similar`: neighbours of a post's own vector, the post itself left out. */
export interface SimilarQuery {
  generation: string;
  row: number;
  limit: number;
}

/** Message `feed`. */
export interface FeedJob {
  generation: string;
  query: FeedQuery;
}

/** Message `shadow`: sent to an idle worker only, and gives way to requests that come meanwhile. */
export interface ShadowJob {
  generation: string;
  query: FeedQuery;
  /** Version of the main ranker that serves. */
  serving: string;
  /** On trial: of the main ranker, or of the light one. */
  trial: string;
  of: 'main' | 'light';
}

/** Message `recall`: as `shadow`. Answers a share, or null where it gave way or every search is exact. */
export interface RecallJob {
  generation: string;
  /** Unit vector [64] of a user. */
  vector: Float32Array;
  k: number;
}

interface Open {
  table: PostTable;
  index: TwoTierIndex;
  retriever: Retriever;
}

/** Below the main thread, so that HTTP and stores are served first (FACTS: loop delay p99 4.3 → 1.1 ms). */
const NICENESS = 10;
const LEAST_PRIORITY = constants.priority.PRIORITY_LOW;
/** Requests that each worker answers to itself before a generation serves. */
const WARM_UP_RUNS = 4;
const WARM_UP_CANDIDATES = 1000;
const WARM_UP_MS = 10_000;

const { ranking, weights, retrieval } = workerData as FeedWorkerData;
const value = new ValueModel(weights);
const config = parseRetrievalConfig(retrieval ?? {});
const generations = new Map<string, Open>();
let rules: Rules = readyRules({ rules: parseRules({}), version: 'default' });
let trialRules: Rules | null = null;
const fork = ranking.board ? new ForkJoin(new ChunkBoard(ranking.board)) : null;
const shelf = new RankerShelf(ranking, fork);
/** Requests being worked on, and what waits until there are none. */
let running = 0;
const whenIdle: (() => void)[] = [];

try {
  // Of this thread; it begins with the main thread's.
  setPriority(0, Math.min(LEAST_PRIORITY, getPriority(0) + NICENESS));
} catch {
  // Not every platform lets a thread lower its own priority; it is an optimisation only.
}

const handlers: Record<string, (payload: never) => Promise<unknown>> = {
  open: async ({ handle, graph, probes }: OpenGeneration): Promise<OpenedGeneration> => {
    const table = PostTable.open(handle);
    const { index, reason } = await openIndex(table, graph, probes);
    const board = new TrendingBoard(config.trending);
    board.refresh(table, Date.now());
    const retriever = new Retriever(standardSources(index, board, config, table.neighbours), config, index);
    const open = { table, index, retriever };
    // A replacement worker gets its models and its generations at once.
    await shelf.settled();
    for (let run = 0; run < WARM_UP_RUNS && table.rows > 0; run++) await feed(open, warmUpQuery(table, run));
    generations.set(table.generation, open);
    return { search: index.kind, searchReason: reason };
  },
  'probe-index': async (generation: string) => {
    const { table, index } = opened(generation);
    return probeIndex(table, index);
  },
  'close-generation': async (generation: string) => {
    generations.delete(generation);
  },
  rules: async ({ serving, trial }: RulesUpdate) => {
    rules = readyRules(serving);
    trialRules = trial && readyRules(trial);
  },
  models: (plan: RankerPlan) => shelf.apply(plan, warmUpRanker),
  feed: ({ generation, query }: FeedJob) => feed(opened(generation), query),
  shadow: (job: ShadowJob) => shadow(job),
  'index-shadow': (job: IndexShadowJob) => compareIndexes(job, (id) => generations.get(id), idle),
  recall: async ({ generation, vector, k }: RecallJob) =>
    running > 0 ? null : opened(generation).index.recallOf(vector, k),
  similar: async ({ generation, row, limit }: SimilarQuery) => {
    const { table, index } = opened(generation);
    const hits = newHits(limit + 1);
    const vector = table.vectors.slice(row * table.dim, (row + 1) * table.dim);
    index.search(vector, Math.min(limit + 1, table.rows), hits);
    const found: { postId: string; similarity: number }[] = [];
    for (let i = 0; i < hits.size && found.length < limit; i++) {
      if (hits.rows[i] !== row) {
        found.push({ postId: table.keyOf(hits.rows[i]), similarity: hits.similarity[i] });
      }
    }
    return found;
  },
  close: async () => {
    fork?.stop();
    // The sessions end with the thread; nothing runs in them now, since jobs come one at a time.
    setImmediate(() => parentPort?.close());
  },
};

function readyRules({ rules, version }: RulesUpdate['serving']): Rules {
  return { rules, rulesVersion: version, pinned: packHashes(rules.pins.map((pin) => pin.postId)) };
}

async function feed({ table, index, retriever }: Open, query: FeedQuery): Promise<PackedAnswer> {
  const { arm = null, version, light, weights: ownWeights = null } = query.ranker ?? {};
  const lease = shelf.lease(version ?? undefined, light);
  running++;
  if (fork) fork.idle = false;
  try {
    const packed = await runPacked(query, {
      catalogue: table,
      retriever,
      ladder: lease.ladder,
      value: ownWeights === null ? value : new ValueModel(ownWeights),
      search: index.kind,
      ...(query.rules !== undefined && query.rules === trialRules?.rulesVersion ? trialRules : rules),
    });
    if (arm !== null) packed.answer.model += `+${arm}`;
    return packed;
  } finally {
    lease.release();
    running--;
    if (running === 0) {
      if (fork) fork.idle = true;
      for (const resume of whenIdle.splice(0)) resume();
    }
  }
}

async function shadow({ generation, query, serving, trial, of }: ShadowJob): Promise<ShadowSample | null> {
  const open = generations.get(generation);
  if (!open) return null;
  const leases = [shelf.lease(serving), of === 'main' ? shelf.lease(trial) : shelf.lease(serving, trial)];
  try {
    const [first, second] = leases.map(({ ladder }) => ladder.models[of]);
    // A version that went meanwhile has nothing to say.
    if (!first || second?.model.split('@')[1] !== trial || leases[0].version !== serving) return null;
    return await runShadow(query, {
      catalogue: open.table,
      retriever: open.retriever,
      pinned: rules.pinned,
      value,
      serving: first,
      trial: second,
      reference: of === 'main' ? null : leases[0].ladder.models.main,
      idle,
    });
  } finally {
    for (const lease of leases) lease.release();
  }
}

/** The next turn of the loop in which no request is being worked on: those that wait in the port go first. */
async function idle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  while (running > 0) await new Promise<void>((resolve) => whenIdle.push(resolve));
}

/** A version that was just opened ranks real posts before it ranks for a reader. */
async function warmUpRanker(version: string): Promise<void> {
  for (const open of generations.values()) {
    if (open.table.rows === 0) continue;
    for (let run = 0; run < WARM_UP_RUNS; run++) {
      const query = { ...warmUpQuery(open.table, run), ranker: { version, arm: null, weights: null } };
      const { degraded, failures } = (await feed(open, query)).answer;
      if (degraded.includes('ranker_failed'))
        throw new FeedrankError('corrupt_artifact', failures.join('; '));
    }
  }
}

/** A request like any other, so that compiled code and pages are there before the first reader is. */
function warmUpQuery(table: PostTable, run: number): FeedQuery {
  const row = Math.floor((table.rows * (run + 0.5)) / WARM_UP_RUNS);
  const vector = table.vectors.slice(row * table.dim, (row + 1) * table.dim);
  const user = packUser(`warm-up-${run}`, null, vector, 'cold');
  return {
    requestId: 'warm-up',
    user,
    nowMs: Date.now(),
    seed: run,
    candidates: WARM_UP_CANDIDATES,
    slateSize: WARM_UP_CANDIDATES,
    exclude: new Uint32Array(0),
    explain: 0,
    explore: false,
    deadlineAtMs: steadyNow() + WARM_UP_MS,
  };
}

function opened(generation: string): Open {
  const open = generations.get(generation);
  if (!open) throw new FeedrankError('unavailable', `generation ${generation} is not open in this worker`);
  return open;
}

void fork?.help(
  (key) => shelf.lend(key),
  () => running === 0,
);

parentPort?.on('message', async ({ id, kind, payload }: PoolRequest) => {
  let response: PoolResponse;
  let moved: ArrayBuffer[] = [];
  try {
    const handler = handlers[kind];
    if (!handler) throw new FeedrankError('internal', `a feed worker knows no '${kind}'`);
    response = { id, value: await handler(payload as never) };
    if (kind === 'feed') moved = transferable(response.value as PackedAnswer);
  } catch (error) {
    const code = error instanceof FeedrankError ? error.code : 'internal';
    response = { id, code, error: messageOf(error) };
  }
  parentPort?.postMessage(response, moved);
});
