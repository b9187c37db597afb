// Reads feeds at a rate while clicks are replayed: latency, causes of degraded answers, failures. Called by run.ts.
import { LatencyHistogram, type LatencySummary } from '../load-test/latency-histogram.ts';
import { callApi } from './api-client.ts';

export interface FeedReadersOptions {
  bases: readonly string[];
  perSecond: number;
  /** Whose feed is read next; null where nobody is known yet. */
  reader: () => string | null;
  /** As in ClickSenderOptions. */
  asked?: (base: string) => boolean;
}

export interface ReadersReport {
  feeds: number;
  /** Answers other than 200, and none in time. */
  failed: number;
  failures: Record<string, number>;
  /** Answers with a cause in `degraded`, by cause; one answer may have several. */
  degraded: Record<string, number>;
  posts: number;
  latencyMs: LatencySummary;
}

/** A feed's own deadline is .3 s; a replica that is stopped gives none. */
const TIMEOUT_MS = 3000;
const PAGE = 20;

export class FeedReaders {
  readonly #options: FeedReadersOptions;
  readonly #histogram = new LatencyHistogram();
  readonly #report = { feeds: 0, failed: 0, failures: {}, degraded: {}, posts: 0 } as ReadersReport;
  readonly #inFlight = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #turn = 0;

  constructor(options: FeedReadersOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => {
      const read = this.#read().finally(() => this.#inFlight.delete(read));
      this.#inFlight.add(read);
    }, 1000 / this.#options.perSecond);
  }

  /** Starts no more reads; resolves when those under way have ended. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#inFlight);
  }

  get report(): ReadersReport {
    return { ...this.#report, latencyMs: this.#histogram.summary() };
  }

  async #read(): Promise<void> {
    const { bases, reader, asked = () => true } = this.#options;
    const userId = reader();
    if (userId === null) return;
    const inRotation = bases.filter(asked);
    const base = inRotation[this.#turn++ % inRotation.length];
    const report = this.#report;
    report.feeds++;
    const path = `/feed/${encodeURIComponent(userId)}?limit=${PAGE}`;
    const answer = await callApi(base, 'GET', path, undefined, TIMEOUT_MS).catch(() => null);
    if (answer?.status !== 200) {
      report.failed++;
      count(report.failures, answer === null ? 'no answer' : String(answer.status));
      return;
    }
    this.#histogram.record(answer.ms);
    const { posts, degraded } = answer.body as { posts: unknown[]; degraded: string[] };
    report.posts += posts.length;
    for (const cause of degraded) count(report.degraded, cause);
  }
}

function count(into: Record<string, number>, name: string): void {
  into[name] = (into[name] ?? 0) + 1;
}
