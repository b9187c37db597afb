// Export → towers.py → models/post-tower and models/user-tower. Called by scripts/train.ts.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promotedFolder } from '../../src/ranking/model-registry.ts';
import { startProgress } from '../import/progress.ts';
import { jsonlSink } from '../import/sink.ts';
import { runTrainer, type TrainerRun } from './run-trainer.ts';
import type { Comparison } from './train-ranker.ts';
import { exportBatches } from './training-data.ts';
import type { TrainingCurves } from './training-report.ts';

export interface TrainTowers extends TrainerRun {
  /** Only events before this time are learned from. */
  untilMs?: number;
  /** Whether the new towers are compared with those that serve. */
  compared: boolean;
}

export interface TowerFigures {
  version: string;
  metrics: Record<string, unknown>;
  comparison: Comparison | null;
  curves: Record<string, TrainingCurves>;
}

/** Returns the figures of the new towers; towers that are complete in `outDir` are not made again. */
export async function trainTowers(options: TrainTowers): Promise<TowerFigures> {
  const { data, work, modelsDir, outDir, version, untilMs, compared } = options;
  const figures = join(work, `towers-${untilMs ?? 'all'}.json`);
  const finished = await readFile(figures, 'utf8').catch(() => null);
  if (finished !== null) return { version, ...JSON.parse(finished) };
  const folder = join(work, `export-${untilMs ?? 'all'}`);
  const sink = await jsonlSink(folder);
  const progress = startProgress('export');
  for await (const batch of exportBatches(data.source, untilMs)) {
    await sink.write(batch);
    progress.update(0, sink.counts.posts + sink.counts.users + sink.counts.events);
  }
  await sink.close();
  progress.update(1, sink.counts.posts + sink.counts.users + sink.counts.events);
  progress.stop();
  // The text table that serves now is where training starts: words that the new data lacks keep their meaning.
  const serving = (name: string, flag: string) =>
    promotedFolder(modelsDir, name).then(
      (dir) => [flag, dir],
      () => [],
    );
  const incumbents = [
    await serving('post-tower', '--incumbent-post'),
    await serving('user-tower', '--incumbent-user'),
  ];
  await runTrainer('towers.py', options, [
    ...['--data', folder, '--out', outDir, '--version', version, '--json', figures],
    ...['--checkpoints', join(work, `tower-checkpoints-${untilMs ?? 'all'}`)],
    ...(await serving('post-tower', '--init')),
    ...(compared && incumbents.every((flags) => flags.length > 0) ? incumbents.flat() : []),
  ]);
  return { version, ...JSON.parse(await readFile(figures, 'utf8')) };
}
