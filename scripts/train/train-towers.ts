// Export → towers.py → models/post-tower and models/user-tower. Called by scripts/train.ts.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promotedVersion } from '../../src/ranking/model-registry.ts';
import { startProgress } from '../import/progress.ts';
import { jsonlSink } from '../import/sink.ts';
import { runTrainer, type TrainerRun } from './run-trainer.ts';
import { exportBatches } from './training-data.ts';

export interface TrainTowers extends TrainerRun {
  /** Models folder whose promoted post tower training starts from. */
  initDir: string;
  /** Only events before this time are learned from. */
  untilMs?: number;
}

/** Returns the metrics of the new towers. */
export async function trainTowers(options: TrainTowers): Promise<object> {
  const { data, work, modelsDir, initDir, version, untilMs } = options;
  const folder = join(work, 'export');
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
  const init = await promotedVersion(initDir, 'post-tower').then(
    (serving) => join(initDir, 'post-tower', serving),
    () => null,
  );
  const start = init && existsSync(init) ? ['--init', init] : [];
  await runTrainer('towers.py', options, [
    ...['--data', folder, '--out', modelsDir, '--version', version, ...start],
  ]);
  const manifest = JSON.parse(
    await readFile(join(modelsDir, 'post-tower', version, 'manifest.json'), 'utf8'),
  );
  return { version, exported: sink.counts, metrics: manifest.metrics };
}
