// The feed side of a replica in the simulation: the real pages, hydration and fallbacks, with a pipeline that is one job
// of a fake worker.
import { PRIORITIES } from '../../../../src/admission.ts';
import type { CatalogueEntry, CatalogueView, Ranker, SlateResult } from '../../../../src/api/app-context.ts';
import { FeedCursors } from '../../../../src/api/feed-cursor.ts';
import { FeedPages } from '../../../../src/api/feed-pages.ts';
import { FeedSessions } from '../../../../src/api/feed-sessions.ts';
import { LastGoodSlates } from '../../../../src/api/last-good-slates.ts';
import { PostCache } from '../../../../src/api/post-cache.ts';
import { SeenRecorder } from '../../../../src/api/seen-recorder.ts';
import { UserEdges } from '../../../../src/api/user-edges.ts';
import type {
  EventStore,
  PostStore,
  SessionStore,
  SlatePost,
  StateStore,
  UserStore,
} from '../../../../src/contracts.ts';
import { type HydratedUser, UserHydrator } from '../../../../src/hydrate.ts';
import type { WorkerPool } from '../../../../src/pool.ts';
import { UserEmbedder } from '../../../../src/user-embedder.ts';
import { POSTS } from './faults.ts';

const ENTRY = { authorLo: 0, authorHi: 0, topic: 0 } as CatalogueEntry;

/** The feed pages of a replica over these stores and workers; only the catalogue is made up. */
export function feedPages(
  state: StateStore & SessionStore,
  sql: PostStore & UserStore & EventStore,
  pool: WorkerPool,
): FeedPages {
  const now = () => Date.now();
  const vector = new Float32Array(64).fill(0.125);
  const embedder = new UserEmbedder({
    state,
    tower: 't1',
    lookup: () => ({ dim: 64, vectors: vector, rowOf: () => -1 }),
    embedUsers: async () => vector,
  });
  const hydrator = new UserHydrator({
    state,
    users: sql,
    events: sql,
    posts: sql,
    embedder,
    tower: 't1',
    coldStart: async () => vector,
    coldVector: vector,
  });
  const ranker: Ranker = {
    slate: async (request, deadline) => {
      const user = await hydrator.hydrate(request.userId, deadline);
      const job = { exclude: request.exclude, quality: request.quality ?? 1 };
      const urgency = PRIORITIES.indexOf(request.priority ?? 'interactive');
      const { seen, showSensitive } = user.packed;
      if (user.known) request.onReader?.({ edges: user.edges, seen, showSensitive });
      const posts = (await pool.run('feed', job, deadline.atMs, urgency, request.signal)) as SlatePost[];
      return slateOf(request.requestId, posts, user);
    },
  };
  const catalogue: Pick<CatalogueView, 'find' | 'trending' | 'isStale'> = {
    find: () => ENTRY,
    isStale: () => false,
    trending: (limit: number) => POSTS.slice(0, limit).map(({ id }) => id),
  };
  return new FeedPages({
    config: { slateSize: 6, exploreShare: 0, textsWaitMs: 100 },
    clock: { now },
    ranker,
    catalogue,
    cursors: new FeedCursors('a secret of sixteen characters'),
    sessions: new FeedSessions(state, 60_000, now),
    edges: new UserEdges(state, sql),
    posts: new PostCache(sql, 4),
    seen: new SeenRecorder(state, now, () => {}),
    lastGood: new LastGoodSlates(catalogue, now),
  });
}

/** What the pipeline would say of a slate of full quality, but for the user. */
function slateOf(requestId: string, posts: SlatePost[], user: HydratedUser): SlateResult {
  return {
    requestId,
    posts,
    generation: 'g1',
    model: 'ranker@1',
    rules: 'r1',
    search: 'exact',
    degraded: user.degraded,
    failures: [],
    stageMs: {},
    counts: { retrieved: posts.length, kept: posts.length, ranked: posts.length },
    userVersion: user.version,
    embeddingKind: user.packed.embeddingKind,
    edges: user.edges,
    watermark: 'w1',
  } as SlateResult;
}
