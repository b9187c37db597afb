// What is asked: which user, by Zipf, and whether for a feed or with an event on a post that was served before.
// Called by phase-run.ts, once a request.
import { randomUUID } from 'node:crypto';
import { Rng } from '../generate/rng.ts';
import { type Exclusions, exclusionsOf, type Profile, type Served } from './answer-checker.ts';
import { Zipf } from './zipf.ts';

export interface TrafficSettings {
  /** `host:port` for the Host header. */
  authority: string;
  /** Sent with every request. */
  apiKey?: string;
  /** Share of requests that send an event; the rest ask for feeds. */
  eventShare: number;
  /** Posts asked for in a feed. */
  posts: number;
  /** More of a feed's query, such as `&priority=prefetch`. */
  feedQuery?: string;
  users: UserNames;
  zipfExponent: number;
  seed: number;
  /** Of the users most often asked for; eligibility is checked in full for these. */
  profiles: Record<string, Profile>;
  /** Posts served before the run: what the first events are about. */
  served: Served[];
}

/** `prefix0`, `prefix1`, … or a list. */
export type UserNames = { prefix: string; count: number } | { ids: string[] };

export interface FeedRequest {
  kind: 'feed';
  text: string;
  userId: string;
  exclusions: Exclusions | null;
}
export type TrafficRequest = FeedRequest | { kind: 'event'; text: string };

/** Served posts that events are drawn from. */
const REMEMBERED = 1024;
/** What readers do with a post they see, roughly as often: shares of the events. */
const EVENT_KINDS = ['impression', 'impression', 'impression', 'dwell', 'click', 'like'] as const;

export class Traffic {
  readonly #settings: TrafficSettings;
  readonly #rng: Rng;
  readonly #zipf: Zipf;
  readonly #exclusions = new Map<string, Exclusions>();
  readonly #served: Served[];
  /** A header line, or nothing. */
  readonly #credential: string;
  readonly #events = `load-${randomUUID()}-`;
  #oldest = 0;
  #eventsMade = 0;

  constructor(settings: TrafficSettings) {
    this.#settings = settings;
    this.#credential = settings.apiKey === undefined ? '' : `authorization: Bearer ${settings.apiKey}\r\n`;
    this.#rng = new Rng(settings.seed, 'traffic');
    this.#zipf = new Zipf(userCount(settings.users), settings.zipfExponent);
    this.#served = settings.served.slice(-REMEMBERED);
    for (const [id, profile] of Object.entries(settings.profiles)) {
      this.#exclusions.set(id, exclusionsOf(profile));
    }
  }

  next(): TrafficRequest {
    const event = this.#rng.chance(this.#settings.eventShare);
    return event && this.#served.length > 0 ? this.#event() : this.#feed();
  }

  /** A post that events may be about from now on. */
  remember(served: Served): void {
    if (this.#served.length < REMEMBERED) this.#served.push(served);
    else this.#served[this.#oldest++ % REMEMBERED] = served;
  }

  #feed(): FeedRequest {
    const userId = userOfRank(this.#settings.users, this.#zipf.draw(this.#rng));
    const { authority, posts, feedQuery = '' } = this.#settings;
    const path = `/feed/${encodeURIComponent(userId)}?limit=${posts}${feedQuery}`;
    const text = `GET ${path} HTTP/1.1\r\nhost: ${authority}\r\naccept: application/json\r\n${this.#credential}\r\n`;
    return { kind: 'feed', text, userId, exclusions: this.#exclusions.get(userId) ?? null };
  }

  #event(): TrafficRequest {
    const { userId, postId, token, position } = this.#rng.pick(this.#served);
    const type = this.#rng.pick(EVENT_KINDS);
    const dwell = type === 'dwell' ? { dwellMs: 1000 + this.#rng.below(30_000) } : {};
    const id = `${this.#events}${this.#eventsMade++}`;
    const event = { id, userId, postId, type, at: Date.now(), token, position, ...dwell };
    const body = JSON.stringify({ events: [event] });
    const text =
      `POST /events HTTP/1.1\r\nhost: ${this.#settings.authority}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n${this.#credential}\r\n${body}`;
    return { kind: 'event', text };
  }
}

export function userCount(users: UserNames): number {
  return 'ids' in users ? users.ids.length : users.count;
}

/**
 * The user of a popularity rank (1 = most asked for). Ranks are scattered over the list, because generated and
 * imported worlds may be ordered by activity.
 */
export function userOfRank(users: UserNames, rank: number): string {
  const count = userCount(users);
  const index = ((rank - 1) * scatterStep(count) + 17) % count;
  return 'ids' in users ? users.ids[index] : `${users.prefix}${index}`;
}

const steps = new Map<number, number>();

/** A step coprime to the count, near its golden section: visits every index once. */
function scatterStep(count: number): number {
  let step = steps.get(count);
  if (step === undefined) {
    step = Math.max(1, Math.round(count * 0.618));
    while (commonDivisor(step, count) !== 1) step++;
    steps.set(count, step);
  }
  return step;
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
