// A feed worker: read views of the shared catalogue, its own search and ONNX sessions, and the pipeline over them.
// Speaks pool.ts's protocol; several generations may be open, each request names none: the newest one serves.
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import type { GraphFile } from './candidates/index/artifact.ts';
import { PostTable, type TableHandle } from './candidates/index/post-table.ts';
import { newHits } from './candidates/index/search-table.ts';
import { openIndex, type TwoTierIndex } from './candidates/index/two-tier-index.ts';
import { parseRetrievalConfig } from './candidates/retrieval-config.ts';
import { Retriever, standardSources } from './candidates/retrieve.ts';
import { TrendingBoard } from './candidates/trending-board.ts';
import type { FeedAnswer, FeedQuery } from './contracts.ts';
import { FeedrankError, messageOf } from './errors.ts';
import { packHashes } from './hashing.ts';
import { packUser } from './pack-user.ts';
import { runPipeline } from './pipeline.ts';
import type { PoolRequest, PoolResponse } from './pool.ts';
import { type OpenedLadder, type OpenLadderOptions, openLadder } from './ranking/model-registry.ts';
import { ValueModel, type ValueWeights } from './ranking/value-model.ts';
import { parseRules, type RulesConfig } from './rerank/rules-config.ts';

export interface FeedWorkerData {
  ranking: OpenLadderOptions;
  weights: ValueWeights;
  retrieval: unknown;
}

/** Message `open`. */
export interface OpenGeneration {
  handle: TableHandle;
  graph: GraphFile | null;
  /** Inverted lists to probe, null where another search was calibrated. */
  probes: number | null;
}

/** Answer to `open`. */
export interface OpenedGeneration {
  search: string;
  searchReason: string | null;
  /** `ranker@1 on cpu`, … */
  models: string[];
  /** What of the models could not be served, and why. */
  modelProblems: string[];
}

/** Message `rules`. */
export interface RulesUpdate {
  rules: RulesConfig;
  version: string;
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

interface Open {
  table: PostTable;
  index: TwoTierIndex;
  retriever: Retriever;
}

/** Below the main thread, so that HTTP and stores are served first (FACTS: loop delay p99 4.3 → 1.1 ms). */
const NICENESS = 10;
/** Requests that each worker answers to itself before a generation serves. */
const WARM_UP_RUNS = 4;
const WARM_UP_CANDIDATES = 1000;
const WARM_UP_MS = 10_000;

const { ranking, weights, retrieval } = workerData as FeedWorkerData;
const value = new ValueModel(weights);
const config = parseRetrievalConfig(retrieval ?? {});
const generations = new Map<string, Open>();
let rules: RulesUpdate = { rules: parseRules({}), version: 'default' };
let pinned: Uint32Array = new Uint32Array(0);
let opening: Promise<OpenedLadder> | undefined;

try {
  setPriority(0, NICENESS);
} catch {
  // Not every platform lets a thread lower its own priority; it is an optimisation only.
}

const handlers: Record<string, (payload: never) => Promise<unknown>> = {
  open: async ({ handle, graph, probes }: OpenGeneration): Promise<OpenedGeneration> => {
    const table = PostTable.open(handle);
    const { index, reason } = await openIndex(table, graph, probes);
    const board = new TrendingBoard(config.trending);
    board.refresh(table, Date.now());
    const retriever = new Retriever(standardSources(index, board, config), config);
    const open = { table, index, retriever };
    opening ??= openLadder(ranking);
    const { models, problems } = await opening;
    for (let run = 0; run < WARM_UP_RUNS && table.rows > 0; run++) await feed(open, warmUpQuery(table, run));
    generations.set(table.generation, open);
    return { search: index.kind, searchReason: reason, models, modelProblems: problems };
  },
  'close-generation': async (generation: string) => {
    generations.delete(generation);
  },
  rules: async (update: RulesUpdate) => {
    rules = update;
    pinned = packHashes(update.rules.pins.map((pin) => pin.postId));
  },
  feed: ({ generation, query }: FeedJob) => feed(opened(generation), query),
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
    // The sessions end with the thread; nothing runs in them now, since jobs come one at a time.
    setImmediate(() => parentPort?.close());
  },
};

async function feed({ table, index, retriever }: Open, query: FeedQuery): Promise<FeedAnswer> {
  opening ??= openLadder(ranking);
  const { ladder } = await opening;
  return runPipeline(query, {
    catalogue: table,
    retriever,
    ladder,
    value,
    search: index.kind,
    rules: rules.rules,
    rulesVersion: rules.version,
    pinned,
  });
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
    deadlineAtMs: Date.now() + WARM_UP_MS,
  };
}

function opened(generation: string): Open {
  const open = generations.get(generation);
  if (!open) throw new FeedrankError('unavailable', `generation ${generation} is not open in this worker`);
  return open;
}

parentPort?.on('message', async ({ id, kind, payload }: PoolRequest) => {
  let response: PoolResponse;
  try {
    const handler = handlers[kind];
    if (!handler) throw new FeedrankError('internal', `a feed worker knows no '${kind}'`);
    response = { id, value: await handler(payload as never) };
  } catch (error) {
    const code = error instanceof FeedrankError ? error.code : 'internal';
    response = { id, code, error: messageOf(error) };
  }
  parentPort?.postMessage(response);
});
