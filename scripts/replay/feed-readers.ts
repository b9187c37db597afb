// Reads feeds at a rate while clicks are replayed: latency, causes of degraded answers, failures. Called by run.ts.
import { LatencyHistogram, type LatencySummary } from '../load-test/latency-histogram.ts';
import { Balancer } from './balancer.ts';

export interface FeedReadersOptions {
  bases: readonly string[];
  perSecond: number;
  /** Whose feed is read next; null where nobody is known yet. */
  reader: () => string | null;
}

export interface ReadersReport {
  feeds: number;
  /** Answers other than 200, and none in time. */
  failed: number;
  failures: Record<string, number>;
  /** Feeds that one replica did not answer and the balancer asked of another. */
  repeated: number;
  /** Answers with a cause in `degraded`, by cause; one answer may have several. */
  degraded: Record<string, number>;
  posts: number;
  latencyMs: LatencySummary;
}

const PAGE = 20;

export class FeedReaders {
  readonly #options: FeedReadersOptions;
  readonly #histogram = new LatencyHistogram();
  readonly #report = { feeds: 0, failed: 0, failures: {}, repeated: 0, degraded: {}, posts: 0 };
  readonly #inFlight = new Set<Promise<void>>();
  readonly #balancer: Balancer;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FeedReadersOptions) {
    this.#options = options;
    this.#balancer = new Balancer(options.bases);
  }

  start(): void {
    this.#balancer.start();
    this.#timer = setInterval(() => {
      const read = this.#read().finally(() => this.#inFlight.delete(read));
      this.#inFlight.add(read);
    }, 1000 / this.#options.perSecond);
  }

  /** Starts no more reads; resolves when those under way have ended. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#inFlight);
    this.#balancer.stop();
  }

  get report(): ReadersReport {
    return { ...this.#report, latencyMs: this.#histogram.summary() };
  }

  async #read(): Promise<void> {
    const userId = this.#options.reader();
    if (userId === null) return;
    const report = this.#report;
    report.feeds++;
    const path = `/feed/${encodeURIComponent(userId)}?limit=${PAGE}`;
    const { answer, repeated, ms } = await this.#balancer.get(path);
    if (repeated) report.repeated++;
    if (answer?.status !== 200) {
      report.failed++;
      count(report.failures, answer === null ? 'no answer' : String(answer.status));
      return;
    }
    this.#histogram.record(ms);
    const { posts, degraded } = answer.body as { posts: unknown[]; degraded: string[] };
    report.posts += posts.length;
    for (const cause of degraded) count(report.degraded, cause);
  }
}

function count(into: Record<string, number>, name: string): void {
  into[name] = (into[name] ?? 0) + 1;
}
