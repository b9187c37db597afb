// One leader among the updaters of a database: whoever holds an advisory lock, for as long as its connection lives. The
// server lets it go when the leader's process dies.
import pg from 'pg';

/** Any fixed number; with the slot's hash it names the lock. */
const LEADER_LOCK = 7_316_004;
const TRY_MS = 300;

export interface Leadership {
  /** Resolves when the lock is lost, with the reason. */
  lost: Promise<string>;
  release(): Promise<void>;
}

/** Waits until this process leads; null when `signal` was aborted first. A connection that fails is tried again. */
export async function becomeLeader(
  connectionString: string,
  slot: string,
  signal: AbortSignal,
  onFailure: (reason: string) => void,
): Promise<Leadership | null> {
  while (!signal.aborted) {
    const client = new pg.Client({
      connectionString,
      application_name: 'feedrank-leader',
      keepAlive: true,
      connectionTimeoutMillis: 5_000,
    });
    let lose: (reason: string) => void = () => {};
    const lost = new Promise<string>((resolve) => {
      lose = resolve;
    });
    client.on('error', (error) => lose(error.message));
    client.on('end', () => lose('the connection ended'));
    const end = () => client.end().catch(() => {});
    try {
      await client.connect();
      // A leader's machine that vanished is noticed within half a minute.
      await client.query(
        'set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3',
      );
      while (!signal.aborted) {
        const { rows } = await client.query<{ locked: boolean }>(
          'select pg_try_advisory_lock($1, hashtext($2)) as locked',
          [LEADER_LOCK, slot],
        );
        if (rows[0].locked) return { lost, release: end };
        await sleep(TRY_MS);
      }
    } catch (error) {
      onFailure(error instanceof Error ? error.message : String(error));
      await sleep(TRY_MS * 3);
    }
    await end();
  }
  return null;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
