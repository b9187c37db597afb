// A client that writes events and posts without pause and repeats what was not acknowledged, with the same ids; knows
// what was acknowledged. Called by the scenarios that ask whether anything is lost.
import { randomUUID } from 'node:crypto';

interface Batch {
  path: '/posts' | '/events';
  ids: string[];
  body: string;
}

export interface IngestClientOptions {
  base: string;
  users: number;
  /** Ids of posts that events may be about: `p0` … */
  posts: number;
  batchesPerSecond: number;
  timeoutMs?: number;
}

const EVENTS_A_BATCH = 5;
const POSTS_A_BATCH = 2;
/** Every so many batches one writes posts. */
const POSTS_EVERY = 4;

export class IngestClient {
  readonly #options: IngestClientOptions;
  readonly #prefix = `fault-${randomUUID().slice(0, 8)}-`;
  readonly #unanswered: Batch[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #made = 0;
  /** Ids that a 200 or 207 called stored or duplicate. */
  readonly acked = new Set<string>();
  /** Answers by status, and `no answer`. */
  readonly answers: Record<string, number> = {};
  /** Answers of 429 and of 500 and more that lack Retry-After, or are none of 429, 503, 504, 507. */
  improper = 0;

  constructor(options: IngestClientOptions) {
    this.#options = options;
  }

  get prefix(): string {
    return this.#prefix;
  }

  start(): void {
    this.#timer = setInterval(() => this.#send(), 1000 / this.#options.batchesPerSecond);
  }

  /** Sends no more; resolves when every answer is there. */
  async pause(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#inFlight);
  }

  /** Repeats what is unanswered until all is acknowledged; the number that is not in time. */
  async settle(limitMs: number): Promise<number> {
    await this.pause();
    const giveUpAt = Date.now() + limitMs;
    while (this.#unanswered.length > 0 && Date.now() < giveUpAt) {
      for (const batch of this.#unanswered.splice(0)) await this.#post(batch);
      if (this.#unanswered.length > 0) await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return this.#unanswered.length;
  }

  #send(): void {
    // One repeated, one new, so that repeats do not starve what is new.
    const again = this.#unanswered.shift();
    for (const batch of again ? [again, this.#batch()] : [this.#batch()]) {
      const sent = this.#post(batch).finally(() => this.#inFlight.delete(sent));
      this.#inFlight.add(sent);
    }
  }

  #batch(): Batch {
    const number = this.#made++;
    const at = Date.now();
    const { users, posts } = this.#options;
    if (number % POSTS_EVERY === 0) {
      const made = Array.from({ length: POSTS_A_BATCH }, (_, i) => ({
        id: `${this.#prefix}p${number}-${i}`,
        authorId: `u${number % users}`,
        createdAt: at,
        title: `a post that the fault suite wrote, number ${number}`,
        language: 'en',
      }));
      return { path: '/posts', ids: made.map(({ id }) => id), body: JSON.stringify({ posts: made }) };
    }
    const events = Array.from({ length: EVENTS_A_BATCH }, (_, i) => ({
      id: `${this.#prefix}e${number}-${i}`,
      userId: `u${(number * EVENTS_A_BATCH + i) % users}`,
      postId: `p${(number * 31 + i * 7) % posts}`,
      type: i % 2 ? 'impression' : 'click',
      at,
    }));
    return { path: '/events', ids: events.map(({ id }) => id), body: JSON.stringify({ events }) };
  }

  async #post(batch: Batch): Promise<void> {
    const { base, timeoutMs = 15_000 } = this.#options;
    try {
      const response = await fetch(`${base}${batch.path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: batch.body,
        signal: AbortSignal.timeout(timeoutMs),
      });
      const body = (await response.json()) as { results?: { id: string; status: string }[] };
      this.#count(String(response.status));
      if (response.status === 200 || response.status === 207) {
        for (const { id, status } of body.results ?? []) if (status !== 'rejected') this.acked.add(id);
        return;
      }
      const proper = [429, 503, 504, 507].includes(response.status);
      if (!proper || response.headers.get('retry-after') === null) this.improper++;
    } catch {
      this.#count('no answer');
    }
    this.#unanswered.push(batch);
  }

  #count(answer: string): void {
    this.answers[answer] = (this.answers[answer] ?? 0) + 1;
  }
}

/** What of the client's writes is in the database. */
export async function storedIds(
  client: IngestClient,
  query: <T extends object>(text: string, values: unknown[]) => Promise<T[]>,
): Promise<{ ids: Set<string>; rows: number }> {
  const like = `${client.prefix}%`;
  const text = 'select id from events where id like $1 union all select id from posts where id like $1';
  const rows = await query<{ id: string }>(text, [like]);
  return { ids: new Set(rows.map(({ id }) => id)), rows: rows.length };
}
