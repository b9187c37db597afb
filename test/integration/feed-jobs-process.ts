// A replica that computes feed jobs until it is killed; started by feed-jobs.test.ts, which counts its lines: one for
// each page that it computed. Pages take a while; after `stopAfter` of them it stops in the middle, as if it were slow.
import { setTimeout as sleep } from 'node:timers/promises';
import { FeedJobRunner } from '../../src/api/jobs/feed-job-runner.ts';
import { PostgresFeedJobs } from '../../src/features/store/postgres-feed-jobs.ts';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';

const [databaseUrl, name, stopAfter = 'Infinity'] = process.argv.slice(2);
let computed = 0;
const store = await openSqlStore({ databaseUrl, dataDir: '', poolSize: 2 });
const runner = new FeedJobRunner({
  store: new PostgresFeedJobs(store.client),
  clock: { now: Date.now },
  atOnce: 2,
  keptMs: 3_600_000,
  async compute(userId) {
    await sleep(computed++ < Number(stopAfter) ? 20 : 60_000);
    process.stdout.write(`${userId}\n`);
    const page = { requestId: name, generatedAt: Date.now(), model: 'm', degraded: [], posts: [] };
    return { page, ranked: true };
  },
});
for (;;) if (!(await runner.step())) await sleep(50);
