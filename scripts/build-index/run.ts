// The build against the ports: reads everything from the SQL store, builds and publishes the index, and writes the
// users' online state meanwhile. Called by scripts/build-index.ts and by the demo.
import type { Manifest } from '../../src/candidates/index/artifact-manifest.ts';
import { type BuildOptions, type BuildProgress, buildIndex } from '../../src/candidates/index/build.ts';
import type { PostTable } from '../../src/candidates/index/post-table.ts';
import type {
  ChangeFeed,
  Edge,
  EventStore,
  Position,
  PostStore,
  StateStore,
  UserStore,
} from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { invalid } from '../../src/errors.ts';
import type { SqlStore } from '../../src/features/store/postgres-store.ts';
import { towerPost } from '../../src/post-text.ts';
import type { TowerInput } from '../../src/user-embedder.ts';
import { DIM } from '../../src/vocabulary.ts';
import { NameCollector } from './post-names.ts';
import { UserChanges } from './user-changes.ts';
import { UserHistories } from './user-histories.ts';
import { writeUsers } from './write-users.ts';

/** What the build needs of features/embed-pool.ts. */
export interface Embedder {
  readonly dim: number;
  /** `post-tower@1`. */
  readonly postTower: string;
  embedPosts(posts: { id: string; authorId: string; topic?: string; text?: string }[]): Promise<Float32Array>;
  embedUsers(users: TowerInput[]): Promise<Float32Array>;
}

export interface RunBuildIndex
  extends Pick<
    BuildOptions,
    | 'k'
    | 'targetRecall'
    | 'm'
    | 'efConstruction'
    | 'shards'
    | 'search'
    | 'graphFromRows'
    | 'keep'
    | 'inFlight'
  > {
  indexDir: string;
  sqlStore: PostStore &
    EventStore &
    ChangeFeed &
    Pick<UserStore, 'getUser'> &
    Pick<SqlStore, 'scanPosts' | 'scanEvents' | 'scanPosition' | 'followersAsOf'>;
  /** Segments of time that posts and events are read in at once; default 1. */
  partitions?: number;
  /** Where users' vectors, histories, edges and profiles go; null leaves them alone. */
  stateStore: StateStore | null;
  embedder: Embedder;
  onProgress?: (progress: BuildProgress | { stage: 'users'; done: number; total: number | null }) => void;
}

export interface BuildSummary {
  manifest: Manifest;
  usersWritten: number;
  seconds: number;
}

const POST_BATCH = 1024;
const EVENT_BATCH = 5000;
const USER_BATCH = 512;
const FOLLOWERS_MS = 30 * 60_000;

/** Throws as buildIndex does: locked, storage_full, corrupt_artifact, invalid_input, and what the stores throw. */
export async function runBuildIndex(options: RunBuildIndex): Promise<BuildSummary> {
  const { sqlStore, stateStore, embedder, partitions = 1 } = options;
  if (embedder.dim !== DIM)
    throw invalid('post tower', `makes ${embedder.dim} dimensions, the index holds ${DIM}`);
  const startedAt = performance.now();
  const report = options.onProgress ?? (() => {});
  const nowMs = Date.now();
  const histories = new UserHistories(nowMs);
  const collector = new NameCollector();
  // Read before everything else: what is committed later is replayed by whoever serves this index.
  const position = await sqlStore.scanPosition(deadlineIn(30_000));
  const changes = stateStore && new UserChanges(sqlStore, stateStore, position);
  let usersWritten = 0;
  const manifest = await buildIndex({
    ...options,
    tower: embedder.postTower,
    position,
    posts: collector.watch(sqlStore.scanPosts(POST_BATCH, { partitions })),
    embed: (posts) => embedder.embedPosts(posts.map(towerPost)),
    // What was committed at or after the position is left out, whatever its time: the replay brings it.
    events: sqlStore.scanEvents(EVENT_BATCH, { before: position, partitions }),
    onEvent: (event, row) => histories.add(event, row),
    edges: followsAsOf(sqlStore, position),
    queries: async (table: PostTable) => {
      const { written, sample } = await writeUsers({
        table,
        names: collector.names(table),
        histories,
        users: sqlStore.scanUsers(USER_BATCH),
        state: stateStore,
        changes,
        tower: embedder.postTower,
        embedUsers: (users) => embedder.embedUsers(users),
        nowMs,
        onProgress: (done) => report({ stage: 'users', done, total: null }),
      });
      usersWritten = written;
      return sample;
    },
    onProgress: report,
  });
  return { manifest, usersWritten, seconds: (performance.now() - startedAt) / 1000 };
}

/** As many follows of each author as were active at the position. */
async function* followsAsOf(
  store: Pick<SqlStore, 'followersAsOf'>,
  position: Position,
): AsyncIterable<Edge[]> {
  const followers = await store.followersAsOf(position, deadlineIn(FOLLOWERS_MS));
  for (const [target, count] of followers) {
    const follow: Edge = { userId: '', kind: 'follow', target, createdAt: 0 };
    for (let left = count; left > 0; left -= USER_BATCH)
      yield new Array(Math.min(left, USER_BATCH)).fill(follow);
  }
}
