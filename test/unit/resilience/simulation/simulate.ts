// One run of the service's resilience logic, all of it the real code, over dependencies that fail by plan and on a
// virtual clock. Throws with the seed and the first invariant that does not hold.
import { Rng } from '../../../../scripts/generate/rng.ts';
import { Admission, PRIORITIES, type Priority } from '../../../../src/admission.ts';
import type { FeedPage } from '../../../../src/api/feed-page.ts';
import type { FeedPages } from '../../../../src/api/feed-pages.ts';
import { IngestGate } from '../../../../src/api/ingest-gate.ts';
import type {
  EngagementEvent,
  EventStore,
  PostStore,
  SessionStore,
  StateStore,
  UserStore,
} from '../../../../src/contracts.ts';
import { deadlineIn } from '../../../../src/deadline.ts';
import { FeedrankError } from '../../../../src/errors.ts';
import { WorkerPool } from '../../../../src/pool.ts';
import { createPolicies } from '../../../../src/resilience/policies.ts';
import { guarded } from '../../../../src/resilience.ts';
import { FAULTS_END_MS, FakeSql, FakeState, FakeWorker, Faulty, plan, sleep } from './faults.ts';
import { feedPages } from './feed-side.ts';
import { VirtualTime } from './virtual-time.ts';

export const DEADLINE_MS = 300;
const INGEST_DEADLINE_MS = 2000;
const WORKERS = 2;
/** Breakers, limiter and workers are in order again so long after the last fault. */
const RECOVERY_MS = 10_000;

interface Decision {
  priority: Priority;
  admitted: boolean;
  inFlight: number;
  limit: number;
}

export interface Tally {
  pages: number;
  degraded: number;
  refused: number;
  acked: number;
  hung: number;
}

/** @throws Error naming the seed and what did not hold. */
export async function simulate(seed: number, tally: Tally): Promise<void> {
  const time = new VirtualTime(seed);
  const run = new Simulation(seed, time, tally);
  try {
    await run.run();
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
  } finally {
    run.close();
    time.restore();
  }
}

class Simulation {
  readonly #rng: Rng;
  readonly #time: VirtualTime;
  readonly #tally: Tally;
  readonly #startMs: number;
  readonly #state: FakeState;
  readonly #sql: FakeSql;
  readonly #calls: Record<string, number> = {};
  readonly #retries: Record<string, number> = {};
  readonly #decisions: Decision[] = [];
  readonly #policies: ReturnType<typeof createPolicies>;
  readonly #admission: Admission;
  readonly #pool: WorkerPool;
  readonly #pages: FeedPages;
  readonly #guardedSql: EventStore;
  readonly #gate = new IngestGate(4, 64);
  readonly #acked: string[] = [];
  readonly #problems: string[] = [];

  constructor(seed: number, time: VirtualTime, tally: Tally) {
    const rng = new Rng(seed, 'simulation');
    this.#rng = rng;
    this.#time = time;
    this.#tally = tally;
    this.#startMs = time.nowMs;
    this.#state = new FakeState(new Faulty(plan(rng, ['down', 'hang', 'slow', 'flaky'])));
    this.#sql = new FakeSql(new Faulty(plan(rng, ['down', 'hang', 'slow', 'flaky', 'lost_answer'])));
    this.#policies = createPolicies({
      sqlConnections: 4,
      onCall: (dependency, outcome) => {
        if (outcome !== 'open' && outcome !== 'shed') bump(this.#calls, dependency);
      },
      onRetry: (dependency) => bump(this.#retries, dependency),
    });
    this.#admission = new Admission({
      workers: WORKERS,
      deadlineMs: DEADLINE_MS,
      workersAnswer: () => this.#pool.silentMs < 250,
      onDecision: (priority, admitted) => {
        const inFlight = PRIORITIES.reduce((sum, one) => sum + this.#admission.inFlight(one), 0);
        this.#decisions.push({ priority, admitted, inFlight, limit: this.#admission.limit });
      },
    });
    const trouble = rng.next() * 0.3;
    this.#pool = new WorkerPool({
      script: new URL('file:///never-started'),
      size: WORKERS,
      workerData: null,
      spawn: () => new FakeWorker(() => this.#trouble(trouble)),
      onWorkerLost: () => tally.hung++,
    });
    const state = guarded(this.#state, this.#policies.state) as unknown as StateStore & SessionStore;
    const sql = guarded(this.#sql, this.#policies.sql) as unknown as PostStore & UserStore & EventStore;
    this.#guardedSql = sql;
    this.#pages = feedPages(state, sql, this.#pool);
  }

  async run(): Promise<void> {
    const work = [...this.#requests(), ...this.#writes()];
    await this.#time.runUntil(this.#startMs + FAULTS_END_MS + RECOVERY_MS);
    // Whatever hung is past its deadline by now: nothing waits for anything.
    await withVirtual(this.#time, Promise.all(work));
    this.#checkPast();
    await this.#checkRecovery();
    if (this.#problems.length > 0) throw new Error(this.#problems[0]);
  }

  close(): void {
    this.#policies.state.close();
    this.#policies.sql.close();
  }

  /** Requests at random times, some in bursts, of a few users. */
  #requests(): Promise<unknown>[] {
    const bursts = 3 + this.#rng.below(4);
    return Array.from({ length: bursts }, () => {
      const atMs = this.#rng.below(FAULTS_END_MS + 500);
      const size = this.#rng.below(this.#rng.pick([2, 4, 4, 30, this.#rng.chance(0.2) ? 120 : 30])) + 1;
      return Array.from({ length: size }, () => {
        const priority = this.#rng.pick(PRIORITIES);
        const userId = `u${this.#rng.below(4)}`;
        return sleep(atMs + this.#rng.below(30)).then(() => this.#ask(userId, priority));
      });
    }).flat();
  }

  #writes(): Promise<void>[] {
    return Array.from({ length: 5 }, (_, i) =>
      sleep(this.#rng.below(FAULTS_END_MS + 500)).then(() => this.#write(`e${i}`)),
    );
  }

  /** null when it was refused. */
  async #ask(userId: string, priority: Priority): Promise<FeedPage | null> {
    const startedMs = this.#time.nowMs;
    const deadline = deadlineIn(DEADLINE_MS);
    const wasDown = this.#state.faults.mode === 'down';
    let page: FeedPage;
    try {
      page = await this.#admission.run(priority, async (grant) => {
        const made = await this.#pages.page(
          {
            requestId: `r${this.#rng.below(2 ** 30)}`,
            userId,
            limit: 3,
            cursor: undefined,
            exclude: [],
            explain: 0,
            quality: grant.quality,
            priority,
          },
          deadline,
        );
        grant.outcome = made.facts.degraded.includes('ranking_unavailable') ? 'missed' : 'measured';
        return made;
      });
    } catch (error) {
      this.#tally.refused++;
      const code = error instanceof FeedrankError ? error.code : String(error);
      if (code !== 'overloaded') this.#problems.push(`a feed failed with ${code}`);
      if (this.#time.nowMs !== startedMs) this.#problems.push('a refusal came late');
      return null;
    }
    const tookMs = this.#time.nowMs - startedMs;
    this.#tally.pages++;
    if (page.degraded.length > 0) this.#tally.degraded++;
    if (tookMs > DEADLINE_MS + 1) this.#problems.push(`an answer took ${tookMs} ms`);
    if (page.posts.length === 0) this.#problems.push('a feed was empty while posts exist');
    if (page.facts.model === 'trending' && !page.degraded.includes('ranking_unavailable')) {
      this.#problems.push('a fallback was not flagged');
    }
    if (wasDown && this.#state.faults.mode === 'down' && page.degraded.length === 0) {
      this.#problems.push('an answer without the user store was not flagged');
    }
    return page;
  }

  async #write(id: string): Promise<void> {
    const event: EngagementEvent = { id, userId: 'u0', postId: 'p0', type: 'like', at: 1 };
    const deadline = deadlineIn(INGEST_DEADLINE_MS);
    const startedMs = this.#time.nowMs;
    try {
      await this.#gate.run(deadline, () => this.#guardedSql.appendEvents([event], deadline));
      this.#acked.push(id);
      this.#tally.acked++;
    } catch (error) {
      if (!(error instanceof FeedrankError)) this.#problems.push(`a write failed with ${error}`);
    }
    if (this.#time.nowMs - startedMs > INGEST_DEADLINE_MS + 1) this.#problems.push('a write took too long');
  }

  #checkPast(): void {
    const lost = this.#acked.filter((id) => !this.#sql.committed.has(id));
    if (lost.length > 0) this.#problems.push(`acknowledged and lost: ${lost}`);
    for (const [dependency, attempts] of Object.entries(this.#calls)) {
      const retries = this.#retries[dependency] ?? 0;
      if (attempts > 1.2 * (attempts - retries) + 1) {
        this.#problems.push(`${dependency}: ${attempts} attempts with ${retries} retries`);
      }
    }
    for (const refused of this.#decisions.filter(({ admitted }) => !admitted)) {
      const rank = PRIORITIES.indexOf(refused.priority);
      const overtaken = this.#decisions.find(
        ({ priority, admitted, inFlight, limit }) =>
          admitted &&
          limit === refused.limit &&
          PRIORITIES.indexOf(priority) > rank &&
          inFlight >= refused.inFlight,
      );
      if (overtaken) this.#problems.push(`${overtaken.priority} came in where ${refused.priority} did not`);
    }
  }

  async #checkRecovery(): Promise<void> {
    const { state, sql } = this.#policies;
    if (state.state !== 'closed' || sql.state !== 'closed') this.#problems.push('a breaker did not close');
    const inFlight = PRIORITIES.map((priority) => this.#admission.inFlight(priority));
    if (inFlight.some((count) => count !== 0)) this.#problems.push(`places were not given back: ${inFlight}`);
    if (this.#pool.queued > 0) this.#problems.push('jobs still wait');
    if (this.#pool.available === 0) {
      // Every worker and the spare hang for good: readiness says so, the supervisor starts the process again.
      if (this.#pool.lost < WORKERS + 1) this.#problems.push('workers were not replaced');
      return;
    }
    // A user nobody has asked for: neither caches nor last good slates help.
    const page = await withVirtual(this.#time, this.#ask('newcomer', 'interactive'));
    if (page === null) this.#problems.push('refused when idle');
    else if (page.degraded.length > 0) this.#problems.push(`after recovery: ${page.degraded}`);
  }

  #trouble(share: number): 'fine' | 'hang' | 'hang_for_good' | 'die' | 'fail' {
    if (this.#time.nowMs - this.#startMs > FAULTS_END_MS || !this.#rng.chance(share)) return 'fine';
    return this.#rng.pick(['hang', 'hang', 'hang_for_good', 'die', 'fail'] as const);
  }
}

/** Waits for something while virtual time goes on. */
async function withVirtual<T>(time: VirtualTime, work: Promise<T>): Promise<T> {
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  done.catch(() => {});
  for (let steps = 0; !isDone; steps++) {
    if (steps > 5000) throw new Error('something never ends');
    await time.runUntil(time.nowMs + 1);
  }
  return done;
}

function bump(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}
