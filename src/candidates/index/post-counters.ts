// Folds one engagement event into a post's and its author's counters. Decayed counters hold as of their own second;
// an event from before it is added at its decayed weight, so that order of arrival does not matter.
import {
  AUTHOR_FIELD,
  AUTHOR_WORDS,
  FAST_HALF_LIFE_HOURS,
  FIELD,
  RECORD_WORDS,
  type RecordViews,
  SLOW_HALF_LIFE_HOURS,
} from '../../post-record.ts';
import { type EventType, LONG_DWELL_MS } from '../../vocabulary.ts';
import type { AuthorTable } from './author-table.ts';

const FAST_SECONDS = FAST_HALF_LIFE_HOURS * 3600;
const SLOW_SECONDS = SLOW_HALF_LIFE_HOURS * 3600;

/** Weight of an event in the decayed engagement that trending orders by: effort of the act, a click being 1. */
const ENGAGEMENT_WEIGHT: Record<EventType, number> = {
  impression: 0,
  click: 1,
  like: 2,
  reply: 3,
  share: 4,
  dwell: 0,
  hide: 0,
  not_interested: 0,
  report: 0,
  unlike: -2,
};
/** A dwell of LONG_DWELL_MS or more weighs as much as a click. */
const LONG_DWELL_WEIGHT = 1;

/** [counter of the post, counter of the author, amount] */
const TOTALS: Record<EventType, readonly [number, number, number] | null> = {
  impression: [FIELD.impressions, AUTHOR_FIELD.impressions, 1],
  click: [FIELD.clicks, AUTHOR_FIELD.clicks, 1],
  like: [FIELD.likes, AUTHOR_FIELD.likes, 1],
  reply: [FIELD.replies, AUTHOR_FIELD.replies, 1],
  share: [FIELD.shares, AUTHOR_FIELD.shares, 1],
  dwell: null,
  hide: [FIELD.negatives, AUTHOR_FIELD.negatives, 1],
  not_interested: [FIELD.negatives, AUTHOR_FIELD.negatives, 1],
  report: [FIELD.negatives, AUTHOR_FIELD.negatives, 1],
  unlike: [FIELD.likes, AUTHOR_FIELD.likes, -1],
};

/** Adds one event. `dwellMs` counts with any type; 0 = not measured. Totals never fall below 0. */
export function addEngagement(
  records: RecordViews,
  authors: AuthorTable,
  row: number,
  type: EventType,
  dwellMs: number,
  atMs: number,
): void {
  const post = row * RECORD_WORDS;
  const author = records.u32[post + FIELD.authorSlot] * AUTHOR_WORDS;
  const total = TOTALS[type];
  if (total) {
    bump(records.f32, post + total[0], total[2]);
    bump(authors.f32, author + total[1], total[2]);
  }
  let weight = ENGAGEMENT_WEIGHT[type];
  if (dwellMs > 0) {
    bump(records.f32, post + FIELD.dwellSeconds, dwellMs / 1000);
    if (dwellMs >= LONG_DWELL_MS) {
      bump(records.f32, post + FIELD.longDwells, 1);
      bump(authors.f32, author + AUTHOR_FIELD.longDwells, 1);
      weight += LONG_DWELL_WEIGHT;
    }
  }
  const impressions = type === 'impression' ? 1 : 0;
  if (weight === 0 && impressions === 0) return;

  const atSec = Math.max(0, Math.floor(atMs / 1000));
  const clock = post + FIELD.countersAtSec;
  const age = agePast(records.u32, clock, atSec);
  decayInto(records.f32, post + FIELD.fastEngagement, age, FAST_SECONDS, weight);
  decayInto(records.f32, post + FIELD.slowEngagement, age, SLOW_SECONDS, weight);
  decayInto(records.f32, post + FIELD.slowImpressions, age, SLOW_SECONDS, impressions);
  if (age > 0) records.u32[clock] = atSec;

  const authorClock = author + AUTHOR_FIELD.countersAtSec;
  const authorAge = agePast(authors.u32, authorClock, atSec);
  decayInto(authors.f32, author + AUTHOR_FIELD.slowEngagement, authorAge, SLOW_SECONDS, weight);
  decayInto(authors.f32, author + AUTHOR_FIELD.slowImpressions, authorAge, SLOW_SECONDS, impressions);
  if (authorAge > 0) authors.u32[authorClock] = atSec;
}

/** Seconds by which the event is newer (> 0) or older (< 0) than the counters. */
function agePast(words: Uint32Array, clock: number, atSec: number): number {
  return atSec - words[clock];
}

function bump(values: Float32Array, at: number, by: number): void {
  const next = values[at] + by;
  values[at] = Math.max(0, next);
}

function decayInto(values: Float32Array, at: number, age: number, halfLife: number, amount: number): void {
  const next =
    age > 0 ? values[at] * 2 ** (-age / halfLife) + amount : values[at] + amount * 2 ** (age / halfLife);
  values[at] = Math.max(0, next);
}
