// Computes the pages of feed jobs: claims a few users, computes them, writes what became of them. Stops at the first
// refusal of the admission and stays away for a while: readers come first. One a replica, driven by feed-jobs.ts.
import type { FeedJobOutcome, FeedJobStore, FeedJobTask } from '../../contracts.ts';
import { deadlineIn } from '../../deadline.ts';
import { FeedrankError } from '../../errors.ts';
import type { ComputePage } from './feed-job-page.ts';

/** Users of one claim: little to compute again when a replica dies. */
const CLAIMED = 8;
/** Far longer than eight pages take, each at its deadline. */
export const LEASE_MS = 60_000;
/** Part of a lease after which nothing of it is begun any more. */
const BEGUN_WITHIN = 0.5;
/** Claims of one user; a page that ends its process each time must not do so for ever. */
const ATTEMPTS = 5;
/** Before another try, doubled with each, drawn at random up to it. */
const RETRY_MS = 2000;
const STORE_MS = 10_000;
/** Away after a refusal: as long as readers are told to wait. */
const AWAY_MS = { min: 1000, max: 3000 };

export type PageOutcome = 'done' | 'failed' | 'retried' | 'refused';

export interface FeedJobRunnerParts {
  store: Pick<FeedJobStore, 'claim' | 'settle'>;
  compute: ComputePage;
  clock: { now(): number };
  /** Pages at once. */
  atOnce: number;
  keptMs: number;
  onPage?: (outcome: PageOutcome) => void;
}

export class FeedJobRunner {
  readonly #parts: FeedJobRunnerParts;
  readonly #closing = new AbortController();
  #awayUntilMs = 0;

  constructor(parts: FeedJobRunnerParts) {
    this.#parts = parts;
  }

  /** True while there may be more to do at once. @throws the store's error: what was claimed is claimed again later. */
  async step(): Promise<boolean> {
    const { store, clock, atOnce, keptMs } = this.#parts;
    const startedAtMs = clock.now();
    if (this.#closing.signal.aborted || startedAtMs < this.#awayUntilMs) return false;
    const tasks = await store.claim(CLAIMED, startedAtMs, LEASE_MS, deadlineIn(STORE_MS));
    const waiting = [...tasks];
    const outcomes: { task: FeedJobTask; outcome: FeedJobOutcome }[] = [];
    const lane = async () => {
      for (let task = waiting.shift(); task; task = waiting.shift()) {
        outcomes.push({ task, outcome: await this.#outcome(task, startedAtMs) });
      }
    };
    await Promise.all(Array.from({ length: atOnce }, lane));
    await store.settle(outcomes, { atMs: clock.now(), keptMs }, deadlineIn(STORE_MS));
    return tasks.length > 0 && clock.now() >= this.#awayUntilMs;
  }

  /** What is under way is given back at once. */
  close(): void {
    this.#closing.abort();
  }

  async #outcome(task: FeedJobTask, startedAtMs: number): Promise<FeedJobOutcome> {
    const { compute, clock, onPage } = this.#parts;
    const { signal } = this.#closing;
    const now = clock.now();
    const untried: FeedJobOutcome = { state: 'released', dueAt: now, counts: false };
    const isLate = now > startedAtMs + LEASE_MS * BEGUN_WITHIN;
    if (signal.aborted || isLate || now < this.#awayUntilMs) return untried;
    if (task.attempts > ATTEMPTS) {
      onPage?.('failed');
      return { state: 'failed' };
    }
    try {
      const { page, ranked } = await compute(task.userId, task.limit, signal);
      if (!ranked) this.#stayAway();
      if (!ranked && task.attempts < ATTEMPTS) return this.#again(task);
      onPage?.('done');
      return { state: 'done', page };
    } catch (error) {
      if (signal.aborted) return untried;
      if (error instanceof FeedrankError && error.code === 'overloaded') {
        this.#stayAway();
        onPage?.('refused');
        return untried;
      }
      if (task.attempts < ATTEMPTS) return this.#again(task);
      onPage?.('failed');
      return { state: 'failed' };
    }
  }

  #again({ attempts }: FeedJobTask): FeedJobOutcome {
    this.#parts.onPage?.('retried');
    const dueAt = this.#parts.clock.now() + Math.random() * RETRY_MS * 2 ** attempts;
    return { state: 'released', dueAt, counts: true };
  }

  #stayAway(): void {
    const { min, max } = AWAY_MS;
    this.#awayUntilMs = this.#parts.clock.now() + min + Math.random() * (max - min);
  }
}
