// Layout of one post's fixed-size record in shared memory, and of its author's: everything filters, encoder and rules
// read about a post. 32 words of 4 bytes, two cache lines. Written by the main thread only, read by every worker.
import { hash32 } from './hashing.ts';

export const RECORD_WORDS = 32;
export const RECORD_BYTES = RECORD_WORDS * 4;

/** Word offsets. `u` words are Uint32, `f` words are Float32, `createdAtMs` is a Float64 over words 0–1. */
export const FIELD = {
  createdAtMs: 0, // f64, words 0 and 1
  keyLo: 2, // u  hash64 of the post id
  keyHi: 3, // u
  authorLo: 4, // u  hash64 of the author id
  authorHi: 5, // u
  topic: 6, // u  hash32 of the topic, 0 = none
  flags: 7, // u  FLAG bits | language << 8 | textLength << 16
  previousByAuthor: 8, // u  row + 1 of the author's previous post, 0 = none
  authorSlot: 9, // u  slot in the author table
  simhashLo: 10, // u  64-bit simhash of the words, (0, 0) = no text
  simhashHi: 11, // u
  impressions: 12, // f  totals since the post was made
  clicks: 13, // f
  likes: 14, // f
  replies: 15, // f
  shares: 16, // f
  longDwells: 17, // f
  negatives: 18, // f
  dwellSeconds: 19, // f
  fastEngagement: 20, // f  decayed weighted engagement, half-life FAST_HALF_LIFE_HOURS, as of countersAtSec
  slowEngagement: 21, // f  the same, half-life SLOW_HALF_LIFE_HOURS
  slowImpressions: 22, // f  decayed impressions, half-life SLOW_HALF_LIFE_HOURS
  countersAtSec: 23, // u  unix seconds at which the decayed counters hold
  words: 24, // u16 × 16, words 24–31: hashes of the first 16 distinct words, 0 = none
} as const;

export const AUTHOR_WORDS = 16;
export const AUTHOR_BYTES = AUTHOR_WORDS * 4;

/** Word offsets of an author's slot in Catalogue.authors; the slot is FIELD.authorSlot. `u` Uint32, `f` Float32. */
export const AUTHOR_FIELD = {
  keyLo: 0, // u  hash64 of the author id
  keyHi: 1, // u
  newestRow: 2, // u  row + 1 of the newest post, 0 = none; older ones by FIELD.previousByAuthor
  posts: 3, // f
  impressions: 4, // f  totals over the author's posts
  clicks: 5, // f
  likes: 6, // f
  replies: 7, // f
  shares: 8, // f
  longDwells: 9, // f
  negatives: 10, // f
  followers: 11, // f
  slowEngagement: 12, // f  decayed weighted engagement, half-life SLOW_HALF_LIFE_HOURS, as of countersAtSec
  slowImpressions: 13, // f  decayed impressions, the same half-life
  countersAtSec: 14, // u  unix seconds
} as const;

export const FLAG = { deleted: 1, sensitive: 2, reply: 4, media: 8, text: 16 } as const;

export const FAST_HALF_LIFE_HOURS = 2;
export const SLOW_HALF_LIFE_HOURS = 24;
export const RECORD_WORD_HASHES = 16;

/** 16-bit hash of a lower-cased word as stored in `FIELD.words`; never 0. */
export function wordHash(word: string): number {
  return hash32(word) & 0xffff || 1;
}

/** Typed views over the records of one catalogue; row r's word w is at `r * RECORD_WORDS + w`. */
export interface RecordViews {
  u32: Uint32Array;
  f32: Float32Array;
  /** `r * (RECORD_WORDS / 2)` is row r's createdAtMs. */
  f64: Float64Array;
  /** `r * RECORD_WORDS * 2 + FIELD.words * 2 + i` is row r's i-th word hash. */
  u16: Uint16Array;
}

export function recordViews(buffer: ArrayBufferLike, byteOffset: number, rows: number): RecordViews {
  return {
    u32: new Uint32Array(buffer, byteOffset, rows * RECORD_WORDS),
    f32: new Float32Array(buffer, byteOffset, rows * RECORD_WORDS),
    f64: new Float64Array(buffer, byteOffset, (rows * RECORD_WORDS) / 2),
    u16: new Uint16Array(buffer, byteOffset, rows * RECORD_WORDS * 2),
  };
}

export function createdAtMs(records: RecordViews, row: number): number {
  return records.f64[row * (RECORD_WORDS / 2)];
}
