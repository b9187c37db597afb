// Text → rows of the post tower's text table; bit for bit the same as scripts/train/text_hash.py, which trains the
// table (shared vectors: test/unit/features/text-hash.golden.json). Pure, synchronous; called by the post tower.

/** The `hash` part of a post tower's manifest. Rows are 1-based in each table; 0 means absent. */
export interface HashConfig {
  wordRows: number;
  bigramRows: number;
  charRows: number;
  charMin: number;
  charMax: number;
  maxWords: number;
  maxTokens: number;
  topicTokens: number;
  authorRows: number;
  topicRows: number;
  itemRows: number;
}

/** UTF-16 code units of a text that are read; the rest is ignored. */
const MAX_UNITS = 2000;
const MAX_WORD_UNITS = 32;
const WORD_SEED = 0x811c9dc5;
const BIGRAM_SEED = 0x9747b28c;
const CHAR_SEED = 0x3c6ef372;
const KEY_SEED = 0x1b873593;
const PRIME = 0x01000193;
/** Words that start at or above this unit (CJK, kana, hangul, surrogates) have n-grams of 1 and 2 units. */
const WIDE = 0x2e80;
const WORDS = /[\p{L}\p{N}\p{M}]+|\p{So}/gu;
const NOT_ASCII = /[^\0-\x7f]/;

/** Row of an author, topic or item key: 1..rows; 0 where the key is empty or the table has no rows. */
export function hashKey(key: string | undefined, rows: number): number {
  if (!key || rows === 0) return 0;
  let h = KEY_SEED;
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), PRIME);
  return 1 + (finalise(h) % rows);
}

/**
 * Hashes texts under one configuration: words, then word bigrams, then character n-grams (fastText, Bojanowski et
 * al. 2017), each kind in its own section of the table. Holds scratch space: one instance a thread.
 */
export class TextHasher {
  readonly config: HashConfig;
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;

  constructor(config: HashConfig) {
    this.config = config;
    this.#starts = new Int32Array(config.maxWords);
    this.#ends = new Int32Array(config.maxWords);
  }

  /**
   * Writes at most `limit` rows at `out[offset]` and returns how many; the rest of `out` is left as it was.
   * Any string is safe: empty, lone surrogates, megabytes (only the first 2,000 code units are read).
   */
  write(text: string | undefined, out: Int32Array, offset: number, limit: number): number {
    if (!text) return 0;
    const cut = text.length > MAX_UNITS ? text.slice(0, MAX_UNITS) : text;
    const wide = NOT_ASCII.test(cut);
    const clean = wide ? cut.normalize('NFKC').toLowerCase() : cut.toLowerCase();
    const words = wide ? this.#split(clean) : this.#splitAscii(clean);
    const { wordRows, bigramRows } = this.config;
    let at = offset;
    const end = offset + limit;
    for (let w = 0; w < words && at < end; w++) {
      out[at++] = 1 + (finalise(this.#fold(WORD_SEED, clean, w)) % wordRows);
    }
    if (bigramRows > 0) {
      for (let w = 0; w + 1 < words && at < end; w++) {
        const first = Math.imul(this.#fold(BIGRAM_SEED, clean, w) ^ 0x20, PRIME);
        out[at++] = 1 + wordRows + (finalise(this.#fold(first, clean, w + 1)) % bigramRows);
      }
    }
    for (let w = 0; w < words && at < end; w++) at = this.#grams(clean, w, out, at, end);
    return at - offset;
  }

  /** Rows of one text, for tests and tools. */
  rows(text: string | undefined, limit = this.config.maxTokens): Int32Array {
    const out = new Int32Array(limit);
    return out.subarray(0, this.write(text, out, 0, limit));
  }

  #fold(seed: number, text: string, word: number): number {
    let h = seed;
    for (let i = this.#starts[word]; i < this.#ends[word]; i++) h = Math.imul(h ^ text.charCodeAt(i), PRIME);
    return h;
  }

  #grams(text: string, word: number, out: Int32Array, offset: number, end: number): number {
    const { charRows, wordRows, bigramRows } = this.config;
    if (charRows === 0) return offset;
    const from = this.#starts[word];
    const wide = text.charCodeAt(from) >= WIDE;
    // A narrow word is read as `<word>`; index 0 and length − 1 are the marks.
    const mark = wide ? 0 : 1;
    const length = Math.min(this.#ends[word] - from + 2 * mark, MAX_WORD_UNITS);
    const closing = this.#ends[word] - from + mark;
    const low = wide ? 1 : this.config.charMin;
    const high = wide ? 2 : this.config.charMax;
    const base = 1 + wordRows + bigramRows;
    let at = offset;
    for (let start = 0; start < length; start++) {
      const stop = Math.min(high, length - start);
      let h = CHAR_SEED;
      for (let n = 0; n < stop; n++) {
        const i = start + n;
        const unit =
          mark === 1 && i === 0
            ? 0x3c
            : mark === 1 && i === closing
              ? 0x3e
              : text.charCodeAt(from + i - mark);
        h = Math.imul(h ^ unit, PRIME);
        if (n + 1 < low) continue;
        if (at === end) return at;
        out[at++] = base + (finalise(h) % charRows);
      }
    }
    return at;
  }

  #splitAscii(text: string): number {
    let words = 0;
    let start = -1;
    for (let i = 0; i <= text.length; i++) {
      const c = i < text.length ? text.charCodeAt(i) : 0;
      const inside = (c >= 97 && c <= 122) || (c >= 48 && c <= 57);
      if (inside === start >= 0) continue;
      if (inside) {
        start = i;
        continue;
      }
      this.#starts[words] = start;
      this.#ends[words++] = i;
      if (words === this.config.maxWords) return words;
      start = -1;
    }
    return words;
  }

  #split(text: string): number {
    let words = 0;
    WORDS.lastIndex = 0;
    for (let match = WORDS.exec(text); match !== null; match = WORDS.exec(text)) {
      this.#starts[words] = match.index;
      this.#ends[words++] = match.index + match[0].length;
      if (words === this.config.maxWords) break;
    }
    return words;
  }
}

/** murmur3's finaliser (Appleby, 2011). */
function finalise(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
