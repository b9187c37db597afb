// Training set → ranker.py → models/ranker and models/ranker-light. Called by scripts/train.ts.
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { EmbedPool } from '../../src/features/embed-pool.ts';
import { FEATURES, type FeatureId } from '../../src/features/feature-schema.ts';
import { promotedVersion } from '../../src/ranking/model-registry.ts';
import { startProgress } from '../import/progress.ts';
import { runTrainer, type TrainerRun } from './run-trainer.ts';
import { writeTrainingSet } from './training-set.ts';
import { poolTowers } from './training-set-source.ts';

/**
 * Single coordinates tie a model to one post space and gain nothing over the cosines: on the generated world of seed
 * 7, 60,000 posts, click AUC .757 with them, .763 without; NDCG@50 on another world .552 against .593.
 */
const LEFT_OUT: readonly FeatureId[] = ['hadamard@1'];

export interface TrainRanker extends TrainerRun {
  /** Version of the towers; absent = the promoted ones. */
  towerVersion: string | undefined;
  maxRows: number;
}

/** Returns the figures of both models and of the set. */
export async function trainRanker(options: TrainRanker): Promise<object> {
  const { data, work, modelsDir, version, towerVersion, seed, maxRows } = options;
  const tower = async (name: string) =>
    join(modelsDir, name, towerVersion ?? (await promotedVersion(modelsDir, name)));
  const pool = await EmbedPool.start({
    postTowerDir: await tower('post-tower'),
    userTowerDir: await tower('user-tower'),
    workers: Math.min(8, availableParallelism()),
  });
  const outDir = join(work, 'training-set');
  const progress = startProgress('training set');
  let set: Awaited<ReturnType<typeof writeTrainingSet>>;
  try {
    set = await writeTrainingSet({
      source: data.source,
      towers: poolTowers(pool),
      outDir,
      features: FEATURES.map(({ id }) => id).filter((id) => !LEFT_OUT.includes(id)),
      seed,
      maxRows,
      onProgress: (_, done, total) => progress.update(done / total, done),
    });
  } finally {
    progress.stop();
    await pool.close();
  }
  const figures = join(work, 'ranker.json');
  await runTrainer('ranker.py', options, [
    ...['--data', outDir, '--out', modelsDir, '--version', version, '--json', figures],
  ]);
  const { rows, positives, impressions, posts } = set;
  return { version, rows, positives, impressions, posts, ...JSON.parse(await readFile(figures, 'utf8')) };
}
