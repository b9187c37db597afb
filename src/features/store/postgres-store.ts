// The SQL store: the five SQL ports over one pool, on a Postgres server or on the embedded PGlite.
// compose and the scripts open it; nothing outside knows which of the two answers.
import type { ChangeFeed, EventStore, PostStore, ServingLog, UserStore } from '../../contracts.ts';
import { type Deadline, deadlineIn } from '../../deadline.ts';
import { openPglite, type PgliteServer } from './pglite-server.ts';
import { PostgresChanges } from './postgres-changes.ts';
import { PostgresEvents } from './postgres-events.ts';
import { PostgresPosts } from './postgres-posts.ts';
import { PostgresServingLog } from './postgres-serving-log.ts';
import { PostgresUsers } from './postgres-users.ts';
import { SqlClient } from './sql-client.ts';
import { type MigrationReport, migrate } from './sql-migrations.ts';

export interface SqlStore extends PostStore, UserStore, EventStore, ChangeFeed, ServingLog {
  readonly kind: 'postgres' | 'pglite';
  /** What opening did to the schema. */
  readonly migration: MigrationReport;
  ping(deadline: Deadline): Promise<void>;
  /** Drops serving-log records from before `beforeMs`; returns how many. */
  trimServingLog(beforeMs: number, deadline: Deadline): Promise<number>;
  /** Forgets tombstones (deleted posts, removed edges, erasures) from before `olderThanMs`; returns how many. */
  trimChanges(olderThanMs: number, deadline: Deadline): Promise<number>;
  close(): Promise<void>;
}

export interface SqlStoreOptions {
  /** `postgres://…`; absent = the embedded database in `dataDir`. */
  databaseUrl?: string;
  dataDir: string;
  /** Connections to Postgres; PGlite has one session and takes one. Default 10. */
  poolSize?: number;
  /** Upper bound of any statement on the server. Default 30 s. */
  statementTimeoutMs?: number;
  /** For scripts: when another process owns the embedded database, use it through its socket. */
  attach?: boolean;
}

const MIGRATION_MS = 10 * 60_000;

/** Opens and migrates. Throws FeedrankError: `locked`, `unavailable`, `storage_full`, `conflict` (newer schema). */
export async function openSqlStore(options: SqlStoreOptions): Promise<SqlStore> {
  const statementTimeoutMs = options.statementTimeoutMs ?? 30_000;
  let server: PgliteServer | null = null;
  let connection: ConstructorParameters<typeof SqlClient>[0]['connection'];
  if (options.databaseUrl) {
    connection = { connectionString: options.databaseUrl };
  } else {
    server = await openPglite(options);
    connection = server.connection;
  }
  const client = new SqlClient({
    connection,
    poolSize: server ? 1 : (options.poolSize ?? 10),
    statementTimeoutMs,
    prepared: server === null,
  });
  let closing: Promise<void> | null = null;
  const close = () => {
    closing ??= client.close().then(() => server?.close());
    return closing;
  };
  try {
    const migration = await migrate(client, deadlineIn(MIGRATION_MS));
    return assemble(client, server ? 'pglite' : 'postgres', migration, close);
  } catch (error) {
    await close();
    throw error;
  }
}

function assemble(
  client: SqlClient,
  kind: SqlStore['kind'],
  migration: MigrationReport,
  close: () => Promise<void>,
): SqlStore {
  const posts = new PostgresPosts(client);
  const users = new PostgresUsers(client);
  const events = new PostgresEvents(client);
  const changes = new PostgresChanges(client);
  const log = new PostgresServingLog(client);
  return {
    kind,
    migration,
    putPosts: (batch, deadline) => posts.putPosts(batch, deadline),
    getPosts: (ids, deadline) => posts.getPosts(ids, deadline),
    deletePost: (id, deadline) => posts.deletePost(id, deadline),
    scanPosts: (batchSize) => posts.scanPosts(batchSize),
    putUsers: (batch, deadline) => users.putUsers(batch, deadline),
    getUser: (id, deadline) => users.getUser(id, deadline),
    setEdges: (edges, on, deadline) => users.setEdges(edges, on, deadline),
    eraseUser: (id, deadline) => users.eraseUser(id, deadline),
    appendEvents: (batch, deadline) => events.appendEvents(batch, deadline),
    scanEvents: (batchSize) => events.scanEvents(batchSize),
    recentEvents: (userId, limit, deadline) => events.recentEvents(userId, limit, deadline),
    scanUsers: (batchSize) => events.scanUsers(batchSize),
    position: (deadline) => changes.position(deadline),
    read: (after, limit, deadline) => changes.read(after, limit, deadline),
    trimChanges: (olderThanMs, deadline) => changes.trimChanges(olderThanMs, deadline),
    append: (records, deadline) => log.append(records, deadline),
    scan: (batchSize) => log.scan(batchSize),
    trimServingLog: (beforeMs, deadline) => log.trimServingLog(beforeMs, deadline),
    ping: (deadline) => client.ping(deadline),
    close,
  };
}
