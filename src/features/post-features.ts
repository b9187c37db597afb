// The post and author columns of a row, from its record: age, decayed heat, smoothed rates. Called by the encoder.
import type { Catalogue } from '../contracts.ts';
import {
  AUTHOR_FIELD,
  AUTHOR_WORDS,
  FAST_HALF_LIFE_HOURS,
  FIELD,
  FLAG,
  RECORD_WORDS,
  SLOW_HALF_LIFE_HOURS,
} from '../post-record.ts';
import { cleanCount, logCount } from './feature-request.ts';
import { fullOffset } from './feature-schema.ts';

/** Upper edges of the age buckets; the last bucket is open. */
export const AGE_BUCKET_HOURS = [1, 6, 24, 72, 168] as const;

/**
 * Priors of the rates (click, like, reply, share, long dwell, negative per impression), of the order seen in public
 * feed logs. They centre the features, nothing more: a model is trained on top of them.
 */
export const RATE_PRIORS = [0.1, 0.03, 0.005, 0.005, 0.06, 0.01] as const;
/** Impressions that a prior weighs as much as: a rate is believed once it rests on a few dozen. */
export const PRIOR_IMPRESSIONS = 20;
/** Weighted engagement (click 1 … share 4) per impression that the slow rate is smoothed to. */
export const ENGAGEMENT_PRIOR = 0.2;
const DWELL_PRIOR_SECONDS = 3;

const HOUR_MS = 3_600_000;
const AT = {
  age: fullOffset('post_age@1'),
  bucket: fullOffset('post_age_bucket@1'),
  heat: fullOffset('post_heat@1'),
  slowRate: fullOffset('post_slow_rate@1'),
  rates: fullOffset('post_rates@1'),
  totals: fullOffset('post_totals@1'),
  dwell: fullOffset('post_dwell@1'),
  textLength: fullOffset('post_text_length@1'),
  kind: fullOffset('post_kind@1'),
  authorCounters: fullOffset('author_counters@1'),
  authorRates: fullOffset('author_rates@1'),
};
/** A rate's distance from its prior is bounded: e^6 ≈ 400 times. */
const MAX_LOG_RATIO = 6;

/** ln of (count + prior × weight) / (impressions + weight) / prior; counts without impressions are bounded. */
function logRate(count: number, impressions: number, prior: number): number {
  const smoothed =
    (cleanCount(count) + prior * PRIOR_IMPRESSIONS) / (cleanCount(impressions) + PRIOR_IMPRESSIONS);
  return Math.max(-MAX_LOG_RATIO, Math.min(MAX_LOG_RATIO, Math.log(smoothed / prior)));
}

/** Fills the post and author columns of a full row, as of `nowMs`. Posts from the future have age 0. */
export function fillPost(out: Float32Array, catalogue: Catalogue, row: number, nowMs: number): void {
  const { u32, f32, f64 } = catalogue.records;
  const at = row * RECORD_WORDS;
  const hours = Math.max(0, (nowMs - f64[at >>> 1]) / HOUR_MS);
  out[AT.age] = logCount(hours);
  let bucket = 0;
  while (bucket < AGE_BUCKET_HOURS.length && hours >= AGE_BUCKET_HOURS[bucket]) bucket++;
  for (let i = 0; i <= AGE_BUCKET_HOURS.length; i++) out[AT.bucket + i] = i === bucket ? 1 : 0;

  const sinceHours = Math.max(0, nowMs / HOUR_MS - u32[at + FIELD.countersAtSec] / 3600);
  const slowDecay = 2 ** (-sinceHours / SLOW_HALF_LIFE_HOURS);
  const slowEngagement = f32[at + FIELD.slowEngagement] * slowDecay;
  const slowImpressions = f32[at + FIELD.slowImpressions] * slowDecay;
  out[AT.heat] = logCount(f32[at + FIELD.fastEngagement] * 2 ** (-sinceHours / FAST_HALF_LIFE_HOURS));
  out[AT.heat + 1] = logCount(slowEngagement);
  out[AT.heat + 2] = logCount(slowImpressions);
  out[AT.slowRate] = logRate(slowEngagement, slowImpressions, ENGAGEMENT_PRIOR);

  const impressions = f32[at + FIELD.impressions];
  for (let i = 0; i < RATE_PRIORS.length; i++) {
    out[AT.rates + i] = logRate(f32[at + FIELD.clicks + i], impressions, RATE_PRIORS[i]);
  }
  const engagements =
    f32[at + FIELD.clicks] + f32[at + FIELD.likes] + f32[at + FIELD.replies] + f32[at + FIELD.shares];
  out[AT.totals] = logCount(impressions);
  out[AT.totals + 1] = logCount(engagements);
  const dwellSeconds = cleanCount(f32[at + FIELD.dwellSeconds]) + DWELL_PRIOR_SECONDS * PRIOR_IMPRESSIONS;
  out[AT.dwell] = logCount(dwellSeconds / (cleanCount(impressions) + PRIOR_IMPRESSIONS));
  const flags = u32[at + FIELD.flags];
  out[AT.textLength] = logCount(flags >>> 16);
  out[AT.kind] = flags & FLAG.sensitive ? 1 : 0;
  out[AT.kind + 1] = flags & FLAG.reply ? 1 : 0;
  out[AT.kind + 2] = flags & FLAG.media ? 1 : 0;
  out[AT.kind + 3] = flags & FLAG.text ? 1 : 0;
  fillAuthor(out, catalogue.authors, u32[at + FIELD.authorSlot] * AUTHOR_WORDS);
}

function fillAuthor(out: Float32Array, authors: Float32Array, at: number): void {
  const impressions = authors[at + AUTHOR_FIELD.impressions];
  out[AT.authorCounters] = logCount(authors[at + AUTHOR_FIELD.followers]);
  out[AT.authorCounters + 1] = logCount(authors[at + AUTHOR_FIELD.posts]);
  out[AT.authorCounters + 2] = logCount(impressions);
  const engagements =
    authors[at + AUTHOR_FIELD.clicks] +
    2 * authors[at + AUTHOR_FIELD.likes] +
    3 * authors[at + AUTHOR_FIELD.replies] +
    4 * authors[at + AUTHOR_FIELD.shares];
  out[AT.authorRates] = logRate(engagements, impressions, ENGAGEMENT_PRIOR);
  out[AT.authorRates + 1] = logRate(authors[at + AUTHOR_FIELD.negatives], impressions, RATE_PRIORS[5]);
}
