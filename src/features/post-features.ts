// The post and author columns of a row, from its record: age, decayed heat, smoothed rates. In two passes, so that the
// logarithms of a block are computed together between them. Called by the encoder.
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
import { cleanCount } from './feature-request.ts';
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

/** (count + prior × weight) / (impressions + weight) / prior; counts without impressions are bounded. */
function smoothedRatio(count: number, impressions: number, prior: number): number {
  const smoothed =
    (cleanCount(count) + prior * PRIOR_IMPRESSIONS) / (cleanCount(impressions) + PRIOR_IMPRESSIONS);
  return smoothed / prior;
}

function bounded(logRatio: number): number {
  return Math.max(-MAX_LOG_RATIO, Math.min(MAX_LOG_RATIO, logRatio));
}

/** Places among a row's logarithms; the rates have six. */
const LOG = {
  age: 0,
  heat: 1,
  totals: 4,
  dwell: 6,
  textLength: 7,
  authorCounters: 8,
  slowRate: 11,
  rates: 12,
  authorRates: 18,
} as const;

/** Hours since the post was made, as of `nowMs`; 0 for posts from the future. */
function ageHours(catalogue: Catalogue, at: number, nowMs: number): number {
  return Math.max(0, (nowMs - catalogue.records.f64[at >>> 1]) / HOUR_MS);
}

/** First pass: what a post's columns are logarithms of, `[from, from + ROW_LOGS)`, as of `nowMs`. */
export function fillLogs(
  logs: Float64Array,
  from: number,
  catalogue: Catalogue,
  row: number,
  nowMs: number,
): void {
  const { u32, f32 } = catalogue.records;
  const at = row * RECORD_WORDS;
  logs[from + LOG.age] = 1 + cleanCount(ageHours(catalogue, at, nowMs));
  const sinceHours = Math.max(0, nowMs / HOUR_MS - u32[at + FIELD.countersAtSec] / 3600);
  const slowDecay = 2 ** (-sinceHours / SLOW_HALF_LIFE_HOURS);
  const fastDecay = 2 ** (-sinceHours / FAST_HALF_LIFE_HOURS);
  const slowEngagement = f32[at + FIELD.slowEngagement] * slowDecay;
  const slowImpressions = f32[at + FIELD.slowImpressions] * slowDecay;
  logs[from + LOG.heat] = 1 + cleanCount(f32[at + FIELD.fastEngagement] * fastDecay);
  logs[from + LOG.heat + 1] = 1 + cleanCount(slowEngagement);
  logs[from + LOG.heat + 2] = 1 + cleanCount(slowImpressions);
  logs[from + LOG.slowRate] = smoothedRatio(slowEngagement, slowImpressions, ENGAGEMENT_PRIOR);

  const impressions = f32[at + FIELD.impressions];
  for (let i = 0; i < RATE_PRIORS.length; i++) {
    logs[from + LOG.rates + i] = smoothedRatio(f32[at + FIELD.clicks + i], impressions, RATE_PRIORS[i]);
  }
  const engagements =
    f32[at + FIELD.clicks] + f32[at + FIELD.likes] + f32[at + FIELD.replies] + f32[at + FIELD.shares];
  logs[from + LOG.totals] = 1 + cleanCount(impressions);
  logs[from + LOG.totals + 1] = 1 + cleanCount(engagements);
  const dwellSeconds = cleanCount(f32[at + FIELD.dwellSeconds]) + DWELL_PRIOR_SECONDS * PRIOR_IMPRESSIONS;
  const dwell = dwellSeconds / (cleanCount(impressions) + PRIOR_IMPRESSIONS);
  logs[from + LOG.dwell] = 1 + cleanCount(dwell);
  logs[from + LOG.textLength] = 1 + cleanCount(u32[at + FIELD.flags] >>> 16);
  fillAuthorLogs(logs, from, catalogue.authors, u32[at + FIELD.authorSlot] * AUTHOR_WORDS);
}

function fillAuthorLogs(logs: Float64Array, from: number, authors: Float32Array, at: number): void {
  const impressions = authors[at + AUTHOR_FIELD.impressions];
  logs[from + LOG.authorCounters] = 1 + cleanCount(authors[at + AUTHOR_FIELD.followers]);
  logs[from + LOG.authorCounters + 1] = 1 + cleanCount(authors[at + AUTHOR_FIELD.posts]);
  logs[from + LOG.authorCounters + 2] = 1 + cleanCount(impressions);
  const engagements =
    authors[at + AUTHOR_FIELD.clicks] +
    2 * authors[at + AUTHOR_FIELD.likes] +
    3 * authors[at + AUTHOR_FIELD.replies] +
    4 * authors[at + AUTHOR_FIELD.shares];
  logs[from + LOG.authorRates] = smoothedRatio(engagements, impressions, ENGAGEMENT_PRIOR);
  const negatives = authors[at + AUTHOR_FIELD.negatives];
  logs[from + LOG.authorRates + 1] = smoothedRatio(negatives, impressions, RATE_PRIORS[5]);
}

/** Second pass: the post and author columns of a full row, from their logarithms at `from`. */
export function fillPost(
  out: Float32Array,
  logs: Float64Array,
  from: number,
  catalogue: Catalogue,
  row: number,
  nowMs: number,
): void {
  const at = row * RECORD_WORDS;
  const hours = ageHours(catalogue, at, nowMs);
  out[AT.age] = logs[from + LOG.age];
  let bucket = 0;
  while (bucket < AGE_BUCKET_HOURS.length && hours >= AGE_BUCKET_HOURS[bucket]) bucket++;
  for (let i = 0; i <= AGE_BUCKET_HOURS.length; i++) out[AT.bucket + i] = i === bucket ? 1 : 0;
  for (let i = 0; i < 3; i++) out[AT.heat + i] = logs[from + LOG.heat + i];
  out[AT.slowRate] = bounded(logs[from + LOG.slowRate]);
  for (let i = 0; i < RATE_PRIORS.length; i++) out[AT.rates + i] = bounded(logs[from + LOG.rates + i]);
  out[AT.totals] = logs[from + LOG.totals];
  out[AT.totals + 1] = logs[from + LOG.totals + 1];
  out[AT.dwell] = logs[from + LOG.dwell];
  const flags = catalogue.records.u32[at + FIELD.flags];
  out[AT.textLength] = logs[from + LOG.textLength];
  out[AT.kind] = flags & FLAG.sensitive ? 1 : 0;
  out[AT.kind + 1] = flags & FLAG.reply ? 1 : 0;
  out[AT.kind + 2] = flags & FLAG.media ? 1 : 0;
  out[AT.kind + 3] = flags & FLAG.text ? 1 : 0;
  for (let i = 0; i < 3; i++) out[AT.authorCounters + i] = logs[from + LOG.authorCounters + i];
  out[AT.authorRates] = bounded(logs[from + LOG.authorRates]);
  out[AT.authorRates + 1] = bounded(logs[from + LOG.authorRates + 1]);
}
