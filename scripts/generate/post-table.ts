// Authors and posts of a generated world as columns: about 50 bytes a post, so that five million fit. Posts are numbered
// by time of creation. Called by world.ts, affinity.ts and impressions.ts.
import { LEXICON, subTopicsIn, WORLD_LANGUAGES } from './lexicon.ts';
import { drawWeighted, Rng } from './rng.ts';
import { type TopicSpace, zipfTotals } from './topic-space.ts';

/** Authors' output and reach follow Zipf laws (exponents of the order reported for social networks). */
const OUTPUT_ZIPF = 0.7;
const REACH_ZIPF = 0.9;
const POSTS_PER_AUTHOR = 25;
/** Share of authors that write in English; the rest is split evenly over the other languages. */
const ENGLISH_SHARE = 0.6;
const SECOND_SUB_TOPIC_SHARE = 0.35;
const BAIT_SHARE = 0.12;
/** Age of the x-th newest share of posts is `x^AGE_POWER` of the whole span: recent days are fuller. */
const AGE_POWER = 1.5;

export interface AuthorColumns {
  count: number;
  /** Index into WORLD_LANGUAGES. */
  language: Uint8Array;
  /** [count × 3] sub-topics, the first repeated where there are fewer. */
  subTopics: Uint8Array;
  quality: Float32Array;
  /** Zipf weight of following; 1 = the most followed. */
  reach: Float32Array;
  /** Authors by first sub-topic: those of s are `order[start[s] .. start[s + 1])`, `reachTotals` runs along `order`. */
  order: Uint32Array;
  start: Uint32Array;
  reachTotals: Float64Array;
}

export interface PostColumns {
  count: number;
  createdAt: Float64Array;
  author: Uint32Array;
  subTopic: Uint8Array;
  /** 255 = none. */
  second: Uint8Array;
  /** Weight of the second sub-topic, 0 to .45. */
  secondWeight: Float32Array;
  quality: Float32Array;
  /** How much the title promises beyond the content: draws clicks, disappoints. 0 for most. */
  bait: Float32Array;
  language: Uint8Array;
  /** Running totals of exposure, in post order. */
  exposureTotals: Float64Array;
  /** Posts by sub-topic, by time: those of s are `order[start[s] .. start[s + 1])`; totals run along `order`. */
  order: Uint32Array;
  start: Uint32Array;
  orderTotals: Float64Array;
}

export const NO_SECOND = 255;

export function makeAuthors(seed: number, posts: number, space: TopicSpace): AuthorColumns {
  const count = Math.max(8, Math.ceil(posts / POSTS_PER_AUTHOR));
  const language = new Uint8Array(count);
  const subTopics = new Uint8Array(count * 3);
  const quality = new Float32Array(count);
  const reach = new Float32Array(count);
  const rng = new Rng(seed, 'author');
  const reachTotals = zipfTotals(count, REACH_ZIPF, rng.at(0));
  const offered = WORLD_LANGUAGES.map((code) => new Set(subTopicsIn(code)));
  for (let a = 0; a < count; a++) {
    rng.at(a + 1);
    language[a] = rng.chance(ENGLISH_SHARE) ? 0 : 1 + rng.below(WORLD_LANGUAGES.length - 1);
    const has = offered[language[a]];
    let first = drawWeighted(space.popularity, rng.next());
    while (!has.has(first)) first = drawWeighted(space.popularity, rng.next());
    subTopics.fill(first, a * 3, a * 3 + 3);
    const extra = rng.below(3);
    for (let i = 1; i <= extra; i++) {
      const near = rng.pick(space.nearest[first]);
      if (has.has(near)) subTopics[a * 3 + i] = near;
    }
    quality[a] = rng.normal();
    reach[a] = reachTotals[a] - (a ? reachTotals[a - 1] : 0);
  }
  const { order, start } = groupBy(count, space.size, (a) => subTopics[a * 3]);
  return {
    count,
    language,
    subTopics,
    quality,
    reach,
    order,
    start,
    reachTotals: totals(order, (a) => reach[a]),
  };
}

export function makePosts(
  seed: number,
  count: number,
  span: { from: number; to: number },
  space: TopicSpace,
  authors: AuthorColumns,
): PostColumns {
  const columns: PostColumns = {
    count,
    createdAt: new Float64Array(count),
    author: new Uint32Array(count),
    subTopic: new Uint8Array(count),
    second: new Uint8Array(count).fill(NO_SECOND),
    secondWeight: new Float32Array(count),
    quality: new Float32Array(count),
    bait: new Float32Array(count),
    language: new Uint8Array(count),
    exposureTotals: new Float64Array(count),
    order: new Uint32Array(),
    start: new Uint32Array(),
    orderTotals: new Float64Array(),
  };
  const rng = new Rng(seed, 'post');
  const output = zipfTotals(authors.count, OUTPUT_ZIPF, rng.at(0));
  const exposure = new Float32Array(count);
  let total = 0;
  for (let p = 0; p < count; p++) {
    rng.at(p + 1);
    const age = ((count - p - rng.next()) / count) ** AGE_POWER;
    columns.createdAt[p] = Math.floor(span.to - (span.to - span.from) * age);
    const author = drawWeighted(output, rng.next());
    const subTopic = authors.subTopics[author * 3 + rng.below(3)];
    columns.author[p] = author;
    columns.subTopic[p] = subTopic;
    columns.language[p] = authors.language[author];
    if (rng.chance(SECOND_SUB_TOPIC_SHARE)) {
      columns.second[p] = rng.pick(space.nearest[subTopic]);
      columns.secondWeight[p] = 0.15 + 0.3 * rng.next();
    }
    const quality = 0.6 * authors.quality[author] + 0.8 * rng.normal();
    const bait = rng.chance(BAIT_SHARE) ? 0.5 + 1.5 * rng.next() : 0;
    columns.quality[p] = quality;
    columns.bait[p] = bait;
    exposure[p] = Math.exp(1.1 * rng.normal() + 0.6 * quality + 0.5 * bait) * authors.reach[author] ** 0.5;
    columns.exposureTotals[p] = total += exposure[p];
  }
  const { order, start } = groupBy(count, space.size, (p) => columns.subTopic[p]);
  return Object.assign(columns, { order, start, orderTotals: totals(order, (p) => exposure[p]) });
}

/** Counting sort: indexes grouped by `groupOf`, in rising order within a group. */
function groupBy(count: number, groups: number, groupOf: (index: number) => number) {
  const start = new Uint32Array(groups + 1);
  for (let i = 0; i < count; i++) start[groupOf(i) + 1]++;
  for (let g = 0; g < groups; g++) start[g + 1] += start[g];
  const next = start.slice();
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[next[groupOf(i)]++] = i;
  return { order, start };
}

function totals(order: Uint32Array, weightOf: (index: number) => number): Float64Array {
  const running = new Float64Array(order.length);
  let sum = 0;
  for (let i = 0; i < order.length; i++) running[i] = sum += weightOf(order[i]);
  return running;
}

/** Name of a post's topic as stored: its sub-topic's. */
export function topicName(subTopic: number): string {
  return LEXICON.subTopics[subTopic].name;
}
