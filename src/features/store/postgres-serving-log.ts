// ServingLog over SQL: what was served, bounded by trimServingLog. Written behind the answer, read by offline jobs.
import type { ServingLog, ServingRecord } from '../../contracts.ts';
import type { Deadline } from '../../deadline.ts';
import { decodeRecord, encodeRecord, type StoredRecord } from './serving-record-codec.ts';
import type { SqlClient, Statement } from './sql-client.ts';
import { ERASURE_GUARD } from './sql-erasure-lock.ts';
import { checkKey, checkTime } from './storable.ts';

const APPEND: Statement = {
  name: 'serving_log_append',
  text: `
with ${ERASURE_GUARD}
insert into serving_log (request_id, user_id, at, record)
select r.request_id, r.user_id, r.at, r.record
from guard, json_to_recordset($1) as r(request_id text, user_id text, at double precision, record json)
where not exists (select 1 from erasures e where e.user_id = r.user_id and e.erased_at >= r.at)
order by r.request_id
on conflict (request_id) do nothing`,
};
const SCAN: Statement = {
  name: 'serving_log_scan',
  text: `select record from serving_log where (at, request_id) > ($2, $3) order by at, request_id limit $1`,
};
const TRIM: Statement = {
  name: 'serving_log_trim',
  text: `with gone as (delete from serving_log where at < $1 returning 1) select count(*) as rows from gone`,
};

export class PostgresServingLog implements ServingLog {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  /** Idempotent by request id. A record from before its user's erasure is left out. */
  async append(records: readonly ServingRecord[], deadline: Deadline): Promise<void> {
    if (records.length === 0) return;
    const rows = records.map((record, i) => {
      checkKey(record.requestId, `records[${i}].requestId`);
      checkKey(record.userId, `records[${i}].userId`);
      checkTime(record.at, `records[${i}].at`);
      const { requestId: request_id, userId: user_id, at } = record;
      return { request_id, user_id, at, record: encodeRecord(record) };
    });
    await this.#client.query('storing the serving log', APPEND, [JSON.stringify(rows)], deadline);
  }

  /** In (at, requestId) order. */
  async *scan(batchSize: number): AsyncIterable<ServingRecord[]> {
    let at = Number.NEGATIVE_INFINITY;
    let requestId = '';
    while (true) {
      const rows = await this.#client.scan<{ record: StoredRecord }>('scanning the serving log', SCAN, [
        batchSize,
        at,
        requestId,
      ]);
      if (rows.length === 0) return;
      yield rows.map((row) => decodeRecord(row.record));
      if (rows.length < batchSize) return;
      ({ at, requestId } = rows[rows.length - 1].record);
    }
  }

  /** Drops what was served before; returns how many records went. */
  async trimServingLog(beforeMs: number, deadline: Deadline): Promise<number> {
    checkTime(beforeMs, 'beforeMs');
    const [row] = await this.#client.query<{ rows: number }>(
      'trimming the serving log',
      TRIM,
      [beforeMs],
      deadline,
    );
    return row.rows;
  }
}
