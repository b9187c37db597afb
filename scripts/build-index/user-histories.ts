// Every user's newest engagements and seen posts, collected in one pass over the events in time order. Kept as rows
// of the table in typed rings (about 1.5 kB for a full history), so that a million users fit in memory.
import type { EngagementEvent, HistoryEntry } from '../../src/contracts.ts';
import {
  EVENT_TYPES,
  type EventType,
  engagementCode,
  HISTORY_LIMIT,
  SEEN_LIMIT,
  SEEN_TTL_MS,
} from '../../src/vocabulary.ts';

/** What of a row goes into a history. */
export interface PostNames {
  postId(row: number): string;
  authorId(row: number): string;
  /** hash32, 0 = none. */
  topic(row: number): number;
}

/** Seen posts are written in groups of at most this span, each with its newest time: expiry is late by that much. */
const SEEN_SPAN_MS = SEEN_TTL_MS / 4;

/** More than a history holds: an un-like takes one out, and an older one takes its place. */
const ENGAGEMENTS = HISTORY_LIMIT * 2;

export interface SeenGroup {
  rows: number[];
  atMs: number;
}

interface UserRings {
  engagements: Ring;
  seen: Ring;
}

export class UserHistories {
  readonly #users = new Map<string, UserRings>();
  readonly #seenSince: number;

  constructor(nowMs: number) {
    this.#seenSince = nowMs - SEEN_TTL_MS;
  }

  get size(): number {
    return this.#users.size;
  }

  ids(): IterableIterator<string> {
    return this.#users.keys();
  }

  /** Events must come in time order. */
  add(event: EngagementEvent, row: number): void {
    let user = this.#users.get(event.userId);
    if (!user) {
      user = { engagements: new Ring(ENGAGEMENTS), seen: new Ring(SEEN_LIMIT) };
      this.#users.set(event.userId, user);
    }
    if (event.at >= this.#seenSince) user.seen.put(row, 0, event.at, 0);
    const dwellMs = event.dwellMs ?? 0;
    if (event.type === 'unlike') user.engagements.remove(row, EVENT_TYPES.indexOf('like'));
    else if (engagementCode(event.type, dwellMs) !== 0) {
      user.engagements.put(row, EVENT_TYPES.indexOf(event.type), event.at, dwellMs);
    }
  }

  /** Newest first, with the row of each. */
  history(userId: string, names: PostNames): { entries: HistoryEntry[]; rows: number[] } {
    const entries: HistoryEntry[] = [];
    const rows: number[] = [];
    this.#users.get(userId)?.engagements.newestFirst((row, type, at, dwellMs) => {
      if (entries.length === HISTORY_LIMIT) return;
      rows.push(row);
      entries.push({
        postId: names.postId(row),
        authorId: names.authorId(row),
        topic: names.topic(row),
        type: EVENT_TYPES[type] as EventType,
        at,
        dwellMs,
      });
    });
    return { entries, rows };
  }

  /** Oldest group first. */
  seen(userId: string): SeenGroup[] {
    const groups: SeenGroup[] = [];
    this.#users.get(userId)?.seen.newestFirst((row, _type, at) => {
      const group = groups.at(-1);
      if (group && group.atMs - at <= SEEN_SPAN_MS) group.rows.push(row);
      else groups.push({ rows: [row], atMs: at });
    });
    for (const group of groups) group.rows.reverse();
    return groups.reverse();
  }
}

const WORDS = 3;

/** The newest `limit` entries, one per (row, type), in time order. */
class Ring {
  readonly #limit: number;
  #length = 0;
  /** [row × 16 + type, at, dwellMs] an entry, oldest first. */
  #values = new Float64Array(4 * WORDS);

  constructor(limit: number) {
    this.#limit = limit;
  }

  put(row: number, type: number, at: number, dwellMs: number): void {
    this.remove(row, type);
    if (this.#length === this.#limit) this.#dropAt(0);
    if ((this.#length + 1) * WORDS > this.#values.length) {
      const larger = new Float64Array(Math.min(this.#limit, this.#length * 2) * WORDS);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length * WORDS] = row * 16 + type;
    this.#values[this.#length * WORDS + 1] = at;
    this.#values[this.#length * WORDS + 2] = dwellMs;
    this.#length++;
  }

  remove(row: number, type: number): void {
    const key = row * 16 + type;
    let i = this.#length - 1;
    while (i >= 0 && this.#values[i * WORDS] !== key) i--;
    if (i >= 0) this.#dropAt(i);
  }

  newestFirst(each: (row: number, type: number, at: number, dwellMs: number) => void): void {
    for (let i = this.#length - 1; i >= 0; i--) {
      const key = this.#values[i * WORDS];
      each(Math.floor(key / 16), key % 16, this.#values[i * WORDS + 1], this.#values[i * WORDS + 2]);
    }
  }

  #dropAt(i: number): void {
    this.#values.copyWithin(i * WORDS, (i + 1) * WORDS, this.#length * WORDS);
    this.#length--;
  }
}
