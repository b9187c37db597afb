// What a record keeps of a post's words: their 16-bit hashes for muted words, a simhash for near-duplicates.
import { hash64 } from '../../hashing.ts';
import { RECORD_WORD_HASHES, wordHash } from '../../post-record.ts';

const WORD = /[\p{L}\p{N}][\p{L}\p{N}\p{M}]+/gu;
/** Words that the simhash reads: enough for any title, bounded for long bodies. */
const SIMHASH_WORDS = 256;

export interface TextSketch {
  /** wordHash of the first 16 distinct words, 0 = none. */
  words: Uint16Array;
  simhashLo: number;
  simhashHi: number;
}

/** Lower-cased words of at least two letters or digits, in order. */
export function wordsOf(text: string, limit = SIMHASH_WORDS): string[] {
  const words: string[] = [];
  for (const match of text.toLowerCase().matchAll(WORD)) {
    words.push(match[0]);
    if (words.length === limit) break;
  }
  return words;
}

/**
 * Sketch of a text. The simhash (Charikar, 2002) sums the bits of the 64-bit hashes of all words: similar texts
 * differ in few bits. (0, 0) only where there is no word.
 */
export function sketchText(text: string): TextSketch {
  const words = new Uint16Array(RECORD_WORD_HASHES);
  const sums = new Int16Array(64);
  const hash = { lo: 0, hi: 0 };
  const found = wordsOf(text);
  let distinct = 0;
  for (const word of found) {
    hash64(word, hash);
    for (let bit = 0; bit < 32; bit++) {
      sums[bit] += (hash.lo >>> bit) & 1 ? 1 : -1;
      sums[bit + 32] += (hash.hi >>> bit) & 1 ? 1 : -1;
    }
    if (distinct === RECORD_WORD_HASHES) continue;
    const short = wordHash(word);
    if (!words.includes(short)) words[distinct++] = short;
  }
  if (found.length === 0) return { words, simhashLo: 0, simhashHi: 0 };
  let lo = 0;
  let hi = 0;
  for (let bit = 0; bit < 32; bit++) {
    if (sums[bit] > 0) lo |= 1 << bit;
    if (sums[bit + 32] > 0) hi |= 1 << bit;
  }
  return { words, simhashLo: lo === 0 && hi === 0 ? 1 : lo >>> 0, simhashHi: hi >>> 0 };
}
