// The version of the post tower that the processes under test run: vectors are stored under it.
import { EmbedPool } from '../../../src/features/embed-pool.ts';
import { promotedFolder } from '../../../src/ranking/model-registry.ts';

export async function modelTower(): Promise<string> {
  const models = process.env.MODELS_DIR ?? 'models';
  const pool = await EmbedPool.start({
    postTowerDir: await promotedFolder(models, 'post-tower'),
    userTowerDir: await promotedFolder(models, 'user-tower'),
    workers: 1,
  });
  await pool.close();
  return pool.postTower;
}
