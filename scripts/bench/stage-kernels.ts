// `bench -- encode | rank | rerank`: the stages after the search, on the candidates that real retrieval gives.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { openIndex } from '../../src/candidates/index/two-tier-index.ts';
import { parseRetrievalConfig, type RetrievalConfig } from '../../src/candidates/retrieval-config.ts';
import { Retriever, standardSources } from '../../src/candidates/retrieve.ts';
import { TrendingBoard } from '../../src/candidates/trending-board.ts';
import type { CandidateSet, FeedQuery, RankedSet } from '../../src/contracts.ts';
import { FeatureEncoder } from '../../src/features/feature-encoder.ts';
import { compilePlan } from '../../src/features/feature-schema.ts';
import { loadModelArtifact } from '../../src/features/model-artifact.ts';
import { RECORD_WORDS } from '../../src/post-record.ts';
import { LIGHT_RANKER, MAIN_RANKER, openRanker, promotedFolder } from '../../src/ranking/model-registry.ts';
import { ValueModel } from '../../src/ranking/value-model.ts';
import { rerank } from '../../src/rerank/rerank.ts';
import { parseRules } from '../../src/rerank/rules-config.ts';
import { DIM } from '../../src/vocabulary.ts';
import { type KernelWorld, queryOf } from './kernel-world.ts';
import { type BenchCase, type Comparison, compareCases, medianMs } from './rounds.ts';

const FOREVER = Number.MAX_SAFE_INTEGER;

interface Retrieval {
  query: FeedQuery;
  candidates: CandidateSet;
}

/** What retrieval gives each reader of the world. */
export async function retrieveAll(world: KernelWorld): Promise<Retrieval[]> {
  const { generation, users, nowMs } = world;
  const { table, graph, probes } = generation;
  const config: RetrievalConfig = parseRetrievalConfig({});
  const { index } = await openIndex(table, graph, probes);
  const board = new TrendingBoard(config.trending);
  board.refresh(table, nowMs);
  const retriever = new Retriever(standardSources(index, board, config), config);
  return users.map((user) => {
    const query = queryOf(user, nowMs);
    return { query, candidates: retriever.retrieve(query, table).candidates };
  });
}

/** Encoding beside a copy of what it reads: the candidates' records and vectors. */
export async function benchEncode(
  world: KernelWorld,
  retrievals: readonly Retrieval[],
  modelsDir: string,
  rounds: number,
): Promise<Comparison[]> {
  const { table } = world.generation;
  const { manifest } = await loadModelArtifact(await promotedFolder(modelsDir, MAIN_RANKER));
  const encoder = new FeatureEncoder(compilePlan(manifest.features as string[]));
  const widest = Math.max(...retrievals.map(({ candidates }) => candidates.size));
  const out = new Float32Array(widest * encoder.width);
  const records = new Uint32Array(widest * RECORD_WORDS);
  const vectors = new Float32Array(widest * DIM);
  const cases: BenchCase[] = [
    {
      name: 'copying records and vectors',
      run: () =>
        medianMs(retrievals, ({ candidates: { rows, size } }) => {
          for (let i = 0; i < size; i++) {
            const row = rows[i];
            records.set(
              table.records.u32.subarray(row * RECORD_WORDS, (row + 1) * RECORD_WORDS),
              i * RECORD_WORDS,
            );
            vectors.set(table.vectors.subarray(row * DIM, (row + 1) * DIM), i * DIM);
          }
        }),
    },
    {
      name: 'encoder',
      run: () =>
        medianMs(retrievals, ({ query, candidates }) => {
          encoder.begin(query.user, table, { nowMs: query.nowMs });
          encoder.encode(table, candidates.rows, 0, candidates.size, out);
        }),
    },
  ];
  return [await compareCases(`encode, ≤ ${widest} rows, ${encoder.width} columns`, 'ms', cases, rounds)];
}

/** Each committed ranker with everything around it, beside its raw session.run over a matrix that is ready. */
export async function benchRank(
  world: KernelWorld,
  retrievals: readonly Retrieval[],
  modelsDir: string,
  rounds: number,
): Promise<Comparison[]> {
  const value = new ValueModel();
  const comparisons: Comparison[] = [];
  for (const name of [MAIN_RANKER, LIGHT_RANKER]) {
    const folder = await promotedFolder(modelsDir, name);
    const { manifest, bytes } = await loadModelArtifact(folder);
    const ranker = await openRanker(modelsDir, name, 'cpu');
    const session = await InferenceSession.create(bytes, {
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      executionMode: 'sequential',
    });
    const { width } = compilePlan(manifest.features as string[]);
    const matrix = new Tensor('float32', new Float32Array(1000 * width).fill(0.1), [1000, width]);
    const cases: BenchCase[] = [
      {
        name: 'session.run',
        run: () => medianMs(retrievals, () => session.run({ features: matrix })),
      },
      {
        name: 'encode, run, value model, order',
        run: () =>
          medianMs(retrievals, ({ query, candidates }) =>
            ranker.score(query, world.generation.table, candidates, FOREVER, value),
          ),
      },
    ];
    comparisons.push(await compareCases(`rank, ${ranker.model}, 1000 rows`, 'ms', cases, rounds));
    await session.release();
    await ranker.release();
  }
  return comparisons;
}

/** Re-ranking with the default rules, beside putting the scores in order and nothing else. */
export async function benchRerank(
  world: KernelWorld,
  retrievals: readonly Retrieval[],
  modelsDir: string,
  rounds: number,
): Promise<Comparison[]> {
  const { table } = world.generation;
  const ranker = await openRanker(modelsDir, MAIN_RANKER, 'cpu');
  const rules = parseRules({});
  const ranked: (Retrieval & { ranked: RankedSet })[] = [];
  for (const one of retrievals) {
    const scored = await ranker.score(one.query, table, one.candidates, FOREVER, new ValueModel());
    ranked.push({ ...one, ranked: scored });
  }
  await ranker.release();
  const cases: BenchCase[] = [
    {
      name: 'sorting the scores',
      run: () => medianMs(ranked, (one) => one.ranked.scores.slice().sort()),
    },
    {
      name: 'all rules, slate of 300',
      run: () => medianMs(ranked, (one) => rerank({ ...one, catalogue: table, rules })),
    },
    {
      name: 'all rules, slate of 50',
      run: () =>
        medianMs(ranked, (one) =>
          rerank({ ...one, query: { ...one.query, slateSize: 50 }, catalogue: table, rules }),
        ),
    },
  ];
  return [await compareCases('rerank, 1000 ranked', 'ms', cases, rounds)];
}
