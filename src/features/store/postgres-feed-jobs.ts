// FeedJobStore over SQL: jobs, their users, and the leases on both. Invariant: a user's page is written once, by whoever
// holds the newest claim; the transaction that writes a job's last one ends the job.
import type {
  Delivery,
  DeliveryOutcome,
  FeedJob,
  FeedJobBounds,
  FeedJobCreation,
  FeedJobFigures,
  FeedJobOutcome,
  FeedJobPage,
  FeedJobResult,
  FeedJobStatus,
  FeedJobStore,
  FeedJobTask,
  NewFeedJob,
} from '../../contracts.ts';
import type { Deadline } from '../../deadline.ts';
import * as statements from './feed-job-statements.ts';
import { FeedJobDeliveries } from './postgres-feed-job-deliveries.ts';
import type { Run, SqlClient } from './sql-client.ts';
import { checkKey } from './storable.ts';

/** A receiver that is away gets the webhook again and again for so long. */
const DELIVERED_WITHIN_MS = 24 * 3_600_000;

interface JobRow {
  id: string;
  status: FeedJobStatus;
  users: number;
  page_posts: number;
  created_at: number;
  finished_at: number | null;
  expires_at: number;
  delivery: NonNullable<FeedJob['delivery']>['state'] | null;
  deliver_at: number | null;
  delivery_attempts: number;
  delivery_error: string | null;
  waiting: number;
  done: number;
  failed: number;
}

export class PostgresFeedJobs implements FeedJobStore {
  readonly #client: SqlClient;
  readonly #deliveries: FeedJobDeliveries;

  constructor(client: SqlClient) {
    this.#client = client;
    this.#deliveries = new FeedJobDeliveries(client);
  }

  async create(job: NewFeedJob, bounds: FeedJobBounds, deadline: Deadline): Promise<FeedJobCreation> {
    job.userIds.forEach((id, i) => {
      checkKey(id, `userIds[${i}]`);
    });
    const { id, owner, userIds, idempotency, createdAt } = job;
    return this.#client.transaction('storing a feed job', deadline, async (run) => {
      await run(statements.LOCK_OWNER, [owner]);
      if (idempotency) {
        const [known] = await run<{ id: string; users: number; digest: string }>(statements.KNOWN, [
          owner,
          idempotency.key,
        ]);
        if (known && known.digest !== idempotency.digest) return { kind: 'conflict' };
        if (known) return { kind: 'replayed', id: known.id, users: known.users };
      }
      const [count] = await run<{ open: number; kept: number }>(statements.COUNT, [owner]);
      if (count.open >= bounds.open) return { kind: 'full', bound: 'open' };
      if (count.kept >= bounds.kept) return { kind: 'full', bound: 'kept' };
      const { key = null, digest = null } = idempotency ?? {};
      const kept = createdAt + job.keptMs;
      const { limit, webhookUrl } = job;
      await run(statements.CREATE, [
        id,
        owner,
        limit,
        userIds.length,
        key,
        digest,
        createdAt,
        kept,
        webhookUrl,
      ]);
      await run(statements.ADD_USERS, [id, userIds, createdAt]);
      return { kind: 'created', id, users: userIds.length };
    });
  }

  async get(id: string, owner: string, deadline: Deadline): Promise<FeedJob | null> {
    const [row] = await this.#client.query<JobRow>(
      'reading a feed job',
      statements.GET,
      [id, owner],
      deadline,
    );
    return row ? jobFromRow(row) : null;
  }

  async results(
    id: string,
    owner: string,
    from: number,
    limit: number,
    deadline: Deadline,
  ): Promise<FeedJobResult[] | null> {
    const rows = await this.#client.query<{
      n: number | null;
      user_id: string;
      state: FeedJobResult['status'];
      page: FeedJobPage | null;
    }>('reading results of a feed job', statements.RESULTS, [id, owner, from, limit], deadline);
    if (rows.length === 0) return null;
    return rows.flatMap(({ n, user_id, state, page }) =>
      n === null ? [] : [{ n, userId: user_id, status: state, page }],
    );
  }

  async remove(
    id: string,
    owner: string,
    now: { atMs: number; keptMs: number },
    deadline: Deadline,
  ): Promise<'cancelled' | 'deleted' | null> {
    return this.#client.transaction('removing a feed job', deadline, async (run) => {
      const [job] = await run<{ status: FeedJobStatus }>(statements.LOCK_OWN, [id, owner]);
      if (!job) return null;
      if (job.status !== 'queued' && job.status !== 'running') {
        await run(statements.DROP, [id]);
        return 'deleted';
      }
      await run(statements.DROP_USERS, [id]);
      await run(statements.CANCEL, [id, now.atMs, now.atMs + now.keptMs]);
      return 'cancelled';
    });
  }

  async claim(limit: number, atMs: number, leaseMs: number, deadline: Deadline): Promise<FeedJobTask[]> {
    const rows = await this.#client.query<{
      job_id: string;
      n: number;
      user_id: string;
      attempts: number;
      page_posts: number;
    }>('claiming users of feed jobs', statements.CLAIM, [atMs, limit, leaseMs], deadline);
    return rows.map((row) => ({
      jobId: row.job_id,
      n: row.n,
      userId: row.user_id,
      limit: row.page_posts,
      attempts: row.attempts,
    }));
  }

  async settle(
    outcomes: readonly { task: FeedJobTask; outcome: FeedJobOutcome }[],
    now: { atMs: number; keptMs: number },
    deadline: Deadline,
  ): Promise<void> {
    if (outcomes.length === 0) return;
    const ids = [...new Set(outcomes.map(({ task }) => task.jobId))];
    const rows = outcomes.map(({ task: { jobId, n, attempts }, outcome }) => ({
      job_id: jobId,
      n,
      claimed: attempts,
      state: outcome.state === 'released' ? 'waiting' : outcome.state,
      page: outcome.state === 'done' ? outcome.page : null,
      due_at: outcome.state === 'released' ? outcome.dueAt : null,
      uncounted: outcome.state === 'released' && !outcome.counts ? 1 : 0,
    }));
    await this.#client.transaction('storing results of feed jobs', deadline, async (run) => {
      await run(statements.LOCK_OPEN, [ids]);
      await run(statements.SETTLE, [JSON.stringify(rows)]);
      await end(run, ids, now);
    });
  }

  claimDeliveries(limit: number, atMs: number, leaseMs: number, deadline: Deadline): Promise<Delivery[]> {
    return this.#deliveries.claim(limit, atMs, leaseMs, deadline);
  }

  settleDelivery(delivery: Delivery, outcome: DeliveryOutcome, deadline: Deadline): Promise<void> {
    return this.#deliveries.settle(delivery, outcome, deadline);
  }

  async sweep(now: { atMs: number; keptMs: number }, deadline: Deadline): Promise<FeedJobFigures> {
    return this.#client.session('upkeep of feed jobs', deadline, async (run) => {
      await run(statements.GIVE_UP, [now.atMs]);
      await end(run, null, now);
      await run(statements.EXPIRE, [now.atMs]);
      const [row] = await run<{ open: number; oldest_at: number | null }>(statements.FIGURES);
      return { open: row.open, oldestAt: row.oldest_at };
    });
  }
}

async function end(run: Run, ids: string[] | null, now: { atMs: number; keptMs: number }): Promise<void> {
  await run(statements.END, [ids, now.atMs, now.keptMs, DELIVERED_WITHIN_MS]);
}

function jobFromRow(row: JobRow): FeedJob {
  const { waiting, done, failed } = row;
  const isCancelled = row.status === 'cancelled';
  return {
    id: row.id,
    status: row.status,
    users: row.users,
    limit: row.page_posts,
    counts: { waiting, done, failed, erased: isCancelled ? 0 : row.users - waiting - done - failed },
    createdAt: row.created_at,
    finishedAt: row.finished_at,
    expiresAt: row.expires_at,
    delivery: row.delivery && {
      state: row.delivery,
      attempts: row.delivery_attempts,
      nextAt: row.delivery === 'pending' ? row.deliver_at : null,
      error: row.delivery_error,
    },
  };
}
