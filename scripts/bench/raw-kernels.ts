// The two kernels that a feed stands on, alone in this process on one thread: one search of the index and one
// session.run over its candidates. What the whole service takes is divided by them. Called by capacity.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { HnswIndex } from '../../src/candidates/index/hnsw-index.ts';
import { InvertedIndex } from '../../src/candidates/index/inverted-index.ts';
import { newHits } from '../../src/candidates/source.ts';
import type { Config } from '../../src/config.ts';
import type { VectorIndex } from '../../src/contracts.ts';
import { loadModelArtifact, type ModelArtifact } from '../../src/features/model-artifact.ts';
import { LIGHT_RANKER, MAIN_RANKER, promotedFolder } from '../../src/ranking/model-registry.ts';
import { readRankerArtifact } from '../../src/ranking/ranker-artifact.ts';
import type { KernelWorld } from './kernel-world.ts';
import { medianMs } from './rounds.ts';

export interface RawKernels {
  searchMs: number;
  /** Both models where the light one ranks before the other. */
  runMs: number;
  /** Rows of each run. */
  rows: number;
}

const CANDIDATES = 1000;

/**
 * Medians over the world's readers. `config` says which form of the models serves and how many candidates the light
 * one leaves to the main one; undefined: as its manifest says.
 */
export async function rawKernels(
  world: KernelWorld,
  modelsDir: string,
  config: Pick<Config, 'RANKER_INT8' | 'PRE_RANK'>,
): Promise<RawKernels> {
  const index = await calibratedIndex(world);
  const k = Math.min(CANDIDATES, world.generation.table.rows);
  const hits = newHits(k);
  const search = () => medianMs(world.users, (user) => index.search(user.embedding, k, hits));
  await search();
  const searchMs = await search();
  const artifact = await loadModelArtifact(await promotedFolder(modelsDir, MAIN_RANKER));
  const preRank = config.PRE_RANK ?? readRankerArtifact(artifact).preRank;
  const rows = preRank || CANDIDATES;
  let runMs = await modelMs(artifact, rows, config.RANKER_INT8, world.users);
  if (preRank > 0) {
    const light = await loadModelArtifact(await promotedFolder(modelsDir, LIGHT_RANKER));
    runMs += await modelMs(light, CANDIDATES, config.RANKER_INT8, world.users);
  }
  return { searchMs: rounded(searchMs), runMs: rounded(runMs), rows };
}

/** Of the form that serves: int8 where it may and is the faster. */
async function modelMs(
  { bytes, int8 }: ModelArtifact,
  rows: number,
  choice: Config['RANKER_INT8'],
  times: readonly unknown[],
): Promise<number> {
  const fp32 = await sessionMs(bytes, rows, times);
  const may = int8 && choice !== 'off' && (int8.serve || choice === 'on');
  return may ? Math.min(fp32, await sessionMs(int8.bytes, rows, times)) : fp32;
}

async function calibratedIndex({ generation, scan }: KernelWorld): Promise<VectorIndex> {
  const { table, graph, probes } = generation;
  if (graph) return HnswIndex.load(graph, table);
  return probes === null ? scan : new InvertedIndex(scan, probes);
}

async function sessionMs(bytes: Uint8Array, rows: number, times: readonly unknown[]): Promise<number> {
  const session = await InferenceSession.create(bytes, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
  });
  const feeds: Record<string, Tensor> = {};
  for (const input of session.inputMetadata) {
    if (!input.isTensor) continue;
    const [, width] = input.shape;
    // A model that reads the user once a request has a second input of one row.
    const count = input.name === 'features' ? rows : 1;
    feeds[input.name] = new Tensor('float32', new Float32Array(count * Number(width)).fill(0.1), [
      count,
      Number(width),
    ]);
  }
  const run = () => medianMs(times, () => session.run(feeds));
  await run();
  const ms = await run();
  await session.release();
  return ms;
}

function rounded(ms: number): number {
  return Number(ms.toFixed(4));
}
