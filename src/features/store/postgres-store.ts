// The SQL store: the five SQL ports over one pool, on a Postgres server or on the embedded PGlite.
// compose and the scripts open it; nothing outside knows which of the two answers.
import type {
  ChangeFeed,
  EventStore,
  Position,
  Post,
  PostStore,
  ServingLog,
  UserStore,
} from '../../contracts.ts';
import { type Deadline, deadlineIn } from '../../deadline.ts';
import { FeedrankError } from '../../errors.ts';
import { openPglite, type PgliteServer } from './pglite-server.ts';
import { PostgresChanges } from './postgres-changes.ts';
import { PostgresEvents } from './postgres-events.ts';
import { keepPartitions, type PartitionReport } from './postgres-partitions.ts';
import { PostgresPosts } from './postgres-posts.ts';
import { PostgresServingLog } from './postgres-serving-log.ts';
import { PostgresUsers } from './postgres-users.ts';
import { SqlClient } from './sql-client.ts';
import { type MigrationReport, migrate } from './sql-migrations.ts';

export interface SqlStore
  extends Omit<PostStore, 'scanPosts'>,
    UserStore,
    Omit<EventStore, 'scanEvents'>,
    ChangeFeed,
    ServingLog,
    Pick<PostgresPosts, 'scanPosts'>,
    Pick<PostgresEvents, 'scanEvents' | 'likesOf' | 'recentEventsOf'>,
    Pick<PostgresUsers, 'getUsers' | 'followersAsOf'>,
    Pick<PostgresChanges, 'horizon'> {
  readonly kind: 'postgres' | 'pglite';
  /** What opening did to the schema. */
  readonly migration: MigrationReport;
  ping(deadline: Deadline): Promise<void>;
  /** Drops serving-log records from before `beforeMs`; returns how many. */
  trimServingLog(beforeMs: number, deadline: Deadline): Promise<number>;
  /** Forgets tombstones (deleted posts, removed edges, erasures) from before `olderThanMs`; returns how many. */
  trimChanges(olderThanMs: number, deadline: Deadline): Promise<number>;
  /** Makes the events' partitions of the months to come, drops those past the retention (null = none). */
  keepPartitions(retentionDays: number | null, deadline: Deadline): Promise<PartitionReport>;
  /** Position of the server that scans read: with a read replica it may be behind `position`. */
  scanPosition(deadline: Deadline): Promise<Position>;
  /** Its connections, for the checkpoint of the change stream. */
  readonly client: SqlClient;
  close(): Promise<void>;
}

export interface SqlStoreOptions {
  /** `postgres://…`; absent = the embedded database in `dataDir`. */
  databaseUrl?: string;
  /** A read replica: post contents and the scans of the offline jobs are read there. */
  readUrl?: string;
  dataDir: string;
  /** Connections to Postgres; PGlite has one session and takes one. Default 10. */
  poolSize?: number;
  /** Upper bound of any statement on the server. Default 30 s. */
  statementTimeoutMs?: number;
  /** Until a connection to Postgres is open. Default: as long as a statement. */
  connectTimeoutMs?: number;
  /** For scripts: when another process owns the embedded database, use it through its socket. */
  attach?: boolean;
}

const MIGRATION_MS = 6 * 3_600_000;
const PARTITIONS_MS = 60_000;
/** Reads what is on the way of feeds and writes: a server that answers while its tables are locked is of no use. */
const PING = {
  name: 'ping',
  text: 'select (select 1 from posts limit 1), (select 1 from users limit 1), (select 1 from events limit 1)',
};
/** A replica that does not answer by then is passed over for the primary. */
const REPLICA_MS = 100;

/** Opens and migrates. Throws FeedrankError: `locked`, `unavailable`, `storage_full`, `conflict` (newer schema). */
export async function openSqlStore(options: SqlStoreOptions): Promise<SqlStore> {
  const statementTimeoutMs = options.statementTimeoutMs ?? 30_000;
  const connectTimeoutMs = options.connectTimeoutMs ?? statementTimeoutMs;
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
    connectTimeoutMs: server ? statementTimeoutMs : connectTimeoutMs,
    prepared: server === null,
  });
  const replica =
    options.databaseUrl && options.readUrl
      ? new SqlClient({
          connection: { connectionString: options.readUrl },
          poolSize: options.poolSize ?? 10,
          statementTimeoutMs,
          connectTimeoutMs,
          prepared: true,
        })
      : null;
  let closing: Promise<void> | null = null;
  const close = () => {
    closing ??= Promise.all([client.close(), replica?.close()]).then(() => server?.close());
    return closing;
  };
  try {
    const migration = await migrate(client, deadlineIn(MIGRATION_MS));
    await keepPartitions(client, null, Date.now(), deadlineIn(PARTITIONS_MS)).catch(ifNotPermitted);
    return assemble(client, replica, server ? 'pglite' : 'postgres', migration, close);
  } catch (error) {
    await close();
    throw error;
  }
}

function assemble(
  client: SqlClient,
  replica: SqlClient | null,
  kind: SqlStore['kind'],
  migration: MigrationReport,
  close: () => Promise<void>,
): SqlStore {
  const posts = new PostgresPosts(client);
  const users = new PostgresUsers(client);
  const events = new PostgresEvents(client);
  const changes = new PostgresChanges(client);
  const log = new PostgresServingLog(client);
  const readPosts = replica ? new PostgresPosts(replica) : posts;
  const readEvents = replica ? new PostgresEvents(replica) : events;
  const readChanges = replica ? new PostgresChanges(replica) : changes;
  return {
    kind,
    client,
    migration,
    putPosts: (batch, deadline) => posts.putPosts(batch, deadline),
    getPosts: (ids, deadline) =>
      replica ? readThrough(readPosts, posts, ids, deadline) : posts.getPosts(ids, deadline),
    deletePost: (id, deadline) => posts.deletePost(id, deadline),
    scanPosts: (batchSize, scan) => readPosts.scanPosts(batchSize, scan),
    putUsers: (batch, deadline) => users.putUsers(batch, deadline),
    getUser: (id, deadline) => users.getUser(id, deadline),
    setEdges: (edges, on, deadline) => users.setEdges(edges, on, deadline),
    eraseUser: (id, deadline) => users.eraseUser(id, deadline),
    appendEvents: (batch, deadline) => events.appendEvents(batch, deadline),
    scanEvents: (batchSize, scan) => readEvents.scanEvents(batchSize, scan),
    likesOf: (pairs, deadline) => events.likesOf(pairs, deadline),
    getUsers: (ids, deadline) => users.getUsers(ids, deadline),
    followersAsOf: (position, deadline) =>
      (replica ? new PostgresUsers(replica) : users).followersAsOf(position, deadline),
    horizon: (deadline) => changes.horizon(deadline),
    scanPosition: (deadline) => readChanges.position(deadline),
    keepPartitions: (retentionDays, deadline) => keepPartitions(client, retentionDays, Date.now(), deadline),
    recentEvents: (userId, limit, deadline) => events.recentEvents(userId, limit, deadline),
    recentEventsOf: (userIds, limit, deadline) => events.recentEventsOf(userIds, limit, deadline),
    scanUsers: (batchSize) => readEvents.scanUsers(batchSize),
    position: (deadline) => changes.position(deadline),
    read: (after, limit, deadline) => changes.read(after, limit, deadline),
    trimChanges: (olderThanMs, deadline) => changes.trimChanges(olderThanMs, deadline),
    append: (records, deadline) => log.append(records, deadline),
    scan: (batchSize) => log.scan(batchSize),
    trimServingLog: (beforeMs, deadline) => log.trimServingLog(beforeMs, deadline),
    ping: async (deadline) => {
      await client.query('database ping', PING, [], deadline);
    },
    close,
  };
}

/** A role without the right to make tables leaves them to one that has it: `npm run setup-db`, an updater. */
function ifNotPermitted(error: unknown): void {
  const cause = (error as { cause?: { code?: unknown } }).cause;
  if (cause?.code !== '42501') throw error;
}

/** From the replica; what it does not have yet, or cannot give in time, from the primary. */
async function readThrough(
  replica: PostgresPosts,
  primary: PostgresPosts,
  ids: readonly string[],
  deadline: Deadline,
): Promise<(Post | null)[]> {
  const within = deadline.within(Math.min(REPLICA_MS, deadline.remainingMs() / 2));
  const found = await replica.getPosts(ids, within).catch((error) => {
    if (error instanceof FeedrankError && error.code === 'invalid_input') throw error;
    return ids.map(() => null);
  });
  const missing = ids.filter((_, i) => found[i] === null);
  if (missing.length === 0) return found;
  const rest = await primary.getPosts(missing, deadline);
  let next = 0;
  return found.map((post) => post ?? rest[next++]);
}
