// The filters of a single post, a pure function of its record, and the pass that partitions candidates by them.
// Called by Retriever, and again on every page of a feed session: deletes and blocks hold from the next request.
import { createdAtMs, FIELD, FLAG, RECORD_WORD_HASHES, RECORD_WORDS } from '../post-record.ts';
import { REMOVAL_REASONS, type RemovalReason } from '../vocabulary.ts';
import type { FilterContext } from './filter-context.ts';

/** States of a candidate during filtering: `REMOVED + code of the reason` once removed. */
export const PENDING = 0;
export const KEPT = 1;
export const REMOVED = 2;

const DELETED = removedFor('deleted');
const FROM_FUTURE = removedFor('from_future');
const EXCLUDED = removedFor('excluded');
const SEEN = removedFor('seen');
const OWN_POST = removedFor('own_post');
const BLOCKED_AUTHOR = removedFor('blocked_author');
const MUTED_AUTHOR = removedFor('muted_author');
const MUTED_TOPIC = removedFor('muted_topic');
const MUTED_WORD = removedFor('muted_word');
const SENSITIVE = removedFor('sensitive');
const LANGUAGE = removedFor('language');
const TOO_OLD = removedFor('too_old');

/**
 * KEPT, or REMOVED + code of the first reason that applies, in this order. One function over one record, not a list of
 * rules: a thousand posts are asked about in every request, most of them about nothing that is set.
 */
export function filterRow(row: number, context: FilterContext): number {
  const { records, mutedTopics, languages } = context;
  const { u32 } = records;
  const at = row * RECORD_WORDS;
  const flags = u32[at + FIELD.flags];
  if ((flags & FLAG.deleted) !== 0) return DELETED;
  const createdAt = createdAtMs(records, row);
  if (!(createdAt <= context.newestMs)) return FROM_FUTURE;
  const keyLo = u32[at + FIELD.keyLo];
  const keyHi = u32[at + FIELD.keyHi];
  if (context.excluded.has(keyLo, keyHi)) return EXCLUDED;
  if (context.seen.has(keyLo, keyHi)) return SEEN;
  const authorLo = u32[at + FIELD.authorLo];
  const authorHi = u32[at + FIELD.authorHi];
  if (authorLo === context.userLo && authorHi === context.userHi) return OWN_POST;
  if (context.blockedAuthors.has(authorLo, authorHi)) return BLOCKED_AUTHOR;
  if (context.mutedAuthors.has(authorLo, authorHi)) return MUTED_AUTHOR;
  if (mutedTopics.size > 0 && mutedTopics.has(u32[at + FIELD.topic])) return MUTED_TOPIC;
  if (context.mutedWords !== null && containsMutedWord(row, records.u16, context.mutedWords))
    return MUTED_WORD;
  if (!context.showSensitive && (flags & FLAG.sensitive) !== 0) return SENSITIVE;
  if (languages !== null && languages[(flags >>> 8) & 0xff] === 0) return LANGUAGE;
  return createdAt < context.oldestMs ? TOO_OLD : KEPT;
}

/** Decides every pending entry of `states`; returns how many of them are kept. Those decided before stay. */
export function filterRows(
  rows: Uint32Array,
  size: number,
  states: Uint8Array,
  context: FilterContext,
): number {
  let kept = 0;
  touchRecords(rows, size, context.records.u32);
  for (let i = 0; i < size; i++) {
    if (states[i] === PENDING) states[i] = filterRow(rows[i], context);
    if (states[i] === KEPT) kept++;
  }
  return kept;
}

/** Loads every record's first cache line: misses that wait for nothing overlap, those of the filters would not. */
function touchRecords(rows: Uint32Array, size: number, u32: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < size; i++) sum = (sum + u32[rows[i] * RECORD_WORDS]) | 0;
  return sum;
}

function containsMutedWord(row: number, words: Uint16Array, muted: Uint8Array): boolean {
  const from = (row * RECORD_WORDS + FIELD.words) * 2;
  for (let i = 0; i < RECORD_WORD_HASHES; i++) if (muted[words[from + i]] === 1) return true;
  return false;
}

function removedFor(reason: RemovalReason): number {
  return REMOVED + REMOVAL_REASONS.indexOf(reason);
}
