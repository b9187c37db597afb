// Whether the replicas ranked with what PostgreSQL says: the features of sampled requests of a soak, recomputed as of
// their watermarks. Counters of posts and authors are among them. Called by soak.ts.
import { EmbedPool } from '../../src/features/embed-pool.ts';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';
import { promotedFolder } from '../../src/ranking/model-registry.ts';
import { MODELS_DIR } from '../faults/fault-world.ts';
import type { Site } from '../faults/site.ts';
import { diffFeatures, type FeatureDiff } from '../features/diff.ts';
import { featureStore } from '../features/feature-store.ts';

const SAMPLES = 2000;

/** @param taken whether a request at this time is one of those */
export async function diffServedFeatures(site: Site, taken: (atMs: number) => boolean): Promise<FeatureDiff> {
  const open = new AsyncDisposableStack();
  try {
    const sql = await openSqlStore({ databaseUrl: site.postgres.directUrl, dataDir: site.folder });
    open.defer(() => sql.close());
    const pool = await EmbedPool.start({
      postTowerDir: await promotedFolder(MODELS_DIR, 'post-tower'),
      userTowerDir: await promotedFolder(MODELS_DIR, 'user-tower'),
      workers: 1,
    });
    open.defer(() => pool.close());
    const store = featureStore(sql);
    return await diffFeatures({
      store: {
        ...store,
        samples: async (limit) => (await store.samples(limit)).filter(({ at }) => taken(at)),
      },
      embedPosts: (posts) => pool.embedPosts(posts),
      embedUsers: (users) => pool.embedUsers(users),
      samples: SAMPLES,
    });
  } finally {
    await open.disposeAsync();
  }
}
