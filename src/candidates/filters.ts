// The filters of a single post, each a pure function of its record, and the pass that partitions candidates by them.
// Called by Retriever, and again on every page of a feed session: deletes and blocks hold from the next request.
import { createdAtMs, FIELD, FLAG, RECORD_WORD_HASHES, RECORD_WORDS } from '../post-record.ts';
import { REMOVAL_REASONS, type RemovalReason } from '../vocabulary.ts';
import type { FilterContext } from './filter-context.ts';

export interface RowFilter {
  readonly reason: RemovalReason;
  /** True when the post of `row` must not be shown to the context's user. */
  removes(row: number, context: FilterContext): boolean;
}

/** In the order in which they are asked: the first that removes a post gives the reason. */
export const ROW_FILTERS: readonly RowFilter[] = [
  { reason: 'deleted', removes: (row, { records }) => hasFlag(records.u32, row, FLAG.deleted) },
  {
    reason: 'from_future',
    removes: (row, { records, newestMs }) => !(createdAtMs(records, row) <= newestMs),
  },
  { reason: 'excluded', removes: (row, { records, excluded }) => hasKey(excluded, records.u32, row) },
  { reason: 'seen', removes: (row, { records, seen }) => hasKey(seen, records.u32, row) },
  {
    reason: 'own_post',
    removes: (row, { records, userLo, userHi }) =>
      records.u32[row * RECORD_WORDS + FIELD.authorLo] === userLo &&
      records.u32[row * RECORD_WORDS + FIELD.authorHi] === userHi,
  },
  {
    reason: 'blocked_author',
    removes: (row, { records, blockedAuthors }) => hasAuthor(blockedAuthors, records.u32, row),
  },
  {
    reason: 'muted_author',
    removes: (row, { records, mutedAuthors }) => hasAuthor(mutedAuthors, records.u32, row),
  },
  {
    reason: 'muted_topic',
    removes: (row, { records, mutedTopics }) =>
      mutedTopics.size > 0 && mutedTopics.has(records.u32[row * RECORD_WORDS + FIELD.topic]),
  },
  { reason: 'muted_word', removes: containsMutedWord },
  {
    reason: 'sensitive',
    removes: (row, { records, showSensitive }) => !showSensitive && hasFlag(records.u32, row, FLAG.sensitive),
  },
  {
    reason: 'language',
    removes: (row, { records, languages }) =>
      languages !== null && languages[(records.u32[row * RECORD_WORDS + FIELD.flags] >>> 8) & 0xff] === 0,
  },
  { reason: 'too_old', removes: (row, { records, oldestMs }) => createdAtMs(records, row) < oldestMs },
];

/** States of a candidate during filtering: `REMOVED + code of the reason` once removed. */
export const PENDING = 0;
export const KEPT = 1;
export const REMOVED = 2;

const STATES: readonly number[] = ROW_FILTERS.map(
  (filter) => REMOVED + REMOVAL_REASONS.indexOf(filter.reason),
);

/** KEPT, or REMOVED + code of the first reason that applies. */
export function filterRow(row: number, context: FilterContext): number {
  for (let i = 0; i < ROW_FILTERS.length; i++) if (ROW_FILTERS[i].removes(row, context)) return STATES[i];
  return KEPT;
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

function hasFlag(u32: Uint32Array, row: number, flag: number): boolean {
  return (u32[row * RECORD_WORDS + FIELD.flags] & flag) !== 0;
}

function hasKey(set: FilterContext['seen'], u32: Uint32Array, row: number): boolean {
  return set.has(u32[row * RECORD_WORDS + FIELD.keyLo], u32[row * RECORD_WORDS + FIELD.keyHi]);
}

function hasAuthor(set: FilterContext['seen'], u32: Uint32Array, row: number): boolean {
  return set.has(u32[row * RECORD_WORDS + FIELD.authorLo], u32[row * RECORD_WORDS + FIELD.authorHi]);
}

function containsMutedWord(row: number, { records, mutedWords }: FilterContext): boolean {
  if (mutedWords === null) return false;
  const from = (row * RECORD_WORDS + FIELD.words) * 2;
  for (let i = 0; i < RECORD_WORD_HASHES; i++) if (mutedWords[records.u16[from + i]] === 1) return true;
  return false;
}
