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
export const MAX_LOG_RATIO = 6;

/** (count + prior × weight) / (impressions + weight) / prior; counts without impressions are bounded. */
function smoothedRatio(count: number, impressions: number, prior: number): number {
  const smoothed =
    (cleanCount(count) + prior * PRIOR_IMPRESSIONS) / (cleanCount(impressions) + PRIOR_IMPRESSIONS);
  return smoothed / prior;
}

/** A smaller fast count is below 2^−54 after so many hours, and 1 + it is 1: 2^(10 − 65). */
const FORGOTTEN_HOURS = 65 * FAST_HALF_LIFE_HOURS;
const FORGOTTEN_COUNT = 1024;

/** Places among a row's logarithms, the ratios last; post_rates has six. */
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

/** Column of the full row of each logarithm. */
export const LOG_COLUMNS: readonly number[] = [
  AT.age,
  ...[0, 1, 2].map((i) => AT.heat + i),
  AT.totals,
  AT.totals + 1,
  AT.dwell,
  AT.textLength,
  ...[0, 1, 2].map((i) => AT.authorCounters + i),
  AT.slowRate,
  ...RATE_PRIORS.map((_, i) => AT.rates + i),
  AT.authorRates,
  AT.authorRates + 1,
];

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
  let fastEngagement = f32[at + FIELD.fastEngagement];
  let slowEngagement = f32[at + FIELD.slowEngagement];
  let slowImpressions = f32[at + FIELD.slowImpressions];
  // Powers are a fifth of the work, and most posts have nothing to decay, or nothing left of it beside the 1.
  if (fastEngagement !== 0 && (sinceHours < FORGOTTEN_HOURS || fastEngagement >= FORGOTTEN_COUNT)) {
    fastEngagement *= 2 ** (-sinceHours / FAST_HALF_LIFE_HOURS);
  } else fastEngagement = 0;
  if (slowEngagement !== 0 || slowImpressions !== 0) {
    const decay = 2 ** (-sinceHours / SLOW_HALF_LIFE_HOURS);
    slowEngagement *= decay;
    slowImpressions *= decay;
  }
  logs[from + LOG.heat] = 1 + cleanCount(fastEngagement);
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

/** Second pass: the post columns of a full row at `to` that are no logarithms. */
export function fillKind(
  full: Float32Array,
  to: number,
  catalogue: Catalogue,
  row: number,
  nowMs: number,
): void {
  const at = row * RECORD_WORDS;
  const hours = ageHours(catalogue, at, nowMs);
  let bucket = 0;
  while (bucket < AGE_BUCKET_HOURS.length && hours >= AGE_BUCKET_HOURS[bucket]) bucket++;
  const buckets = to + AT.bucket;
  for (let i = 0; i <= AGE_BUCKET_HOURS.length; i++) full[buckets + i] = i === bucket ? 1 : 0;
  const flags = catalogue.records.u32[at + FIELD.flags];
  const kind = to + AT.kind;
  full[kind] = flags & FLAG.sensitive ? 1 : 0;
  full[kind + 1] = flags & FLAG.reply ? 1 : 0;
  full[kind + 2] = flags & FLAG.media ? 1 : 0;
  full[kind + 3] = flags & FLAG.text ? 1 : 0;
}
