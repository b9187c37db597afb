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
import { startProgress } from '../import/progress.ts';
import { runTrainer, type TrainerRun } from './run-trainer.ts';
import { writeTrainingSet } from './training-set.ts';
import { poolTowers } from './training-set-source.ts';

/**
 * Single coordinates tie a model to one post space and gain nothing over the cosines: on the generated world of seed
 * 7, 60,000 posts, click AUC .757 with them, .763 without; NDCG@50 on another world .552 against .593.
 */
const LEFT_OUT: readonly FeatureId[] = ['hadamard@1'];

/** As in ranker.py. */
const MIN_ROWS = 1000;

export interface TrainRanker extends TrainerRun {
  maxRows: number;
  /**
   * Towers that have not seen the events since `fromMs`, to make the vectors with, and the version that will serve.
   * Absent = the promoted towers, and the events since their training.
   */
  early?: { dir: string; fromMs: number; servedVersion: string };
}

export interface RankerFigures {
  version: string;
  rows: number;
  /** Mean AUC over the heads on the last tenth of the rows, of the new model and of the one that serves now. */
  comparison: Record<string, { meanAuc: number; incumbentMeanAuc: number | null }>;
  [figure: string]: unknown;
}

/** Whether a new model is to serve: it has no predecessor that did better on the same, newest rows. */
export function isImprovement(figures: RankerFigures, name: string): boolean {
  const { meanAuc, incumbentMeanAuc } = figures.comparison[name];
  return incumbentMeanAuc === null || meanAuc >= incumbentMeanAuc;
}

/**
 * Returns the figures of both models and of the set. A tower's vectors of events that it was trained on know their
 * outcome; a ranker that learned from those would trust similarity far too much.
 */
export async function trainRanker(options: TrainRanker): Promise<RankerFigures> {
  const { data, work, modelsDir, version, early, seed, maxRows } = options;
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
  const outDir = join(work, 'training-set');
  const progress = startProgress('training set');
  let set: Awaited<ReturnType<typeof writeTrainingSet>>;
  try {
    set = await writeTrainingSet({
      source: data.source,
      towers,
      outDir,
      features: FEATURES.map(({ id }) => id).filter((id) => !LEFT_OUT.includes(id)),
      seed,
      maxRows,
      fromMs,
      onProgress: (_, done, total) => progress.update(done / total, done),
    });
  } finally {
    progress.stop();
    await pool.close();
  }
  if (set.rows < MIN_ROWS) {
    const since =
      fromMs === undefined ? '' : ` since ${new Date(fromMs).toISOString()}, which the towers do not know`;
    throw new Error(
      `${set.rows} impressions${since}, are too few to train a ranker on; --what all needs no new ones`,
    );
  }
  const figures = join(work, 'ranker.json');
  const incumbent = async (name: string, flag: string) =>
    promotedVersion(modelsDir, name).then(
      (serving) => [flag, join(modelsDir, name, serving)],
      () => [],
    );
  await runTrainer('ranker.py', options, [
    ...['--data', outDir, '--out', modelsDir, '--version', version, '--json', figures],
    ...(await incumbent(MAIN_RANKER, '--incumbent')),
    ...(await incumbent(LIGHT_RANKER, '--incumbent-light')),
  ]);
  const { rows, positives, impressions, posts } = set;
  return { version, rows, positives, impressions, posts, ...JSON.parse(await readFile(figures, 'utf8')) };
}
