// The slate that a user was given a moment ago, for a first page that is asked for again: what of it was not delivered
// is the next page, without ranking anew. Only where everything that the pipeline reads is the same but for the posts
// seen since; explored slates, explanations and later pages of a feed are always made. Called by slate-maker.ts.
import type { SlateRequest, SlateResult } from './api/app-context.ts';
import type { CacheOutcome } from './cache-outcome.ts';
import { PairSet } from './candidates/pair-set.ts';
import type { Change, PackedUser, RankerChoice } from './contracts.ts';
import { type Deadline, raceDeadline } from './deadline.ts';
import { hash64 } from './hashing.ts';

/** About 100 kB each, for a second. */
const SLATES = 1_000;
/** Of the slate's posts, so many must be left: what remains of a shorter one is what ranked low. */
const LEFT_SHARE = 0.5;

interface Kept {
  key: string;
  user: PackedUser;
  untilMs: number;
  /** null where it turned out not to be worth keeping. */
  slate: Promise<SlateResult | null>;
  isMade: boolean;
}

/** What besides the user decides a slate. */
export interface SlateMakings {
  generation: string;
  rules: string;
  choice: RankerChoice;
}

export interface SlateCacheOptions {
  /** How long a slate is good; 0 = none is kept. New posts of others than the user's follows are late by that much. */
  ttlMs: number;
  onRequest: (outcome: CacheOutcome) => void;
}

export class SlateCache {
  readonly #options: SlateCacheOptions;
  /** By user, oldest first. */
  readonly #kept = new Map<string, Kept>();

  constructor(options: SlateCacheOptions) {
    this.#options = options;
  }

  onChange(change: Change): void {
    if (change.kind === 'event') this.#kept.delete(change.event.userId);
    else if (change.kind === 'edge') this.#kept.delete(change.edge.userId);
    else if (change.kind === 'user') this.#kept.delete(change.user.id);
    else if (change.kind === 'user_erased') this.#kept.delete(change.userId);
    else if (change.kind === 'post') this.#forgetFollowers(change.post.authorId);
  }

  /**
   * The slate kept for this user, without what was seen or excluded since, or what `make` gives. A request that comes
   * while the same slate is being made waits for it.
   */
  async slate(
    request: SlateRequest,
    user: PackedUser,
    makings: SlateMakings,
    deadline: Deadline,
    make: () => Promise<SlateResult>,
  ): Promise<SlateResult> {
    const { ttlMs, onRequest } = this.#options;
    if (ttlMs === 0 || request.explain > 0 || request.explore || request.model !== undefined) {
      onRequest('bypass');
      return { ...(await make()), cache: 'bypass' };
    }
    this.#dropExpired();
    const key = keyOf(request, makings);
    const kept = this.#kept.get(request.userId);
    if (kept?.key === key && isSameReader(kept.user, user)) {
      const outcome = kept.isMade ? 'hit' : 'joined';
      const slate = await raceDeadline(kept.slate, deadline, 'the slate');
      const left = slate && withoutSeen(slate, user.seen, request.exclude);
      if (slate && left && left.length >= Math.max(1, slate.posts.length * LEFT_SHARE)) {
        onRequest(outcome);
        return { ...slate, requestId: request.requestId, posts: left, stageMs: {}, cache: outcome };
      }
    }
    onRequest('miss');
    return { ...(await this.#keep(request.userId, key, user, make())), cache: 'miss' };
  }

  async #keep(
    userId: string,
    key: string,
    user: PackedUser,
    making: Promise<SlateResult>,
  ): Promise<SlateResult> {
    const slate = making.then(
      (made) => (made.degraded.length === 0 ? made : null),
      () => null,
    );
    const kept: Kept = { key, user, untilMs: Date.now() + this.#options.ttlMs, slate, isMade: false };
    this.#kept.delete(userId);
    this.#kept.set(userId, kept);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > SLATES) this.#kept.delete(oldest);
    void slate.then((made) => {
      kept.isMade = true;
      if (made === null && this.#kept.get(userId) === kept) this.#kept.delete(userId);
    });
    return making;
  }

  /** A post of somebody whom the user follows is in the next slate. */
  #forgetFollowers(authorId: string): void {
    if (this.#kept.size === 0) return;
    this.#dropExpired();
    const { lo, hi } = hash64(authorId);
    for (const [userId, { user }] of this.#kept) {
      if (hasPair(user.follows, lo, hi)) this.#kept.delete(userId);
    }
  }

  #dropExpired(): void {
    const nowMs = Date.now();
    for (const [userId, { untilMs }] of this.#kept) {
      if (untilMs > nowMs) return;
      this.#kept.delete(userId);
    }
  }
}

function keyOf(
  { slateSize, quality = 1 }: SlateRequest,
  { generation, rules, choice }: SlateMakings,
): string {
  return JSON.stringify([generation, rules, choice.version, choice.arm, choice.weights, slateSize, quality]);
}

/** Whether the pipeline reads the same of both, but for the posts seen. */
export function isSameReader(a: PackedUser, b: PackedUser): boolean {
  return (Object.keys(a) as (keyof PackedUser)[]).every((field) => {
    const [one, other] = [a[field], b[field]];
    if (field === 'seen') return true;
    if (typeof one !== 'object' || typeof other !== 'object') return one === other;
    return one.length === other.length && one.every((value: number, i: number) => value === other[i]);
  });
}

function withoutSeen(slate: SlateResult, seen: Uint32Array, exclude: Uint32Array): SlateResult['posts'] {
  const taken = new PairSet();
  taken.reset((seen.length + exclude.length) / 2);
  taken.addAll(seen);
  taken.addAll(exclude);
  return slate.posts.filter(({ postId }) => {
    const { lo, hi } = hash64(postId);
    return !taken.has(lo, hi);
  });
}

function hasPair(pairs: Uint32Array, lo: number, hi: number): boolean {
  for (let i = 0; i + 1 < pairs.length; i += 2) if (pairs[i] === lo && pairs[i + 1] === hi) return true;
  return false;
}
