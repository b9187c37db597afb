// Whether the users' online state is what a full rebuild gives: builds the index anew from PostgreSQL, its users into an
// empty Redis, and compares every user of both. Called by soak.ts.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Edge, UserState } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { EmbedPool } from '../../src/features/embed-pool.ts';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';
import { openStateStore } from '../../src/features/store/state-store.ts';
import { promotedFolder } from '../../src/ranking/model-registry.ts';
import { startRedis } from '../../test/setup/redis-server.ts';
import { runBuildIndex } from '../build-index/run.ts';
import { MODELS_DIR } from '../faults/fault-world.ts';
import type { Site } from '../faults/site.ts';

export interface RebuiltComparison {
  users: number;
  /** Users whose history, edges or stored profile differ in anything; the first ones by name. */
  different: number;
  examples: string[];
  /** Users with a vector on one side only. */
  vectorsMissing: number;
  /** Smallest cosine of the two vectors of a user: the ages in a vector's history are those of its making. */
  smallestCosine: number | null;
}

const BATCH = 200;
const EXAMPLES = 5;
const TIME_MS = 30_000;

export async function compareWithRebuild(site: Site, cacheDir: string): Promise<RebuiltComparison> {
  const open = new AsyncDisposableStack();
  try {
    const dataDir = join(site.folder, 'rebuilt');
    mkdirSync(dataDir);
    const sql = await openSqlStore({ databaseUrl: site.postgres.directUrl, dataDir });
    open.defer(() => sql.close());
    const empty = await startRedis(join(cacheDir, 'servers'));
    open.defer(() => empty.stop());
    const rebuilt = await openStateStore({ redis: { url: empty.url }, dataDir });
    open.defer(() => rebuilt.close());
    const online = await openStateStore({ redis: { url: site.redis.directUrl }, dataDir });
    open.defer(() => online.close());
    const embedder = await EmbedPool.start({
      postTowerDir: await promotedFolder(MODELS_DIR, 'post-tower'),
      userTowerDir: await promotedFolder(MODELS_DIR, 'user-tower'),
      workers: 2,
    });
    open.defer(() => embedder.close());
    await runBuildIndex({
      indexDir: join(dataDir, 'index'),
      sqlStore: sql,
      stateStore: rebuilt,
      embedder,
      search: 'exact',
    });
    const ids = await site.postgres.query<{ id: string; profile: boolean }>(
      `select id, bool_or(profile) as profile from (
         select distinct user_id as id, false as profile from events union all select id, true from users
       ) known group by id order by id`,
    );
    const found: RebuiltComparison = {
      users: ids.length,
      different: 0,
      examples: [],
      vectorsMissing: 0,
      smallestCosine: null,
    };
    for (let at = 0; at < ids.length; at += BATCH) {
      await Promise.all(
        ids.slice(at, at + BATCH).map(async ({ id, profile }) => {
          const [left, right] = await Promise.all(
            [online, rebuilt].map((store) => store.getState(id, embedder.postTower, deadlineIn(TIME_MS))),
          );
          if (factsOf(left, profile) !== factsOf(right, profile)) {
            found.different++;
            if (found.examples.length < EXAMPLES) found.examples.push(id);
          }
          compareVectors(found, left?.embedding ?? null, right?.embedding ?? null);
        }),
      );
    }
    return found;
  } finally {
    await open.disposeAsync();
  }
}

/** What must be the same, in one order. A user without a stored profile has one that a request made up. */
function factsOf(state: UserState | null, profile: boolean): string {
  const history = (state?.history ?? []).map(({ postId, authorId, topic, type, at, dwellMs }) =>
    [at, type, postId, authorId, topic, dwellMs].join(' '),
  );
  const edges = (state?.edges ?? []).map(({ kind, target, createdAt }: Edge) =>
    [kind, target, createdAt].join(' '),
  );
  const user = profile && state?.user ? Object.entries(state.user).sort() : null;
  return JSON.stringify([history.sort(), edges.sort(), user]);
}

function compareVectors(
  found: RebuiltComparison,
  left: Float32Array | null,
  right: Float32Array | null,
): void {
  if (left === null && right === null) return;
  if (left === null || right === null) {
    found.vectorsMissing++;
    return;
  }
  const cosine = left.reduce((sum, value, i) => sum + value * right[i], 0);
  found.smallestCosine = Number(Math.min(found.smallestCosine ?? 1, cosine).toFixed(5));
}
