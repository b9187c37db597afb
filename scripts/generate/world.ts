// A synthetic world of posts, users, edges and events with a known truth: the same options give the same bytes. Batches
// stream, columns stay (≈ 50 bytes a post). Called by scripts/generate.ts, the demo, training and evaluations.
import type { Edge, EngagementEvent, Post, User } from '../../src/contracts.ts';
import { clickLogit, satisfaction } from './affinity.ts';
import { fatigue, type ImpressionContext, userEvents } from './impressions.ts';
import { WORLD_LANGUAGES } from './lexicon.ts';
import { makeAuthors, makePosts, NO_SECOND, topicName } from './post-table.ts';
import { writePost } from './post-text.ts';
import { Rng, sigmoid } from './rng.ts';
import { makeTopicSpace } from './topic-space.ts';
import { makeProfile, publicEdges, publicUser, type UserProfile } from './user-profile.ts';

const DAY_MS = 24 * 3_600_000;
/** The end of a world whose `now` was not given: fixed, so that the bytes do not depend on the day. */
export const DEFAULT_NOW = Date.UTC(2026, 0, 15);
/** One author in ten is also a user, so that own posts exist. */
const WRITER_STEP = 10;

export interface WorldOptions {
  posts: number;
  users: number;
  seed: number;
  /** Age of the oldest post, days. Default 14. */
  days?: number;
  /** End of the world, unix ms: no post or event is later. */
  now?: number;
  /** Mean impressions a user; clicks and what follows come on top. Default 120. */
  eventsPerUser?: number;
}

export interface World {
  readonly options: Required<WorldOptions>;
  readonly authorCount: number;
  postId(post: number): string;
  userId(user: number): string;
  authorId(author: number): string;
  /** Index of a post id, −1 for an id that is not of this world. */
  postIndex(id: string): number;
  /** Index of a user id, −1 for an id that is not of this world. */
  userIndex(id: string): number;
  post(index: number): Post;
  user(index: number): User;
  posts(batchSize?: number): Generator<Post[]>;
  users(batchSize?: number): Generator<User[]>;
  edges(batchSize?: number): Generator<Edge[]>;
  /** By user, each user's events in time order. */
  events(batchSize?: number): Generator<EngagementEvent[]>;
  eventsOf(user: number): EngagementEvent[];
  profile(user: number): UserProfile;
  createdAtOf(post: number): number;
  authorOf(post: number): number;
  subTopicOf(post: number): number;
  /** Cosine of two sub-topics in the latent space. */
  similarity(subTopic: number, other: number): number;
  /** A post's weight in the logging policy's popularity draws. */
  exposureOf(post: number): number;
  /**
   * Probability that the user, looking at the post at time `at` (default: now), clicks and is satisfied: before position
   * bias, fatigue and noise.
   */
  trueAffinity(user: number, post: number, at?: number): number;
  /** trueAffinity of every post, [posts]. */
  affinities(user: number, at?: number): Float32Array;
  /** Factor on an affinity after the posts shown just before (oldest first). */
  fatigue(recent: readonly number[], post: number): number;
  /** Posts the feed may show: 1 where not yet shown to the user, not own, not blocked or muted. [posts] */
  eligible(user: number): Uint8Array;
}

export function generateWorld(given: WorldOptions): World {
  const options = { days: 14, now: DEFAULT_NOW, eventsPerUser: 120, ...dropUndefined(given) };
  const { seed, now: to } = options;
  const from = to - options.days * DAY_MS;
  const space = makeTopicSpace(seed);
  const authors = makeAuthors(seed, options.posts, space);
  const posts = makePosts(seed, options.posts, { from, to }, space, authors);
  const textRng = new Rng(seed, 'text');
  const byAuthor = groupByAuthor(posts.author, authors.count);

  const postId = (post: number): string => `p${post}`;
  const userId = (user: number): string => `u${user}`;
  const writerOf = (author: number): number => {
    const user = author % WRITER_STEP === 0 ? author / WRITER_STEP : -1;
    return user < options.users ? user : -1;
  };
  const authorId = (author: number): string =>
    writerOf(author) >= 0 ? userId(writerOf(author)) : authorHandle(seed, author);
  const context: ImpressionContext = { seed, space, posts, authors, from, to, postId, postsOf: byAuthor };

  let kept: UserProfile | null = null;
  const profile = (user: number): UserProfile => {
    if (kept?.index !== user) {
      kept = makeProfile({ seed, space, authors, from, to, meanImpressions: options.eventsPerUser }, user);
    }
    return kept;
  };
  const post = (index: number): Post => {
    textRng.at(index);
    const second = posts.second[index] === NO_SECOND ? -1 : posts.second[index];
    const language = WORLD_LANGUAGES[posts.language[index]];
    const made: Post = {
      id: postId(index),
      authorId: authorId(posts.author[index]),
      createdAt: posts.createdAt[index],
      ...writePost(textRng, language, posts.subTopic[index], second),
      language,
      mediaType: textRng.chance(0.25) ? 'image' : textRng.chance(0.1) ? 'video' : 'none',
    };
    if (!textRng.chance(0.06)) made.topic = topicName(posts.subTopic[index]);
    if (textRng.chance(0.01)) made.sensitive = true;
    return made;
  };
  const trueAffinity = (user: number, index: number, at = to): number =>
    sigmoid(clickLogit(posts, profile(user), seed, index, at)) * satisfaction(posts, index);
  const eventsOf = (user: number): EngagementEvent[] => userEvents(context, profile(user), userId(user));

  return {
    options,
    authorCount: authors.count,
    postId,
    userId,
    authorId,
    postIndex: (id) => indexOf(id, 'p', options.posts),
    userIndex: (id) => indexOf(id, 'u', options.users),
    post,
    user: (user) => publicUser(profile(user), userId(user), seed),
    posts: (size = 2_000) => batches(options.posts, size, (index) => [post(index)]),
    users: (size = 2_000) => batches(options.users, size, (u) => [publicUser(profile(u), userId(u), seed)]),
    edges: (size = 2_000) =>
      batches(options.users, size, (u) => publicEdges(profile(u), userId(u), authorId)),
    events: (size = 5_000) => batches(options.users, size, eventsOf),
    eventsOf,
    profile,
    createdAtOf: (index) => posts.createdAt[index],
    authorOf: (index) => posts.author[index],
    subTopicOf: (index) => posts.subTopic[index],
    similarity: (subTopic, other) => space.similarity[subTopic * space.size + other],
    exposureOf: (index) => posts.exposureTotals[index] - (index ? posts.exposureTotals[index - 1] : 0),
    trueAffinity,
    affinities: (user, at = to) => {
      const all = new Float32Array(options.posts);
      for (let index = 0; index < all.length; index++) all[index] = trueAffinity(user, index, at);
      return all;
    },
    fatigue: (recent, index) => fatigue(posts, recent, index),
    eligible: (user) => {
      const allowed = new Uint8Array(options.posts).fill(1);
      const seen = eventsOf(user);
      for (const event of seen) allowed[indexOf(event.postId, 'p', options.posts)] = 0;
      const { blocked, mutedAuthors, mutedSubTopics, mutedWord } = profile(user);
      for (let index = 0; index < options.posts; index++) {
        const author = posts.author[index];
        if (blocked.has(author) || mutedAuthors.has(author) || writerOf(author) === user) allowed[index] = 0;
        else if (mutedSubTopics.has(posts.subTopic[index])) allowed[index] = 0;
        else if (mutedWord && hasWord(post(index), mutedWord)) allowed[index] = 0;
      }
      return allowed;
    },
  };
}

function dropUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}

function indexOf(id: string, letter: string, count: number): number {
  if (!/^[a-z](0|[1-9]\d{0,8})$/.test(id) || id[0] !== letter) return -1;
  const index = Number(id.slice(1));
  return index < count ? index : -1;
}

function hasWord(post: Post, word: string): boolean {
  return `${post.title} ${post.text ?? ''}`
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .includes(word);
}

/** Items of `count` indexes, flattened into batches of at least `size`. */
function* batches<T>(count: number, size: number, itemsOf: (index: number) => T[]): Generator<T[]> {
  let batch: T[] = [];
  for (let index = 0; index < count; index++) {
    for (const item of itemsOf(index)) batch.push(item);
    if (batch.length >= size) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

function groupByAuthor(author: Uint32Array, count: number): (author: number) => Uint32Array {
  const start = new Uint32Array(count + 1);
  for (const a of author) start[a + 1]++;
  for (let a = 0; a < count; a++) start[a + 1] += start[a];
  const next = start.slice();
  const order = new Uint32Array(author.length);
  for (let p = 0; p < author.length; p++) order[next[author[p]]++] = p;
  return (a) => order.subarray(start[a], start[a + 1]);
}

const FIRST =
  'ana ben carla dev elif finn grace hugo ines jun kofi lena marco nora omar paula quinn rosa sam tara'.split(
    ' ',
  );
const LAST =
  'costa mori weber silva okafor novak lima meyer dubois haddad ito larsen moreau park reyes rossi'.split(
    ' ',
  );

function authorHandle(seed: number, author: number): string {
  const rng = new Rng(seed, 'handle').at(author);
  return `${rng.pick(FIRST)}.${rng.pick(LAST)}.${author}`;
}
