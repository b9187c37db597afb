// The two stores of the serving process: opened, traced, and behind their policies. Called by compose.
import type { Stores } from '../api/app-context.ts';
import type { Config } from '../config.ts';
import { openSqlStore, type SqlStore } from '../features/store/postgres-store.ts';
import { type OnlineStore, openStateStore } from '../features/store/state-store.ts';
import { redisTarget } from '../redis-settings.ts';
import type { Policies } from '../resilience/policies.ts';
import { guarded } from '../resilience.ts';
import { tracedSql, tracedState } from './operations.ts';

/** A database that is back is in use again within seconds: a place in the pool hangs no longer than this. */
const CONNECT_MS = 2000;

export async function openStores(
  config: Config,
  policies: Policies,
): Promise<{
  sql: SqlStore;
  /** What the API reads and writes of the SQL store; page texts behind a policy of their own. */
  ports: Omit<Stores, 'state' | 'sessions'>;
  state: OnlineStore;
  close(): Promise<void>;
}> {
  const sql = await openSqlStore({
    databaseUrl: config.DATABASE_URL,
    dataDir: config.DATA_DIR,
    poolSize: config.DATABASE_POOL,
    connectTimeoutMs: CONNECT_MS,
  });
  const close = () => sql.close();
  try {
    const state = await openStateStore({ redis: redisTarget(config), dataDir: config.DATA_DIR });
    const traced = tracedSql(sql);
    const guardedSql = guarded(traced, policies.sql);
    const texts = guarded(traced, policies.texts);
    return {
      sql: guardedSql,
      ports: { posts: guardedSql, texts, users: guardedSql, events: guardedSql, servingLog: guardedSql },
      state: guarded(tracedState(state), policies.state),
      close: async () => {
        await Promise.all([state.close(), close()]);
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}
