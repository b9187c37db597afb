// The truth of a generated world: how likely a user is to be pleased by a post. Nothing here is stored or shown to
// the service; evaluations compare feeds with it. Called by impressions.ts and world.ts.
import { NO_SECOND, type PostColumns } from './post-table.ts';
import { mix, sigmoid } from './rng.ts';
import type { UserProfile } from './user-profile.ts';

const HOUR_MS = 3_600_000;

/**
 * Log-odds of a click by a user who looks at the post. Chosen so that a post of a main interest is clicked in about
 * half of its looks, one of a neighbouring sub-topic in about one of seven and one of a foreign topic in one of a hundred.
 */
export const CLICK = {
  base: -4.6,
  topic: 4.6,
  quality: 0.7,
  bait: 0.9,
  follow: 0.9,
  authorTaste: 0.5,
  freshness: 1,
  freshnessHours: 24,
  unreadable: -5,
  noise: 0.3,
} as const;

/** Log-odds that a click satisfies: quality keeps what bait only promised. */
export const SATISFACTION = { base: 1.2, quality: 1.2, bait: -1.6 } as const;

/** Factor on a click's probability for each post of the same sub-topic (author) among the last FATIGUE_WINDOW shown. */
export const FATIGUE = { subTopic: 0.85, author: 0.7, window: 12 } as const;

/** Log-odds of a click at time `at`, without noise, position or fatigue. */
export function clickLogit(
  posts: PostColumns,
  profile: UserProfile,
  seed: number,
  post: number,
  at: number,
): number {
  const author = posts.author[post];
  const second = posts.second[post];
  let topic = profile.topicAffinity[posts.subTopic[post]];
  if (second !== NO_SECOND) topic += posts.secondWeight[post] * (profile.topicAffinity[second] - topic);
  const ageHours = Math.max(0, at - posts.createdAt[post]) / HOUR_MS;
  return (
    CLICK.base +
    CLICK.topic * topic +
    CLICK.quality * posts.quality[post] +
    CLICK.bait * posts.bait[post] +
    CLICK.authorTaste * authorTaste(seed, profile.index, author) +
    (profile.follows.has(author) ? CLICK.follow : 0) +
    CLICK.freshness * profile.freshnessAppetite * Math.exp(-ageHours / CLICK.freshnessHours) +
    (profile.reads[posts.language[post]] ? 0 : CLICK.unreadable)
  );
}

/** Probability that a click turns out well (long dwell; likes, replies and shares come only then). */
export function satisfaction(posts: PostColumns, post: number): number {
  return sigmoid(
    SATISFACTION.base + SATISFACTION.quality * posts.quality[post] + SATISFACTION.bait * posts.bait[post],
  );
}

/** A user's own taste in an author, about standard normal: three uniform bytes of a hash. */
function authorTaste(seed: number, user: number, author: number): number {
  const bits = mix(mix(seed, user), author + 0x51ed270b);
  const sum = (bits & 0xff) + ((bits >>> 8) & 0xff) + ((bits >>> 16) & 0xff);
  return (sum / 255 - 1.5) * 2;
}
