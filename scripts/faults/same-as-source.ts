// Whether what a replica and Redis hold is what PostgreSQL has: posts by number, users' histories entry by entry.
// Called by the updater's scenario.
import { deadlineIn } from '../../src/deadline.ts';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';
import { openStateStore } from '../../src/features/store/state-store.ts';
import { historyFrom } from '../../src/hydrate.ts';
import { HISTORY_LIMIT } from '../../src/vocabulary.ts';
import type { Service } from './service.ts';
import type { Site } from './site.ts';

export interface Comparison {
  posts: { source: number; replica: number };
  usersCompared: number;
  usersDifferent: string[];
}

const USERS = 60;
const TIME_MS = 10_000;

export async function compareWithSource(site: Site, service: Service): Promise<Comparison> {
  const open = new AsyncDisposableStack();
  try {
    const sql = await openSqlStore({ databaseUrl: site.postgres.directUrl, dataDir: site.folder });
    open.defer(() => sql.close());
    const state = await openStateStore({ redis: { url: site.redis.directUrl }, dataDir: site.folder });
    open.defer(() => state.close());
    const { index, models } = await service.health();
    const [{ count }] = await site.postgres.query<{ count: string }>(
      'select count(*) as count from posts where deleted_at is null',
    );
    const usersDifferent: string[] = [];
    for (let i = 0; i < USERS; i++) {
      const userId = `u${i}`;
      const events = await sql.recentEvents(userId, 2 * HISTORY_LIMIT, deadlineIn(TIME_MS));
      const posts = await sql.getPosts(
        events.map(({ postId }) => postId),
        deadlineIn(TIME_MS),
      );
      const online = await state.getState(userId, models['post-tower'], deadlineIn(TIME_MS));
      const wanted = historyFrom(events, posts).map(({ type, postId }) => `${type} ${postId}`);
      const found = (online?.history ?? []).map(({ type, postId }) => `${type} ${postId}`);
      if (wanted.sort().join() !== found.sort().join()) usersDifferent.push(userId);
    }
    return { posts: { source: Number(count), replica: index.posts }, usersCompared: USERS, usersDifferent };
  } finally {
    await open.disposeAsync();
  }
}
