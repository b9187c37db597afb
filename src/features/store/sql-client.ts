// A pg Pool behind deadlines: one place for checkout, time limits, transactions, retries and error mapping.
// Works the same over Postgres and over PGlite's socket. Called by the postgres-*.ts adapters.
import pg from 'pg';
import { type Deadline, deadlineIn, raceDeadline } from '../../deadline.ts';
import { FeedrankError } from '../../errors.ts';
import { isRetryable, sqlError } from './sql-errors.ts';

export interface SqlClientOptions {
  connection: { connectionString: string } | { host: string; port: number; user: string; database: string };
  /** Connections in the pool. */
  poolSize: number;
  /** Upper bound of any statement, on the server, whatever the caller's deadline. */
  statementTimeoutMs: number;
  /** Until a new connection is open: behind a black hole its place in the pool is free again by then. */
  connectTimeoutMs: number;
  /** Named (prepared) statements: off where connections share one session, as over PGlite. */
  prepared: boolean;
}

export interface Statement {
  /** Unique in the program: the prepared statement's name. */
  name: string;
  text: string;
}

type Row = Record<string, unknown>;

export type Run = <R = Row>(statement: Statement, values?: unknown[]) => Promise<R[]>;

const INT8_OID = 20;
const TRANSACTION_TRIES = 3;
/** A statement that is stopped no sooner ends by the server's own limit. */
const CANCEL_MS = 1000;

// Every statement here follows an index. Without statistics (PGlite has no autovacuum, a server has none right after
// an import) the planner sorts whole tables instead: 2.5 s against 34 ms for 5,000 of 200,000 changes. The penalty on
// other plans looks like a huge query to the JIT compiler, which then takes 2 s: off as well.
const PLANNER_SETTINGS = 'set enable_bitmapscan = off; set enable_seqscan = off; set jit = off';

// int8 (counts, sequence numbers) as numbers: all of ours stay below 2^53.
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === INT8_OID && format !== 'binary'
      ? Number
      : // biome-ignore lint/suspicious/noExplicitAny: pg's overloads do not take a plain number
        pg.types.getTypeParser(oid as any, format as any)) as typeof pg.types.getTypeParser,
};

export class SqlClient {
  readonly #pool: pg.Pool;
  readonly #prepared: boolean;
  readonly #statementTimeoutMs: number;
  #closed = false;

  constructor(options: SqlClientOptions) {
    const settings = { text: PLANNER_SETTINGS, query_timeout: options.connectTimeoutMs };
    this.#prepared = options.prepared;
    this.#statementTimeoutMs = options.statementTimeoutMs;
    this.#pool = new pg.Pool({
      ...options.connection,
      max: options.poolSize,
      idleTimeoutMillis: 30_000,
      // pg-pool's limit is for the wait in its queue too, where the callers' deadlines are shorter; a client has its own.
      connectionTimeoutMillis: options.statementTimeoutMs,
      Client: clientThatConnectsWithin(options.connectTimeoutMs),
      statement_timeout: options.statementTimeoutMs,
      idle_in_transaction_session_timeout: options.statementTimeoutMs * 2,
      application_name: 'feedrank',
      keepAlive: true,
      allowExitOnIdle: true,
      types,
      onConnect: async (client: pg.ClientBase) => {
        await client.query(settings);
      },
    } as pg.PoolConfig);
    // An idle connection that breaks is dropped by the pool; without a handler it would end the process.
    this.#pool.on('error', () => {});
  }

  /** One statement in its own transaction. */
  async query<R = Row>(
    what: string,
    statement: Statement,
    values: unknown[],
    deadline: Deadline,
  ): Promise<R[]> {
    return this.#withConnection(what, deadline, (run) => run<R>(statement, values));
  }

  /** Reads of the offline jobs: no caller's deadline, only the server's limit per statement. */
  async scan<R = Row>(what: string, statement: Statement, values: unknown[]): Promise<R[]> {
    return this.query(what, statement, values, deadlineIn(this.#statementTimeoutMs));
  }

  /** Statements on one connection, each in its own transaction unless `work` opens one. */
  async session<T>(what: string, deadline: Deadline, work: (run: Run) => Promise<T>): Promise<T> {
    return this.#withConnection(what, deadline, (run) => work(run));
  }

  /** Commits when `work` resolves, rolls back when it throws; run again after a deadlock. */
  async transaction<T>(what: string, deadline: Deadline, work: (run: Run) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#withConnection(what, deadline, async (run, client) => {
          const limit = Math.max(1, Math.ceil(Math.min(deadline.remainingMs(), this.#statementTimeoutMs)));
          await client.query(`begin; set local statement_timeout = ${limit}`);
          try {
            const value = await work(run);
            await run({ name: '', text: 'commit' });
            return value;
          } catch (error) {
            await client.query('rollback').catch(() => {});
            throw error;
          }
        });
      } catch (error) {
        const cause = (error as FeedrankError).cause;
        if (attempt >= TRANSACTION_TRIES || !isRetryable(cause) || deadline.remainingMs() === 0) throw error;
      }
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#pool.end();
  }

  async #withConnection<T>(
    what: string,
    deadline: Deadline,
    work: (run: Run, client: pg.PoolClient) => Promise<T>,
  ): Promise<T> {
    const client = await this.#checkOut(what, deadline);
    let broken = true;
    const run: Run = async <R>(statement: Statement, values?: unknown[]) => {
      const remainingMs = deadline.remainingMs();
      if (remainingMs <= 0) throw new FeedrankError('timeout', `${what}: no time left`);
      const config = {
        name: this.#prepared && statement.name !== '' ? statement.name : undefined,
        text: statement.text,
        values,
        query_timeout: Math.ceil(remainingMs),
      };
      const result = await client.query(config);
      return result.rows as R[];
    };
    // A connection that breaks during checkout reports it to the query in progress; this keeps the process alive.
    const ignore = () => {};
    client.on('error', ignore);
    try {
      const value = await work(run, client);
      broken = false;
      return value;
    } catch (error) {
      // The server's own complaint leaves the connection usable; a timeout or a broken socket does not.
      broken = typeof (error as { severity?: unknown }).severity !== 'string';
      throw sqlError(error, what);
    } finally {
      client.off('error', ignore);
      client.release(broken);
      // A statement whose caller gave up must not commit later: the server is told to stop it.
      if (broken && this.#prepared) this.#cancel((client as { processID?: number | null }).processID);
    }
  }

  #cancel(processId: number | null | undefined): void {
    if (processId == null || this.#closed) return;
    const cancel = {
      text: 'select pg_cancel_backend($1)',
      values: [processId],
      query_timeout: CANCEL_MS,
    };
    this.#pool.query(cancel).catch(() => {});
  }

  async #checkOut(what: string, deadline: Deadline): Promise<pg.PoolClient> {
    if (this.#closed) throw new FeedrankError('unavailable', `${what}: the store is closed`);
    if (deadline.remainingMs() <= 0) throw new FeedrankError('timeout', `${what}: no time left`);
    const pending = this.#pool.connect();
    try {
      return await raceDeadline(pending, deadline, what);
    } catch (error) {
      // A connection that arrives after its caller gave up goes back to the pool.
      pending.then(
        (client) => client.release(),
        () => {},
      );
      throw sqlError(error, what);
    }
  }
}

function clientThatConnectsWithin(connectTimeoutMs: number): typeof pg.Client {
  return class extends pg.Client {
    constructor(config?: string | pg.ClientConfig) {
      super({ ...(config as pg.ClientConfig), connectionTimeoutMillis: connectTimeoutMs });
    }
  };
}
