// How far the updater has come, kept in the database itself: what it published, and a position of the SQL feed before
// which everything is applied. Written after the work it stands for; a crash repeats the work since.
import type { Position } from '../../contracts.ts';
import { type Deadline, deadlineIn } from '../../deadline.ts';
import { encodePosition } from '../store/change-position.ts';
import type { SqlClient } from '../store/sql-client.ts';
import { type Lsn, parseLsn } from './log-position.ts';

export interface Checkpoint {
  /** Newest id in the change stream. */
  published: string;
  /** Every transaction before it is applied. */
  position: Position;
}

/** A moment of the database: what is committed before `position` is in the log before `lsn`. */
export interface Moment {
  position: Position;
  lsn: Lsn;
  atMs: number;
}

const READ = {
  name: 'stream_checkpoint',
  text: 'select published, position from change_stream where slot = $1',
};
const WRITE = {
  name: 'stream_checkpoint_put',
  text: `insert into change_stream as c (slot, published, position) values ($1, $2, $3)
on conflict (slot) do update set published = excluded.published, position = excluded.position, at = now()`,
};
// The snapshot is taken when the statement begins, the log position is read after it.
const MOMENT = {
  name: 'stream_moment',
  text: `select pg_snapshot_xmin(pg_current_snapshot())::text as txid, pg_current_wal_insert_lsn()::text as lsn`,
};

const VISIBLE = {
  name: 'stream_visible',
  text: `select coalesce(bool_and(pg_visible_in_snapshot(x, pg_current_snapshot())), true) as visible
from unnest($1::xid8[]) x`,
};

export class StreamCheckpoint {
  readonly #client: SqlClient;
  readonly #slot: string;

  constructor(client: SqlClient, slot: string) {
    this.#client = client;
    this.#slot = slot;
  }

  async read(deadline: Deadline): Promise<Checkpoint | null> {
    const [row] = await this.#client.query<{ published: string; position: string }>(
      'reading the checkpoint',
      READ,
      [this.#slot],
      deadline,
    );
    return row ? { published: row.published, position: row.position } : null;
  }

  async write({ published, position }: Checkpoint, deadline: Deadline): Promise<void> {
    await this.#client.query('writing the checkpoint', WRITE, [this.#slot, published, position], deadline);
  }

  /** Whether queries see these transactions: a commit is in the log, and replicated, a moment before. */
  async visible(txids: readonly string[], deadline: Deadline): Promise<boolean> {
    const [row] = await this.#client.query<{ visible: boolean }>(
      'asking for transactions',
      VISIBLE,
      [txids],
      deadline,
    );
    return row.visible;
  }

  async moment(timeoutMs: number): Promise<Moment> {
    const atMs = Date.now();
    const [row] = await this.#client.query<{ txid: string; lsn: string }>(
      'reading the log position',
      MOMENT,
      [],
      deadlineIn(timeoutMs),
    );
    return { position: encodePosition(BigInt(row.txid), 0n), lsn: parseLsn(row.lsn), atMs };
  }
}
