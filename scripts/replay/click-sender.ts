// Sends recorded clicks through the API when they are due: a new article first, then what was clicked. What is not
// acknowledged is sent again with the same ids, so that an id is stored once whatever happened. Called by run.ts.
import { callApi } from './api-client.ts';
import type { Clicks } from './clicks.ts';

export interface ClickSenderOptions {
  clicks: Clicks;
  /** Replicas, in turn. */
  bases: readonly string[];
  /** Times real time. */
  speed: number;
  /** The readers share so many accounts; default 0: each has their own. */
  accounts?: number;
  /** Ids of posts, users and events begin with it. */
  prefix: string;
  /** Whether a replica is in rotation now. Default: always. */
  asked?: (base: string) => boolean;
}

export interface SenderTally {
  /** Different events given to the API, and posts. */
  events: number;
  posts: number;
  /** What an answer called stored or duplicate. */
  acceptedEvents: number;
  acceptedPosts: number;
  /** Of the accepted events, those that an answer called a duplicate: an earlier try had stored them. */
  duplicates: number;
  rejected: number;
  /** Requests sent again: refused with Retry-After, failed, or not answered. */
  repeats: number;
  /** Answers by status, and `no answer`. */
  answers: Record<string, number>;
}

interface BatchAnswer {
  stored: number;
  duplicates: number;
  rejected: number;
}

const TICK_MS = 50;
const BATCH = 200;
/** Batches on their way at once; what is due beyond waits, and is the lag. */
const IN_FLIGHT = 4;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2000;

export class ClickSender {
  readonly #options: ClickSenderOptions;
  readonly #known = new Set<number>();
  readonly #inFlight = new Set<Promise<void>>();
  readonly #recent: string[] = [];
  #next = 0;
  #turn = 0;
  #startedAtMs = 0;
  #stopped = false;
  #lagMs = 0;
  readonly tally: SenderTally = {
    events: 0,
    posts: 0,
    acceptedEvents: 0,
    acceptedPosts: 0,
    duplicates: 0,
    rejected: 0,
    repeats: 0,
    answers: {},
  };

  constructor(options: ClickSenderOptions) {
    this.#options = options;
  }

  /** How late the clicks are that were sent last. */
  get lagMs(): number {
    return this.#lagMs;
  }

  /** A reader: somebody who clicked lately, null before the first click. */
  reader(random: () => number): string | null {
    return this.#recent[Math.floor(random() * this.#recent.length)] ?? null;
  }

  /** Sends for so long, then waits until everything sent is acknowledged. Ends early with the last click. */
  async run(durationMs: number): Promise<void> {
    const last = this.#options.clicks.at.length;
    this.#startedAtMs = Date.now();
    const endAt = this.#startedAtMs + durationMs;
    while (!this.#stopped && Date.now() < endAt && this.#next < last) {
      const due = this.#due(last);
      if (due.to === due.from) {
        await sleep(TICK_MS);
        continue;
      }
      this.#lagMs = Math.max(0, Date.now() - this.#dueAt(due.from));
      await this.#sendPosts(due.from, due.to);
      this.#next = due.to;
      const sent = this.#sendEvents(due.from, due.to).finally(() => this.#inFlight.delete(sent));
      this.#inFlight.add(sent);
      if (this.#inFlight.size >= IN_FLIGHT) await Promise.race(this.#inFlight);
    }
    await Promise.all(this.#inFlight);
  }

  stop(): void {
    this.#stopped = true;
  }

  #dueAt(click: number): number {
    const { clicks, speed } = this.#options;
    return this.#startedAtMs + (clicks.at[click] - clicks.at[0]) / speed;
  }

  /** The clicks that are due now, a batch at most. */
  #due(last: number): { from: number; to: number } {
    const now = Date.now();
    let to = this.#next;
    while (to < last && to - this.#next < BATCH && this.#dueAt(to) <= now) to++;
    return { from: this.#next, to };
  }

  async #sendPosts(from: number, to: number): Promise<void> {
    const { clicks, prefix } = this.#options;
    const posts = [];
    for (let i = from; i < to; i++) {
      const article = clicks.articles[i];
      if (this.#known.has(article)) continue;
      this.#known.add(article);
      // No author is known: each article is its own, so that author caps do not bind.
      posts.push({
        id: `${prefix}${article}`,
        authorId: `${prefix}article-${article}`,
        createdAt: Math.floor(this.#dueAt(i)),
        mediaType: 'link',
      });
    }
    if (posts.length === 0) return;
    this.tally.posts += posts.length;
    const answer = await this.#deliver('/posts', { posts });
    // A post that is as it was counts as a duplicate.
    this.tally.acceptedPosts += answer.stored + answer.duplicates;
    this.tally.rejected += answer.rejected;
  }

  async #sendEvents(from: number, to: number): Promise<void> {
    const { clicks, prefix, accounts = 0 } = this.#options;
    const events = [];
    for (let i = from; i < to; i++) {
      const userId = `${prefix}${accounts > 0 ? clicks.users[i] % accounts : clicks.users[i]}`;
      events.push({
        id: `${prefix}click-${i}`,
        userId,
        postId: `${prefix}${clicks.articles[i]}`,
        type: 'click',
        at: Math.floor(this.#dueAt(i)),
      });
      this.#recent[i % 2000] = userId;
    }
    this.tally.events += events.length;
    const answer = await this.#deliver('/events', { events });
    this.tally.acceptedEvents += answer.stored + answer.duplicates;
    this.tally.duplicates += answer.duplicates;
    this.tally.rejected += answer.rejected;
  }

  /** Until it is acknowledged: an answer that is no answer leaves the same ids to be sent again, to the next replica. */
  async #deliver(path: string, body: object): Promise<BatchAnswer> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs)) {
      const answer = await callApi(this.#base(), 'POST', path, body).catch(() => null);
      const name = answer === null ? 'no answer' : String(answer.status);
      this.tally.answers[name] = (this.tally.answers[name] ?? 0) + 1;
      if (answer && (answer.status === 200 || answer.status === 207)) return answer.body as BatchAnswer;
      if (answer?.status === 400) throw new Error(`${path}: ${JSON.stringify(answer.body).slice(0, 300)}`);
      this.tally.repeats++;
      await sleep(answer?.retryAfterMs ?? pauseMs);
    }
  }

  #base(): string {
    const { bases, asked = () => true } = this.#options;
    const inRotation = bases.filter(asked);
    return inRotation[this.#turn++ % inRotation.length];
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
