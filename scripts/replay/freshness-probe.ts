// Writes a post now and then and asks every replica until it can be retrieved there. Called by run.ts.
import { LatencyHistogram, type LatencySummary } from '../load-test/latency-histogram.ts';
import { callApi } from './api-client.ts';

export interface FreshnessReport {
  /** Milliseconds from the 2xx until the post can be retrieved: on the replica that answered, on the others. */
  same: LatencySummary;
  others: LatencySummary | null;
  /** The same on the others while `disturbed` said so: the updater was just killed. Not in `others`. */
  disturbed: LatencySummary | null;
  /** Posts that a replica did not have in time, with what kept it. */
  late: number;
  /** Posts that could not be written. */
  unwritten: number;
}

export interface FreshnessProbeOptions {
  bases: readonly string[];
  prefix: string;
  /** As in ClickSenderOptions: a replica that was stopped on purpose says nothing of freshness. */
  asked?: (base: string) => boolean;
  disturbed?: () => boolean;
}

const EVERY_MS = 2000;
const ASK_EVERY_MS = 10;
const GIVE_UP_MS = 20_000;
const REQUEST_MS = 5000;

export class FreshnessProbe {
  readonly #options: FreshnessProbeOptions;
  readonly #same = new LatencyHistogram();
  readonly #others = new LatencyHistogram();
  readonly #disturbed = new LatencyHistogram();
  #late = 0;
  #unwritten = 0;
  #written = 0;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(options: FreshnessProbeOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  get report(): FreshnessReport {
    const summaryOf = (histogram: LatencyHistogram) => (histogram.count > 0 ? histogram.summary() : null);
    return {
      same: this.#same.summary(),
      others: summaryOf(this.#others),
      disturbed: summaryOf(this.#disturbed),
      late: this.#late,
      unwritten: this.#unwritten,
    };
  }

  /** Posts that were acknowledged. */
  get written(): number {
    return this.#written;
  }

  async #run(): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      await this.#probe(n);
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

  async #probe(n: number): Promise<void> {
    const { bases, prefix, asked = () => true, disturbed = () => false } = this.#options;
    const base = bases[n % bases.length];
    if (!asked(base)) return;
    const id = `${prefix}probe-${n}`;
    const post = { id, authorId: `${prefix}prober-${n}`, createdAt: Date.now(), title: `probe number ${n}` };
    const answer = await callApi(base, 'POST', '/posts', { posts: [post] }, REQUEST_MS).catch(() => null);
    if (answer?.status !== 200) {
      this.#unwritten++;
      return;
    }
    this.#written++;
    const startedAt = performance.now();
    const begun = disturbed();
    await Promise.all(
      bases.filter(asked).map(async (replica) => {
        const found = await retrievable(replica, id, () => !asked(replica));
        if (found === 'late') this.#late++;
        else if (found === 'found') {
          const others = begun || disturbed() ? this.#disturbed : this.#others;
          (replica === base ? this.#same : others).record(performance.now() - startedAt);
        }
      }),
    );
  }
}

/** `stopped` when the replica was stopped on purpose meanwhile. */
async function retrievable(
  base: string,
  id: string,
  isStopped: () => boolean,
): Promise<'found' | 'late' | 'stopped'> {
  const giveUpAt = performance.now() + GIVE_UP_MS;
  while (performance.now() < giveUpAt) {
    if (isStopped()) return 'stopped';
    const path = `/posts/${encodeURIComponent(id)}/similar?limit=1`;
    const answer = await callApi(base, 'GET', path, undefined, REQUEST_MS).catch(() => null);
    if (isStopped()) return 'stopped';
    if (answer?.status === 200) return 'found';
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
  return 'late';
}
