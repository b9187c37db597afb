// Two replicas compute one feed job on a real PostgreSQL; one is killed in the middle. Its part is taken over when its
// lease is over, nobody is left out, and no result changes once it is written.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LEASE_MS } from '../../src/api/jobs/feed-job-runner.ts';
import { PostgresFeedJobs } from '../../src/features/store/postgres-feed-jobs.ts';
import { openSqlStore, type SqlStore } from '../../src/features/store/postgres-store.ts';
import { DATABASE_URL, freshDatabase, soon, titleOf } from '../setup/test-servers.ts';

const PROGRAM = fileURLToPath(new URL('./feed-jobs-process.ts', import.meta.url));
const USERS = 200;
const KEPT_MS = 3_600_000;

describe.skipIf(!DATABASE_URL)(titleOf('a killed replica', DATABASE_URL, 'TEST_DATABASE'), () => {
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let sql: SqlStore;
  let store: PostgresFeedJobs;
  const replicas: ChildProcess[] = [];

  beforeAll(async () => {
    database = await freshDatabase();
    sql = await openSqlStore({ databaseUrl: database.url, dataDir: '' });
    store = new PostgresFeedJobs(sql.client);
  });
  afterAll(async () => {
    for (const replica of replicas) replica.kill('SIGKILL');
    await sql?.close();
    await database?.drop();
  });

  /** A replica, and what it computed so far. */
  function replica(name: string, ...stopAfter: string[]): { child: ChildProcess; computed: string[] } {
    const args = ['--no-warnings', PROGRAM, database.url, name, ...stopAfter];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    replicas.push(child);
    const computed: string[] = [];
    child.stdout?.on('data', (data) => computed.push(...String(data).trim().split('\n')));
    return { child, computed };
  }

  async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
    for (let i = 0; i < 800; i++) {
      if (await condition()) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error('it did not come true within 20 s');
  }

  const counts = async () => (await store.get('job', 'owner', soon()))?.counts;

  it('loses no page, and changes none', { timeout: 60_000 }, async () => {
    const userIds = Array.from({ length: USERS }, (_, i) => `user-${i}`);
    const job = { id: 'job', owner: 'owner', userIds, limit: 5, webhookUrl: null, idempotency: null };
    const bounds = { open: 1, kept: 1 };
    await store.create({ ...job, createdAt: Date.now(), keptMs: KEPT_MS }, bounds, soon());
    const a = replica('a', '11');
    const b = replica('b');
    await until(() => a.computed.length === 11 && b.computed.length > 10);
    a.child.kill('SIGKILL');
    // What a held waits for its lease; b has done everything else.
    let held = 0;
    await until(async () => {
      const before = b.computed.length;
      await new Promise((resolve) => setTimeout(resolve, 300));
      held = (await counts())?.waiting ?? 0;
      return b.computed.length === before && held < 9;
    });
    const written = await store.results('job', 'owner', 0, USERS, soon());
    // In place of waiting for a minute.
    await sql.client.query(
      'tests',
      { name: '', text: 'update feed_job_users set due_at = due_at - $1::float8 where state = $2' },
      [LEASE_MS, 'waiting'],
      soon(),
    );
    await until(async () => (await counts())?.done === USERS);
    expect(held).toBeGreaterThan(0);
    expect(await store.get('job', 'owner', soon())).toMatchObject({
      status: 'done',
      counts: { waiting: 0, done: USERS, failed: 0, erased: 0 },
    });
    const results = (await store.results('job', 'owner', 0, USERS, soon())) ?? [];
    expect(results.map(({ userId }) => userId)).toEqual(userIds);
    for (const result of written ?? []) {
      if (result.status === 'done') expect(results[result.n].page).toEqual(result.page);
    }
    const twice = a.computed.length + b.computed.length - USERS;
    expect(twice).toBeGreaterThanOrEqual(0);
    expect(twice).toBeLessThanOrEqual(8);
  });
});
