// Training set → ranker.py → models/ranker and models/ranker-light. Called by scripts/train.ts.
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { EmbedPool } from '../../src/features/embed-pool.ts';
import { FEATURES, type FeatureId } from '../../src/features/feature-schema.ts';
import { loadModelArtifact } from '../../src/features/model-artifact.ts';
import {
  LIGHT_RANKER,
  MAIN_RANKER,
  promotedFolder,
  promotedVersion,
} from '../../src/ranking/model-registry.ts';
import type { ValueWeights } from '../../src/ranking/value-model.ts';
import { startProgress } from '../import/progress.ts';
import { runTrainer, type TrainerRun } from './run-trainer.ts';
import type { ArchitectureFigures, TrainingCurves } from './training-report.ts';
import { writeTrainingSet } from './training-set.ts';
import { poolTowers } from './training-set-source.ts';
import type { TrainingSetMeta } from './training-set-writer.ts';

/**
 * Single coordinates tie a model to one post space and gain nothing over the cosines: on the generated world of seed
 * 7, 60,000 posts, click AUC .757 with them, .763 without; NDCG@50 on another world .552 against .593.
 */
const LEFT_OUT: readonly FeatureId[] = ['hadamard@1'];

/** As in ranker_data.py. */
const MIN_ROWS = 1000;

export interface TrainRanker extends TrainerRun {
  maxRows: number;
  architecture: string | undefined;
  /** Trains every architecture and LightGBM, and takes the best. */
  compare: boolean;
  size: (typeof SIZES)[number];
  /** Of the value that ranks, for its NDCG. */
  weights: ValueWeights;
  /**
   * Towers that have not seen the events since `fromMs`, to make the vectors with, and the version that will serve.
   * Absent = the promoted towers, and the events since their training.
   */
  early?: { dir: string; fromMs: number; servedVersion: string };
}

export const SIZES = ['main', 'large', 'heavy'] as const;
/** As in ranker.py: what is trained in this size stands beside `ranker` and does not serve by itself. */
export const DCN_RANKER = 'ranker-dcn';
/** Models that a run of a size makes. */
export const MODELS_OF: Record<(typeof SIZES)[number], readonly string[]> = {
  main: [MAIN_RANKER, LIGHT_RANKER],
  large: [DCN_RANKER],
  heavy: [MAIN_RANKER],
};

/** What a new model and the one that serves do on the same newest rows, which neither has learned from. */
export interface Comparison {
  /** `ranker@1`; null where none serves. */
  against: string | null;
  worse: boolean;
  /** Why they were not compared. */
  reason?: string;
  [figure: string]: unknown;
}

export interface RankerFigures {
  version: string;
  rows: number;
  figures: Record<string, { comparison: Comparison; msPer1000Rows: number; [figure: string]: unknown }>;
  architectures: Record<string, ArchitectureFigures>;
  chosen: string;
  curves: Record<string, TrainingCurves>;
  [figure: string]: unknown;
}

/**
 * Returns the figures of both models and of the set. A tower's vectors of events that it was trained on know their
 * outcome; a ranker that learned from those would trust similarity far too much.
 */
export async function trainRanker(options: TrainRanker): Promise<RankerFigures> {
  const { work, modelsDir, outDir, version } = options;
  const setDir = join(work, 'training-set');
  const set = await readTrainingSet(setDir).catch(() => makeTrainingSet(options, setDir));
  const figures = join(work, 'ranker.json');
  const incumbent = async (name: string, flag: string) =>
    promotedVersion(modelsDir, name).then(
      (serving) => [flag, join(modelsDir, name, serving)],
      () => [],
    );
  const { architecture, compare, size, weights } = options;
  await runTrainer('ranker.py', options, [
    ...['--data', setDir, '--out', outDir, '--version', version, '--json', figures, '--size', size],
    ...['--checkpoints', join(work, 'checkpoints'), '--weights', JSON.stringify(weights)],
    ...(architecture === undefined ? [] : ['--architecture', architecture]),
    ...(compare ? ['--compare'] : []),
    ...(await incumbent(MAIN_RANKER, '--incumbent')),
    ...(await incumbent(LIGHT_RANKER, '--incumbent-light')),
  ]);
  const { rows, positives, impressions, posts } = set;
  return { version, positives, impressions, posts, ...JSON.parse(await readFile(figures, 'utf8')), rows };
}

/** A complete set of an earlier run. Throws where there is none. */
async function readTrainingSet(dir: string): Promise<TrainingSetMeta> {
  return JSON.parse(await readFile(join(dir, 'meta.json'), 'utf8'));
}

async function makeTrainingSet(options: TrainRanker, outDir: string): Promise<TrainingSetMeta> {
  const { data, modelsDir, early, seed, maxRows } = options;
  const towersDir = early?.dir ?? modelsDir;
  const postTowerDir = await promotedFolder(towersDir, 'post-tower');
  const userTowerDir = await promotedFolder(towersDir, 'user-tower');
  const { manifest } = await loadModelArtifact(postTowerDir);
  const learnedUntil = manifest.data?.until;
  const fromMs = early?.fromMs ?? (typeof learnedUntil === 'number' ? learnedUntil : undefined);
  const pool = await EmbedPool.start({
    postTowerDir,
    userTowerDir,
    workers: Math.min(8, availableParallelism()),
  });
  const towers = poolTowers(pool);
  if (early) {
    towers.postTower = `post-tower@${early.servedVersion}`;
    towers.userTower = `user-tower@${early.servedVersion}`;
  }
  const progress = startProgress('training set');
  try {
    const features = FEATURES.map(({ id }) => id).filter((id) => !LEFT_OUT.includes(id));
    const onProgress = (_: string, done: number, total: number) => progress.update(done / total, done);
    const set = await writeTrainingSet({
      source: data.source,
      towers,
      outDir,
      features,
      seed,
      maxRows,
      fromMs,
      onProgress,
    });
    if (set.rows >= MIN_ROWS) return set;
    const since =
      fromMs === undefined ? '' : ` since ${new Date(fromMs).toISOString()}, which the towers do not know`;
    throw new Error(
      `${set.rows} impressions${since}, are too few to train a ranker on; --what all needs no new ones`,
    );
  } finally {
    progress.stop();
    await pool.close();
  }
}
