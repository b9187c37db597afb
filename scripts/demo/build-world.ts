// Makes a served world from nothing: generates it into the SQL store, builds its index and its users' state.
// Called by the demo, the benchmarks and the evaluations that need a served world.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Manifest } from '../../src/candidates/index/artifact-manifest.ts';
import { EmbedPool } from '../../src/features/embed-pool.ts';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';
import { openStateStore } from '../../src/features/store/state-store.ts';
import { promotedFolder } from '../../src/ranking/model-registry.ts';
import { BuildProgressLine } from '../build-index/progress-line.ts';
import { runBuildIndex } from '../build-index/run.ts';
import type { World } from '../generate/world.ts';
import { writeWorld } from '../generate/write-world.ts';
import { startProgress } from '../import/progress.ts';
import { storeSink } from '../import/sink.ts';

export interface BuildWorldOptions {
  dataDir: string;
  modelsDir: string;
  /** Breadth of the graph's insertion; the calibration measures what it is worth. */
  efConstruction: number;
  /** What is built and measured; default all. Lists alone leave the graph out, which takes minutes a million. */
  search?: 'auto' | 'ivf';
}

/** The stores are those of `dataDir`, embedded. Throws what the stores and the build throw. */
export async function buildWorld(world: World, options: BuildWorldOptions): Promise<Manifest> {
  const { dataDir, modelsDir, efConstruction, search = 'auto' } = options;
  const sql = await openSqlStore({ dataDir });
  const state = await openStateStore({ dataDir });
  const workers = availableParallelism();
  const embedder = await EmbedPool.start({
    postTowerDir: await promotedFolder(modelsDir, 'post-tower'),
    userTowerDir: await promotedFolder(modelsDir, 'user-tower'),
    workers,
  });
  const line = new BuildProgressLine(process.stderr);
  try {
    const sink = storeSink(sql);
    const progress = startProgress('world');
    await writeWorld(world, sink, progress.update);
    await sink.close();
    progress.stop();
    const { manifest } = await runBuildIndex({
      indexDir: join(dataDir, 'index'),
      sqlStore: sql,
      stateStore: state,
      embedder,
      targetRecall: 0.95,
      k: 1000,
      search,
      m: 16,
      efConstruction,
      keep: 1,
      inFlight: workers * 2 + 2,
      onProgress: (step) => line.show(step),
    });
    return manifest;
  } finally {
    line.end();
    await embedder.close();
    await state.close();
    await sql.close();
  }
}
