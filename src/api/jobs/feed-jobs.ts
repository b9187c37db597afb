// Feed jobs of a replica: the store, the settings, and the three loops beside the requests (pages, webhooks, upkeep),
// which start with the application and end before it. Made by composition/feed-jobs.ts, used by feed-job-routes.ts.
import type { FeedJobFigures, FeedJobStore } from '../../contracts.ts';
import { deadlineIn, raceDeadline } from '../../deadline.ts';
import { RepeatedCheck } from '../../repeated-check.ts';
import type { ComputePage } from './feed-job-page.ts';
import { FeedJobRunner, type FeedJobRunnerParts } from './feed-job-runner.ts';
import { WebhookDeliveries, type WebhookDeliveriesParts } from './webhook-deliveries.ts';
import type { WebhookHosts } from './webhook-hosts.ts';

/** A job made here begins at once; another replica's within this time. */
const POLL_MS = 1000;
const UPKEEP_MS = 15_000;
const STORE_MS = 30_000;
const CLOSE_MS = 3000;

export interface FeedJobSettings {
  /** Pages that this replica computes at once; 0: it leaves them to others. */
  atOnce: number;
  /** Jobs of one owner that have not ended, and that are kept. */
  bounds: { open: number; kept: number };
  keptMs: number;
  /** Before paths in answers and webhooks; empty: paths alone. */
  baseUrl: string;
}

export interface FeedJobsParts {
  store: FeedJobStore;
  settings: FeedJobSettings;
  /** null: webhooks are refused, and none is sent. */
  webhooks: { hosts: WebhookHosts; sender: WebhookDeliveriesParts['sender'] } | null;
  clock: { now(): number };
  onPage?: FeedJobRunnerParts['onPage'];
  onTry?: WebhookDeliveriesParts['onTry'];
  onFigures?: (figures: FeedJobFigures) => void;
  onProblem?: (reason: string) => void;
}

export class FeedJobs {
  readonly #parts: FeedJobsParts;
  readonly #loops: RepeatedCheck[] = [];
  readonly #closers: (() => void)[] = [];
  #pages: RepeatedCheck | undefined;

  constructor(parts: FeedJobsParts) {
    this.#parts = parts;
  }

  get store(): FeedJobStore {
    return this.#parts.store;
  }

  get settings(): FeedJobSettings {
    return this.#parts.settings;
  }

  get hosts(): WebhookHosts | null {
    return this.#parts.webhooks?.hosts ?? null;
  }

  start(compute: ComputePage): void {
    const { store, settings, webhooks, clock, onPage, onTry, onFigures } = this.#parts;
    const { atOnce, keptMs } = settings;
    if (webhooks) {
      const urlOf = (id: string) => feedJobUrl(settings, id);
      const deliveries = new WebhookDeliveries({ store, sender: webhooks.sender, clock, urlOf, onTry });
      this.#repeat(() => deliveries.step(), POLL_MS);
      this.#closers.push(() => deliveries.close());
    }
    if (atOnce > 0) {
      const runner = new FeedJobRunner({ store, compute, clock, atOnce, keptMs, onPage });
      this.#pages = this.#repeat(() => runner.step(), POLL_MS);
      this.#closers.push(() => runner.close());
    }
    this.#repeat(async () => {
      onFigures?.(await store.sweep({ atMs: clock.now(), keptMs }, deadlineIn(STORE_MS)));
      return false;
    }, UPKEEP_MS);
  }

  /** A job was made. */
  wake(): void {
    void this.#pages?.check();
  }

  /** What is under way is broken off and given back. */
  async close(): Promise<void> {
    for (const close of this.#closers) close();
    const ended = Promise.all(this.#loops.map((loop) => loop.close()));
    // A database that hangs must not hold up the end: leases run out by themselves.
    await raceDeadline(ended, deadlineIn(CLOSE_MS), 'feed jobs').catch(() => {});
  }

  #repeat(work: () => Promise<boolean>, pollMs: number): RepeatedCheck {
    const loop = new RepeatedCheck({
      step: async () => {
        if (await work()) loop.again();
      },
      pollMs,
      onProblem: (reason) => this.#parts.onProblem?.(reason),
    });
    this.#loops.push(loop);
    loop.start();
    return loop;
  }
}

export function feedJobUrl({ baseUrl }: Pick<FeedJobSettings, 'baseUrl'>, id: string): string {
  return `${baseUrl}/feed-jobs/${encodeURIComponent(id)}`;
}
