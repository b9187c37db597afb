// What generated users saw and did: sessions of an older recommender (interest, popularity, followed authors, chance),
// with position bias, topic fatigue and noise on the true affinities. Called by world.ts.
import type { EngagementEvent } from '../../src/contracts.ts';
import { CLICK, clickLogit, FATIGUE, satisfaction } from './affinity.ts';
import type { AuthorColumns, PostColumns } from './post-table.ts';
import { drawWeighted, Rng, sigmoid, upperBound } from './rng.ts';
import type { TopicSpace } from './topic-space.ts';
import { drawInterest, type UserProfile } from './user-profile.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Nobody has seen the posts of the last minutes: there are always posts without any event. */
const UNSEEN_MS = 20 * MINUTE_MS;
/** Examination at 0-based position k is `(1 + k)^−.35`. */
export const POSITION_BIAS = 0.35;
/** Cumulative shares of the logging policy: interest, popularity, followed authors; the rest is random and recent. */
const POLICY = { interest: 0.45, popular: 0.75, following: 0.85 } as const;
/** How far back the policy looks, days. */
const LOOK_BACK_DAYS = 4;

export interface ImpressionContext {
  seed: number;
  space: TopicSpace;
  posts: PostColumns;
  authors: AuthorColumns;
  /** Posts of each author, by time. */
  postsOf: (author: number) => Uint32Array;
  from: number;
  to: number;
  postId: (post: number) => string;
}

/** All events of one user, by session in time order, ids unique per user. */
export function userEvents(
  context: ImpressionContext,
  profile: UserProfile,
  userId: string,
): EngagementEvent[] {
  const { posts } = context;
  const events: EngagementEvent[] = [];
  if (profile.impressions === 0 || posts.count === 0) return events;
  const rng = new Rng(context.seed, 'session').at(profile.index);
  const shown = new Set<number>();
  const end = context.to - UNSEEN_MS;
  const times: number[] = [];
  for (let planned = 0; planned < profile.impressions; ) {
    const size = 6 + rng.below(14);
    times.push(sessionTime(rng, context.from, end));
    planned += size;
  }
  times.sort((a, b) => a - b);
  let left = profile.impressions;
  for (const start of times) {
    const slots = Math.min(left, 6 + rng.below(14));
    left -= slots;
    showSession(context, profile, userId, rng, start, slots, shown, events);
  }
  return events;
}

/** More sessions in recent days, fewer at night. */
function sessionTime(rng: Rng, from: number, end: number): number {
  for (;;) {
    const at = end - (end - from) * 0.92 * rng.next() ** 1.2;
    const hour = (at / (60 * MINUTE_MS)) % 24;
    if (rng.chance(0.6 - 0.4 * Math.cos(((hour - 3) / 24) * 2 * Math.PI))) return Math.floor(at);
  }
}

function showSession(
  context: ImpressionContext,
  profile: UserProfile,
  userId: string,
  rng: Rng,
  start: number,
  slots: number,
  shown: Set<number>,
  events: EngagementEvent[],
): void {
  const { posts } = context;
  const before = upperBound(posts.createdAt, start);
  const oldest = upperBound(posts.createdAt, start - LOOK_BACK_DAYS * DAY_MS);
  const recent: number[] = [];
  let at = start;
  for (let position = 0; position < slots; position++) {
    const post = drawPost(context, profile, rng, oldest, before, shown);
    if (post < 0) continue;
    shown.add(post);
    at += 1_500 + Math.floor(3_000 * rng.exponential());
    const push = (type: EngagementEvent['type'], delay: number, dwellMs?: number): void => {
      events.push({
        id: `${profile.index}-${events.length}`,
        userId,
        postId: context.postId(post),
        type,
        at: Math.min(at + delay, context.to),
        position,
        ...(dwellMs === undefined ? {} : { dwellMs }),
      });
    };
    push('impression', 0);
    const logit = clickLogit(posts, profile, context.seed, post, at) + CLICK.noise * rng.normal();
    const clicks = sigmoid(logit) * (1 + position) ** -POSITION_BIAS * fatigue(posts, recent, post);
    recent.push(post);
    if (recent.length > FATIGUE.window) recent.shift();
    if (!rng.chance(clicks)) {
      if (logit < -3.5 && rng.chance(0.012)) push(rng.chance(0.5) ? 'hide' : 'not_interested', 900);
      continue;
    }
    at += engage(context, profile, rng, post, push);
  }
}

/** Events after a click; returns the time spent, ms. */
function engage(
  context: ImpressionContext,
  profile: UserProfile,
  rng: Rng,
  post: number,
  push: (type: EngagementEvent['type'], delay: number, dwellMs?: number) => void,
): number {
  push('click', 700);
  const satisfied = rng.chance(satisfaction(context.posts, post));
  const median = satisfied ? 24_000 : 3_500;
  const dwellMs = Math.min(600_000, Math.round(median * Math.exp(0.7 * rng.normal())));
  push('dwell', 700 + dwellMs, dwellMs);
  if (satisfied) {
    const liked = rng.chance(Math.min(0.7, 0.22 * profile.expressiveness));
    if (liked) push('like', 1_000 + Math.floor(dwellMs * 0.6));
    if (rng.chance(Math.min(0.3, 0.05 * profile.expressiveness))) push('reply', 900 + dwellMs);
    if (rng.chance(Math.min(0.3, 0.045 * profile.expressiveness))) push('share', 950 + dwellMs);
    if (liked && rng.chance(0.01)) push('unlike', 2_000 + dwellMs);
  } else if (rng.chance(0.12)) {
    push(rng.chance(0.5) ? 'hide' : 'not_interested', 1_500 + dwellMs);
    if (rng.chance(0.1)) push('report', 2_500 + dwellMs);
  }
  return 700 + dwellMs;
}

/** Product of the fatigue factors of the posts shown just before. */
export function fatigue(posts: PostColumns, recent: readonly number[], post: number): number {
  let factor = 1;
  for (const other of recent) {
    if (posts.subTopic[other] === posts.subTopic[post]) factor *= FATIGUE.subTopic;
    if (posts.author[other] === posts.author[post]) factor *= FATIGUE.author;
  }
  return factor;
}

/** A post not shown to this user yet, −1 when eight draws found none. */
function drawPost(
  context: ImpressionContext,
  profile: UserProfile,
  rng: Rng,
  oldest: number,
  before: number,
  shown: Set<number>,
): number {
  const { posts } = context;
  const blocked = (author: number): boolean =>
    profile.blocked.has(author) || profile.mutedAuthors.has(author);
  for (let attempt = 0; attempt < 8; attempt++) {
    const post = candidate(context, profile, rng, oldest, before);
    if (post < 0 || shown.has(post) || blocked(posts.author[post])) continue;
    if (profile.mutedSubTopics.has(posts.subTopic[post])) continue;
    // The older recommender knows languages, but not perfectly.
    if (!profile.reads[posts.language[post]] && !rng.chance(0.03)) continue;
    return post;
  }
  return -1;
}

function candidate(
  context: ImpressionContext,
  profile: UserProfile,
  rng: Rng,
  oldest: number,
  before: number,
): number {
  const { posts, space } = context;
  const draw = rng.next();
  if (draw < POLICY.interest) {
    let subTopic = drawInterest(rng, profile.interests);
    if (rng.chance(0.35)) subTopic = rng.pick(space.nearest[subTopic]);
    const from = firstAtLeast(posts.order, posts.start[subTopic], posts.start[subTopic + 1], oldest);
    const to = firstAtLeast(posts.order, from, posts.start[subTopic + 1], before);
    const at = drawWeighted(posts.orderTotals, rng.next(), from, to);
    return at < 0 ? -1 : posts.order[at];
  }
  if (draw < POLICY.popular) return drawWeighted(posts.exposureTotals, rng.next(), oldest, before);
  if (draw < POLICY.following && profile.follows.size > 0) {
    const authors = [...profile.follows.keys()];
    const own = context.postsOf(rng.pick(authors));
    const to = firstAtLeast(own, 0, own.length, before);
    return to === 0 ? -1 : own[to - 1 - Math.floor(Math.min(to, 10) * rng.next())];
  }
  return before - 1 - Math.floor((before - oldest) * rng.next() ** 2);
}

/** First position in the rising `values[from .. to)` whose value is ≥ `target`. */
function firstAtLeast(values: Uint32Array, from: number, to: number, target: number): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle] >= target) high = middle;
    else low = middle + 1;
  }
  return low;
}
