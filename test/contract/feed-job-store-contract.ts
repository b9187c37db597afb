// What FeedJobStore promises, on the database as it is: leases under concurrency, results written once, bounds.
import { describe, expect, it } from 'vitest';
import type { FeedJobTask, NewFeedJob } from '../../src/contracts.ts';
import { PostgresFeedJobs } from '../../src/features/store/postgres-feed-jobs.ts';
import type { SqlStore } from '../../src/features/store/postgres-store.ts';
import { soon, unique } from '../setup/test-servers.ts';

const KEPT_MS = 3_600_000;
const LEASE_MS = 60_000;
const BOUNDS = { open: 3, kept: 4 };

export function feedJobStoreContract(store: () => SqlStore): void {
  describe('FeedJobStore', () => {
    const jobs = () => new PostgresFeedJobs(store().client);
    // Each test lives after the one before: nothing of the others is due, or is swept, in its time.
    let now = Date.now();
    const later = () => {
      now += 100 * KEPT_MS;
      return { atMs: now, keptMs: KEPT_MS };
    };
    const job = (users: number, more: Partial<NewFeedJob> = {}): NewFeedJob => ({
      id: unique('job'),
      owner: unique('owner'),
      userIds: Array.from({ length: users }, (_, i) => unique(`user-${i}`)),
      limit: 5,
      webhookUrl: null,
      idempotency: null,
      createdAt: now,
      keptMs: KEPT_MS,
      ...more,
    });
    const done = (task: FeedJobTask, requestId: string) => ({
      task,
      outcome: {
        state: 'done' as const,
        page: { requestId, generatedAt: now, model: 'm', degraded: [], posts: [] },
      },
    });

    it('gives every user to one of many replicas, and ends the job with the last page', async () => {
      const time = later();
      await jobs().sweep(time, soon());
      const made = job(40, { webhookUrl: 'https://hooks.example/' });
      expect(await jobs().create(made, BOUNDS, soon())).toEqual({ kind: 'created', id: made.id, users: 40 });
      const replica = async () => {
        const taken: number[] = [];
        for (;;) {
          const tasks = await jobs().claim(3, time.atMs, LEASE_MS, soon());
          if (tasks.length === 0) return taken;
          taken.push(...tasks.map(({ n }) => n));
          await jobs().settle(
            tasks.map((task) => done(task, `r${task.n}`)),
            time,
            soon(),
          );
        }
      };
      const taken = (await Promise.all([replica(), replica(), replica(), replica()])).flat();
      expect(taken.sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i));
      expect(await jobs().get(made.id, made.owner, soon())).toMatchObject({
        status: 'done',
        counts: { waiting: 0, done: 40, failed: 0, erased: 0 },
        delivery: { state: 'pending', attempts: 0 },
      });
      const results = await jobs().results(made.id, made.owner, 38, 10, soon());
      expect(results?.map(({ userId, page }) => [userId, page?.requestId])).toEqual([
        [made.userIds[38], 'r38'],
        [made.userIds[39], 'r39'],
      ]);
      expect(await jobs().results(made.id, made.owner, 40, 10, soon())).toEqual([]);
      expect(await jobs().results(made.id, 'another', 0, 10, soon())).toBeNull();
      const claims = await Promise.all([1, 2, 3].map(() => jobs().claimDeliveries(4, now, LEASE_MS, soon())));
      expect(claims.flat()).toMatchObject([{ jobId: made.id, users: 40, failed: 0, attempts: 1 }]);
      await jobs().settleDelivery(claims.flat()[0], { state: 'delivered' }, soon());
      expect((await jobs().get(made.id, made.owner, soon()))?.delivery?.state).toBe('delivered');
    });

    it('takes the result of the newest claim only, once', async () => {
      const time = later();
      await jobs().sweep(time, soon());
      const made = job(1);
      await jobs().create(made, BOUNDS, soon());
      const [first] = await jobs().claim(1, now, LEASE_MS, soon());
      const [second] = await jobs().claim(1, now + LEASE_MS, LEASE_MS, soon());
      expect([first.attempts, second.attempts]).toEqual([1, 2]);
      for (const outcome of [done(first, 'first'), done(second, 'second'), done(second, 'again')]) {
        await jobs().settle([outcome], time, soon());
      }
      const results = await jobs().results(made.id, made.owner, 0, 1, soon());
      expect(results?.[0].page?.requestId).toBe('second');
    });

    it('holds the bounds of an owner, and one job a key, against requests at once', async () => {
      later();
      const owner = unique('owner');
      const made = await Promise.all(
        Array.from({ length: 8 }, () => jobs().create(job(1, { owner }), BOUNDS, soon())),
      );
      expect(made.filter(({ kind }) => kind === 'created')).toHaveLength(3);
      expect(made.filter(({ kind }) => kind === 'full')).toHaveLength(5);
      const keyed = { owner: unique('owner'), idempotency: { key: 'k', digest: 'd' } };
      const same = await Promise.all([1, 2, 3].map(() => jobs().create(job(2, keyed), BOUNDS, soon())));
      expect(same.map(({ kind }) => kind).sort()).toEqual(['created', 'replayed', 'replayed']);
      expect(new Set(same.map((answer) => ('id' in answer ? answer.id : ''))).size).toBe(1);
      const changed = job(2, { ...keyed, idempotency: { key: 'k', digest: 'other' } });
      expect(await jobs().create(changed, BOUNDS, soon())).toEqual({ kind: 'conflict' });
    });

    it('forgets an erased user in every job', async () => {
      const time = later();
      await jobs().sweep(time, soon());
      const made = job(2);
      await jobs().create(made, BOUNDS, soon());
      const tasks = await jobs().claim(2, now, LEASE_MS, soon());
      await jobs().settle([done(tasks[0], 'r')], time, soon());
      for (const userId of made.userIds) expect(await store().eraseUser(userId, soon())).toBe(true);
      await jobs().settle([done(tasks[1], 'r')], time, soon());
      await jobs().sweep(time, soon());
      expect(await jobs().results(made.id, made.owner, 0, 10, soon())).toEqual([]);
      expect(await jobs().get(made.id, made.owner, soon())).toMatchObject({
        status: 'done',
        counts: { waiting: 0, done: 0, failed: 0, erased: 2 },
      });
    });

    it('cancels what is open and deletes what has ended', async () => {
      const time = later();
      await jobs().sweep(time, soon());
      const made = job(3);
      await jobs().create(made, BOUNDS, soon());
      expect(await jobs().remove(made.id, 'another', time, soon())).toBeNull();
      expect(await jobs().remove(made.id, made.owner, time, soon())).toBe('cancelled');
      expect(await jobs().claim(9, now, LEASE_MS, soon())).toEqual([]);
      expect(await jobs().remove(made.id, made.owner, time, soon())).toBe('deleted');
      expect(await jobs().get(made.id, made.owner, soon())).toBeNull();
    });
  });
}
