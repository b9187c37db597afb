// `bench -- encode | rank | rerank`: the stages after the search, on the candidates that real retrieval gives.
import { openIndex } from '../../src/candidates/index/two-tier-index.ts';
import { parseRetrievalConfig, type RetrievalConfig } from '../../src/candidates/retrieval-config.ts';
import { Retriever, standardSources } from '../../src/candidates/retrieve.ts';
import { TrendingBoard } from '../../src/candidates/trending-board.ts';
import type { CandidateSet, FeedQuery, RankedSet } from '../../src/contracts.ts';
import { FeatureEncoder } from '../../src/features/feature-encoder.ts';
import { compilePlan } from '../../src/features/feature-schema.ts';
import { loadModelArtifact, type ModelArtifact } from '../../src/features/model-artifact.ts';
import { RECORD_WORDS } from '../../src/post-record.ts';
import {
  LIGHT_RANKER,
  MAIN_RANKER,
  openRanker,
  promotedFolder,
  versionsOf,
} from '../../src/ranking/model-registry.ts';
import { createRankerSession, runRows } from '../../src/ranking/onnx-session.ts';
import { readRankerArtifact } from '../../src/ranking/ranker-artifact.ts';
import { RankerLadder } from '../../src/ranking/ranker-ladder.ts';
import { ValueModel } from '../../src/ranking/value-model.ts';
import { rerank } from '../../src/rerank/rerank.ts';
import { parseRules } from '../../src/rerank/rules-config.ts';
import { DIM } from '../../src/vocabulary.ts';
import { DCN_RANKER } from '../train/train-ranker.ts';
import { type KernelWorld, queryOf } from './kernel-world.ts';
import { type BenchCase, type Comparison, compareCases, medianMs } from './rounds.ts';

const FOREVER = Number.MAX_SAFE_INTEGER;
/** Candidates that the light ranker leaves, as the DCN's manifest has it. */
const PRE_RANKED = 250;

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
  const retriever = new Retriever(standardSources(index, board, config), config, index);
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

/**
 * Each committed ranker with everything around it, beside the raw session.run of the form that serves over a matrix
 * that is ready; and where the light one goes before it.
 */
export async function benchRank(
  world: KernelWorld,
  retrievals: readonly Retrieval[],
  modelsDir: string,
  rounds: number,
): Promise<Comparison[]> {
  const { table } = world.generation;
  const value = new ValueModel();
  const light = await openRanker(modelsDir, LIGHT_RANKER, 'cpu');
  const comparisons: Comparison[] = [];
  for (const name of [MAIN_RANKER, LIGHT_RANKER, DCN_RANKER]) {
    if ((await versionsOf(modelsDir, name)).length === 0) continue;
    const artifact = await loadModelArtifact(await promotedFolder(modelsDir, name));
    const ranker = await openRanker(modelsDir, name, 'cpu');
    const raw = await rawRun(artifact, ranker.form);
    const exact = ranker.form === 'int8' ? await rawRun(artifact, 'fp32') : null;
    const ladder = new RankerLadder({ main: ranker, light, preRank: PRE_RANKED });
    const cases: BenchCase[] = [
      { name: `session.run, ${ranker.form}`, run: () => medianMs(retrievals, raw.run) },
      ...(exact ? [{ name: 'session.run, fp32', run: () => medianMs(retrievals, exact.run) }] : []),
      {
        name: 'encode, run, value model, order',
        run: () =>
          medianMs(retrievals, ({ query, candidates }) =>
            ranker.score(query, table, candidates, FOREVER, value),
          ),
      },
      ...(name === LIGHT_RANKER
        ? []
        : [
            {
              name: `the same, pre-ranked to ${PRE_RANKED} by ${light.model}`,
              run: () =>
                medianMs(retrievals, ({ query, candidates }) =>
                  ladder.rank(query, table, candidates, FOREVER, value),
                ),
            },
          ]),
    ];
    comparisons.push(await compareCases(`rank, ${ranker.model}, 1000 rows`, 'ms', cases, rounds));
    for (const one of [raw, exact]) await one?.release();
    await ranker.release();
  }
  await light.release();
  return comparisons;
}

/** session.run of 1000 rows that are ready, as a feed worker sets a session up. */
async function rawRun(artifact: ModelArtifact, form: 'fp32' | 'int8') {
  const { model, encoder, user } = readRankerArtifact(artifact);
  const bytes = form === 'int8' ? artifact.int8!.bytes : artifact.bytes;
  const session = await createRankerSession(bytes, model, 'cpu');
  const { width } = encoder;
  const features = new Float32Array(1000 * width).fill(0.1);
  const request = user && new Float32Array(user.width).fill(0.1);
  return {
    run: () => runRows(session, model, features, 1000, width, request),
    release: () => session.release(),
  };
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
      name: 'all rules, slate of 150',
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
