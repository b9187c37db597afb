// The webhooks of feed jobs as SQL keeps them: when the next try is due, how many there were, how it ended. A claim moves
// the due time on, so that a try whose replica died is made again. Called by postgres-feed-jobs.ts.
import type { Delivery, DeliveryOutcome, FeedJobStatus } from '../../contracts.ts';
import type { Deadline } from '../../deadline.ts';
import type { SqlClient, Statement } from './sql-client.ts';

const CLAIM: Statement = {
  name: 'feed_job_deliveries_claim',
  text: `
with due as (
  select id from feed_jobs where delivery = 'pending' and deliver_at <= $1::float8
  order by deliver_at limit $2::int for update skip locked)
update feed_jobs j set deliver_at = $1::float8 + $3::float8, delivery_attempts = delivery_attempts + 1
from due d where j.id = d.id
returning j.id, j.webhook_url, j.status, j.users, j.delivery_attempts, j.deliver_until,
  (select count(*) from feed_job_users u where u.job_id = j.id and u.state = 'failed') as failed`,
};

const SETTLE: Statement = {
  name: 'feed_job_deliveries_settle',
  text: `
update feed_jobs set delivery = $3, deliver_at = $4, delivery_error = $5
where id = $1 and delivery = 'pending' and delivery_attempts = $2`,
};

export class FeedJobDeliveries {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  async claim(limit: number, atMs: number, leaseMs: number, deadline: Deadline): Promise<Delivery[]> {
    const rows = await this.#client.query<{
      id: string;
      webhook_url: string;
      status: FeedJobStatus;
      users: number;
      delivery_attempts: number;
      deliver_until: number;
      failed: number;
    }>('claiming webhooks', CLAIM, [atMs, limit, leaseMs], deadline);
    return rows.map((row) => ({
      jobId: row.id,
      url: row.webhook_url,
      status: row.status,
      users: row.users,
      failed: row.failed,
      attempts: row.delivery_attempts,
      untilMs: row.deliver_until,
    }));
  }

  async settle({ jobId, attempts }: Delivery, outcome: DeliveryOutcome, deadline: Deadline): Promise<void> {
    const nextAt = outcome.state === 'pending' ? outcome.nextAt : null;
    const error = outcome.state === 'delivered' ? null : outcome.error;
    const values = [jobId, attempts, outcome.state, nextAt, error];
    await this.#client.query('storing the state of a webhook', SETTLE, values, deadline);
  }
}
