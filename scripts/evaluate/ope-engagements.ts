// Joins engagement events to the served posts that led to them. Called by the serving log's evaluation.
import type { EngagementEvent } from '../../src/contracts.ts';
import { ENGAGEMENT_CODES, engagementCode, HEADS, LONG_DWELL_MS } from '../../src/vocabulary.ts';

/** As in training: what happens later is not put down to this impression. */
export const WINDOW_MS = 24 * 3_600_000;

const HEAD = Object.fromEntries(HEADS.map((head, i) => [head, i])) as Record<(typeof HEADS)[number], number>;

interface Shown {
  at: number;
  /** Number of the served post. */
  row: number;
}

/**
 * Labels of served posts by the ranker's own definition: `click` is any positive engagement, an un-like takes the like
 * back. An event counts for the post whose token it carries, else for the newest serving of that post to that user,
 * within 24 h.
 */
export class ServedLabels {
  readonly #byToken = new Map<string, Shown>();
  readonly #byPost = new Map<string, Shown[]>();
  #labels = new Uint8Array(HEADS.length * 1024);
  #rows = 0;
  joined = { byToken: 0, byPost: 0 };

  /** Number of the served post, counted from 0. Servings are given in time order. */
  serve(userId: string, postId: string, token: string, at: number): number {
    const row = this.#rows++;
    if (this.#labels.length < this.#rows * HEADS.length) {
      const grown = new Uint8Array(this.#labels.length * 2);
      grown.set(this.#labels);
      this.#labels = grown;
    }
    const shown = { at, row };
    this.#byToken.set(token, shown);
    const key = keyOf(userId, postId);
    const before = this.#byPost.get(key);
    if (before) before.push(shown);
    else this.#byPost.set(key, [shown]);
    return row;
  }

  event({ userId, postId, type, at, dwellMs = 0, token }: EngagementEvent): void {
    const tracked = token === undefined ? undefined : this.#byToken.get(token);
    const shown =
      tracked ??
      (token === undefined
        ? this.#byPost.get(keyOf(userId, postId))?.findLast((s) => s.at <= at)
        : undefined);
    if (shown === undefined || at - shown.at > WINDOW_MS) return;
    const from = shown.row * HEADS.length;
    const set = (head: keyof typeof HEAD, on = 1) => {
      this.#labels[from + HEAD[head]] = on;
    };
    const code = engagementCode(type, dwellMs);
    const longDwell = dwellMs >= LONG_DWELL_MS;
    if (type !== 'unlike' && code === ENGAGEMENT_CODES.none && !longDwell) return;
    this.joined[tracked ? 'byToken' : 'byPost']++;
    if (type === 'unlike') set('like', 0);
    else if (code === ENGAGEMENT_CODES.negative) set('negative');
    else {
      set('click');
      if (type === 'like' || type === 'reply' || type === 'share') set(type);
      if (longDwell) set('dwell');
    }
  }

  /** [HEADS.length] 0 or 1. */
  labelsOf(row: number): Uint8Array {
    return this.#labels.subarray(row * HEADS.length, (row + 1) * HEADS.length);
  }
}

function keyOf(userId: string, postId: string): string {
  return `${userId.length} ${userId}${postId}`;
}
