// Hidden and visible traits of generated users, made on demand from (seed, user). The interests are the truth that
// affinity.ts computes with; the profile and the edges are what the service is told. Called by world.ts.
import type { Edge, User } from '../../src/contracts.ts';
import { WORLD_LANGUAGES } from './lexicon.ts';
import { type AuthorColumns, topicName } from './post-table.ts';
import { drawWeighted, Rng } from './rng.ts';
import type { TopicSpace } from './topic-space.ts';

const DAY_MS = 24 * 3_600_000;
/** Impressions of a user are `mean × ACTIVITY_MEAN⁻¹ × u^−1/2`, a Zipf tail, cut at this multiple of the mean. */
const ACTIVITY_CUT = 12;
/** Users who signed up and never looked: the cold start. */
const SILENT_SHARE = 0.03;
const MEAN_FOLLOWS = 10;
const COUNTRIES: Record<string, string[]> = {
  en: ['US', 'GB', 'IN', 'CA', 'AU'],
  es: ['ES', 'MX', 'AR'],
  pt: ['BR', 'PT'],
  fr: ['FR', 'BE'],
  de: ['DE', 'AT'],
};

export interface UserProfile {
  index: number;
  /** Sub-topics of interest with Dirichlet weights, heaviest first. */
  interests: { subTopic: number; weight: number }[];
  /** [sub-topics] affinity in about [−.4, 1], see affinity.ts. */
  topicAffinity: Float32Array;
  /** By WORLD_LANGUAGES. */
  reads: boolean[];
  /** How much newer posts attract, 0 to 1. */
  freshnessAppetite: number;
  /** Multiplies the chances of likes, replies and shares. */
  expressiveness: number;
  impressions: number;
  createdAt: number;
  follows: Map<number, number>;
  blocked: Set<number>;
  mutedAuthors: Set<number>;
  mutedSubTopics: Set<number>;
  mutedWord: string | null;
}

export interface ProfileContext {
  seed: number;
  space: TopicSpace;
  authors: AuthorColumns;
  from: number;
  to: number;
  meanImpressions: number;
}

export function makeProfile(context: ProfileContext, index: number): UserProfile {
  const { space, authors } = context;
  const rng = new Rng(context.seed, 'user').at(index);
  const home = rng.chance(0.6) ? 0 : 1 + rng.below(WORLD_LANGUAGES.length - 1);
  const reads = WORLD_LANGUAGES.map((_, language) => language === home);
  if (home !== 0) reads[0] = rng.chance(0.7);
  else if (rng.chance(0.1)) reads[1 + rng.below(WORLD_LANGUAGES.length - 1)] = true;

  const interests = drawInterests(rng, space);
  const silent = rng.chance(SILENT_SHARE);
  const tail = Math.min(ACTIVITY_CUT, 0.5 / Math.sqrt(1 - rng.next()));
  const createdAt = Math.floor(context.from - (3 * 365 * rng.next() ** 2 + 1) * DAY_MS);
  const follows = new Map<number, number>();
  const wanted = Math.round(MEAN_FOLLOWS * rng.exponential());
  for (let i = 0; i < wanted; i++) {
    const author = drawAuthor(rng, interests, authors, reads);
    if (author >= 0)
      follows.set(author, Math.floor(createdAt + rng.next() * (context.to - DAY_MS - createdAt)));
  }
  const disliked = leastLiked(rng, interests, space);
  const profile: UserProfile = {
    index,
    interests,
    topicAffinity: topicAffinity(interests, space),
    reads,
    freshnessAppetite: rng.next(),
    expressiveness: Math.exp(0.6 * rng.normal()),
    impressions: silent ? 0 : Math.round(context.meanImpressions * tail),
    createdAt,
    follows,
    blocked: new Set(),
    mutedAuthors: new Set(),
    mutedSubTopics: new Set(rng.chance(0.04) ? [disliked] : []),
    mutedWord: rng.chance(0.02) ? topicName(disliked).split('-')[0] : null,
  };
  for (const set of [profile.blocked, profile.mutedAuthors]) {
    if (!rng.chance(0.05)) continue;
    const author = drawAuthor(rng, [{ subTopic: disliked, weight: 1 }], authors, [
      true,
      true,
      true,
      true,
      true,
    ]);
    if (author >= 0 && !follows.has(author)) set.add(author);
  }
  return profile;
}

/** Two to five sub-topics: the first by popularity, the others half the time close to it; Dirichlet(1) weights. */
function drawInterests(rng: Rng, space: TopicSpace): UserProfile['interests'] {
  const chosen = new Set([drawWeighted(space.popularity, rng.next())]);
  const wanted = 2 + rng.below(4);
  const [first] = chosen;
  while (chosen.size < wanted) {
    chosen.add(rng.chance(0.5) ? rng.pick(space.nearest[first]) : drawWeighted(space.popularity, rng.next()));
  }
  const raw = [...chosen].map((subTopic) => ({ subTopic, weight: rng.exponential() + 0.1 }));
  const sum = raw.reduce((total, { weight }) => total + weight, 0);
  return raw
    .map(({ subTopic, weight }) => ({ subTopic, weight: weight / sum }))
    .sort((a, b) => b.weight - a.weight);
}

/** For every sub-topic the best of (strength of interest × cosine to it); strength = (weight ÷ heaviest)^.35. */
function topicAffinity(interests: UserProfile['interests'], space: TopicSpace): Float32Array {
  const affinity = new Float32Array(space.size).fill(-1);
  for (const { subTopic, weight } of interests) {
    const strength = (weight / interests[0].weight) ** 0.35;
    for (let s = 0; s < space.size; s++) {
      affinity[s] = Math.max(affinity[s], strength * space.similarity[subTopic * space.size + s]);
    }
  }
  return affinity;
}

function leastLiked(rng: Rng, interests: UserProfile['interests'], space: TopicSpace): number {
  const affinity = topicAffinity(interests, space);
  let worst = rng.below(space.size);
  for (let i = 0; i < 6; i++) {
    const other = rng.below(space.size);
    if (affinity[other] < affinity[worst]) worst = other;
  }
  return worst;
}

/** An author of a drawn interest, by reach; readable ones preferred. −1 when that sub-topic has no author. */
function drawAuthor(
  rng: Rng,
  interests: UserProfile['interests'],
  authors: AuthorColumns,
  reads: boolean[],
): number {
  let author = -1;
  for (let attempt = 0; attempt < 4; attempt++) {
    const subTopic = drawInterest(rng, interests);
    const at = drawWeighted(
      authors.reachTotals,
      rng.next(),
      authors.start[subTopic],
      authors.start[subTopic + 1],
    );
    if (at < 0) continue;
    author = authors.order[at];
    if (reads[authors.language[author]]) return author;
  }
  return author;
}

export function drawInterest(rng: Rng, interests: UserProfile['interests']): number {
  let left = rng.next();
  for (const { subTopic, weight } of interests) {
    left -= weight;
    if (left <= 0) return subTopic;
  }
  return interests[0].subTopic;
}

/** What the service is told of a user. Half the users name interests at sign-up, the silent ones always. */
export function publicUser(profile: UserProfile, id: string, seed: number): User {
  const rng = new Rng(seed, 'profile').at(profile.index);
  const home = WORLD_LANGUAGES[profile.reads.lastIndexOf(true)];
  const user: User = {
    id,
    createdAt: profile.createdAt,
    languages: WORLD_LANGUAGES.filter((_, language) => profile.reads[language]),
    country: rng.pick(COUNTRIES[home]),
  };
  if (profile.impressions === 0 || rng.chance(0.5)) {
    user.topics = profile.interests.slice(0, 3).map(({ subTopic }) => topicName(subTopic));
  }
  return user;
}

export function publicEdges(
  profile: UserProfile,
  userId: string,
  authorId: (author: number) => string,
): Edge[] {
  const createdAt = profile.createdAt + 3_600_000;
  const edges: Edge[] = [];
  for (const [author, at] of profile.follows) {
    edges.push({ userId, kind: 'follow', target: authorId(author), createdAt: at });
  }
  for (const author of profile.blocked)
    edges.push({ userId, kind: 'block', target: authorId(author), createdAt });
  for (const author of profile.mutedAuthors) {
    edges.push({ userId, kind: 'mute_author', target: authorId(author), createdAt });
  }
  for (const subTopic of profile.mutedSubTopics) {
    edges.push({ userId, kind: 'mute_topic', target: topicName(subTopic), createdAt });
  }
  if (profile.mutedWord) edges.push({ userId, kind: 'mute_word', target: profile.mutedWord, createdAt });
  return edges;
}
