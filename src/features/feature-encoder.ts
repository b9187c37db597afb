// Encodes candidates into the matrix a model reads, for requests and for the training set alike. A row depends on its
// post, user and time only, never on the rows beside it. Called by rankers and by scripts/train/training-set.ts.
import type { Catalogue, PackedUser } from '../contracts.ts';
import { AUTHOR_WORDS, FIELD, RECORD_WORDS } from '../post-record.ts';
import { DIM } from '../vocabulary.ts';
import {
  type FeatureContext,
  logCount,
  NEGATIVE_LANE,
  POSITIVE_LANE,
  RequestFeatures,
} from './feature-request.ts';
import { type FeaturePlan, FULL_WIDTH, fullOffset } from './feature-schema.ts';
import { fillLogs, fillPost } from './post-features.ts';
import { BLOCK_ROWS, LANES, ROW_LOGS } from './similarity-kernel.ts';

const AT = {
  userSimilarity: fullOffset('user_similarity@1'),
  historySimilarity: fullOffset('history_similarity@1'),
  negativeSimilarity: fullOffset('negative_similarity@1'),
  authorAffinity: fullOffset('author_affinity@1'),
  topicAffinity: fullOffset('topic_affinity@1'),
  followsAuthor: fullOffset('follows_author@1'),
  interestTopic: fullOffset('interest_topic@1'),
  languageMatch: fullOffset('language_match@1'),
  historyDuplicate: fullOffset('history_duplicate@1'),
  hadamard: fullOffset('hadamard@1'),
};
/** 4-byte words of a cache line. */
const LINE_WORDS = 16;
/** Simhashes that differ in this many of 64 bits are as far apart as unrelated texts. */
const UNRELATED_BITS = 32;

export class FeatureEncoder {
  readonly plan: FeaturePlan;
  /** D */
  readonly width: number;
  readonly #request = new RequestFeatures();
  readonly #row = new Float32Array(FULL_WIDTH);
  readonly #hadamard: boolean;
  /** Keeps the reads of `#beginBlock` from being optimised away. */
  readonly #touched = new Float64Array(1);

  constructor(plan: FeaturePlan) {
    this.plan = plan;
    this.width = plan.width;
    this.#hadamard = plan.has('hadamard@1');
  }

  /**
   * Prepares for the rows of one request; `encode` refers to the latest call.
   * @throws FeedrankError(invalid_input) on a time that is not finite or a user vector of wrong length.
   */
  begin(user: PackedUser, catalogue: Catalogue, context: FeatureContext): void {
    this.#request.begin(user, catalogue, context.nowMs);
    this.#request.setPosition(context.position);
  }

  /** Columns of the request alone, those of features of the groups `user` and `context`: [plan.width], finite. */
  encodeRequest({ columns }: FeaturePlan, out: Float32Array): void {
    const { template } = this.#request;
    for (let c = 0; c < columns.length; c++) {
      const value = template[columns[c]];
      out[c] = value - value === 0 ? value : 0;
    }
  }

  /**
   * Writes `out[(i − from) × D …]` for the rows `[from, to)` of `rows`. Every number is finite, whatever the record
   * and the user hold.
   * @param out [≥ to − from, D] row-major float32
   */
  encode(catalogue: Catalogue, rows: Uint32Array, from: number, to: number, out: Float32Array): void {
    const { columns, width } = this.plan;
    const row = this.#row;
    const { template, nowMs, kernel } = this.#request;
    const { logs } = kernel;
    row.set(template);
    for (let i = from, base = 0; i < to; i++, base += width) {
      const inBlock = (i - from) % BLOCK_ROWS;
      if (inBlock === 0) this.#beginBlock(catalogue, rows, i, Math.min(to, i + BLOCK_ROWS));
      fillPost(row, logs, inBlock * ROW_LOGS, catalogue, rows[i], nowMs);
      this.#fillCross(row, catalogue, rows[i], inBlock * LANES);
      for (let c = 0; c < width; c++) {
        const value = row[columns[c]];
        out[base + c] = value - value === 0 ? value : 0; // NaN and ±Infinity become 0
      }
    }
  }

  /**
   * Reads a word of each cache line that rows `[from, to)` will need, so that their misses overlap, and computes their
   * similarities.
   */
  #beginBlock(catalogue: Catalogue, rows: Uint32Array, from: number, to: number): void {
    const { vectors, authors, records } = catalogue;
    let sum = 0;
    for (let i = from; i < to; i++) {
      const record = rows[i] * RECORD_WORDS;
      sum += records.u32[record] + records.u32[record + LINE_WORDS];
    }
    for (let i = from; i < to; i++) {
      sum += authors[records.u32[rows[i] * RECORD_WORDS + FIELD.authorSlot] * AUTHOR_WORDS];
    }
    this.#touched[0] = sum;
    const { kernel, positives, nowMs } = this.#request;
    for (let i = from; i < to; i++) fillLogs(kernel.logs, (i - from) * ROW_LOGS, catalogue, rows[i], nowMs);
    kernel.log(to - from);
    kernel.run(vectors, rows, from, to, positives === 0 ? POSITIVE_LANE : POSITIVE_LANE + positives);
  }

  /** `products`: where the similarities of the post begin in the kernel's output. */
  #fillCross(row: Float32Array, catalogue: Catalogue, post: number, products: number): void {
    const request = this.#request;
    const { u32 } = catalogue.records;
    const at = post * RECORD_WORDS;
    this.#fillSimilarity(row, catalogue.vectors, post * DIM, products);

    const authorLo = u32[at + FIELD.authorLo];
    const authorHi = u32[at + FIELD.authorHi];
    const { authors, topics } = request;
    const author = authors.find(authorLo, authorHi);
    row[AT.authorAffinity] = author < 0 ? 0 : logCount(authors.positive[author]);
    row[AT.authorAffinity + 1] = author < 0 ? 0 : logCount(authors.count[author]);
    row[AT.authorAffinity + 2] = author < 0 ? 0 : logCount(authors.negative[author]);
    row[AT.followsAuthor] = request.follows.has(authorLo, authorHi) ? 1 : 0;

    const hash = u32[at + FIELD.topic];
    const topic = hash === 0 ? -1 : topics.find(hash, 0);
    row[AT.topicAffinity] = topic < 0 ? 0 : logCount(topics.positive[topic]);
    row[AT.topicAffinity + 1] = topic < 0 || topics.total === 0 ? 0 : topics.count[topic] / topics.total;
    row[AT.topicAffinity + 2] = topic < 0 ? 0 : logCount(topics.negative[topic]);
    row[AT.topicAffinity + 3] = hash === 0 ? 1 : 0;
    row[AT.interestTopic] = hash !== 0 && request.interestTopics.includes(hash) ? 1 : 0;

    const language = (u32[at + FIELD.flags] >>> 8) & 0xff;
    const reads = request.reads[language];
    row[AT.languageMatch] = language !== 0 && request.readsAny ? reads : 0;
    row[AT.languageMatch + 1] = language !== 0 && request.readsAny ? 1 - reads : 0;
    row[AT.historyDuplicate] = this.#duplicate(u32[at + FIELD.simhashLo], u32[at + FIELD.simhashHi]);
  }

  /** Cosines of the post to the user, to rejected and to liked posts. */
  #fillSimilarity(row: Float32Array, vectors: Float32Array, at: number, products: number): void {
    const { kernel, positives, negatives, embedding } = this.#request;
    const cosines = kernel.products;
    row[AT.userSimilarity] = cosines[products];
    row[AT.negativeSimilarity] = negatives === 0 ? 0 : cosines[products + NEGATIVE_LANE];
    for (let i = 1; i < negatives; i++) {
      const cosine = cosines[products + NEGATIVE_LANE + i];
      if (cosine > row[AT.negativeSimilarity]) row[AT.negativeSimilarity] = cosine;
    }
    row[AT.negativeSimilarity + 1] = negatives === 0 ? 0 : 1;
    this.#fillHistorySimilarity(row, positives, products + POSITIVE_LANE);
    if (this.#hadamard) for (let d = 0; d < DIM; d++) row[AT.hadamard + d] = embedding[d] * vectors[at + d];
  }

  #fillHistorySimilarity(row: Float32Array, positives: number, products: number): void {
    const cosines = this.#request.kernel.products;
    let first = -Infinity;
    let second = -Infinity;
    let third = -Infinity;
    let sum = 0;
    for (let i = 0; i < positives; i++) {
      const cosine = cosines[products + i];
      sum += cosine;
      if (cosine > first) {
        third = second;
        second = first;
        first = cosine;
      } else if (cosine > second) {
        third = second;
        second = cosine;
      } else if (cosine > third) third = cosine;
    }
    const top =
      positives >= 3 ? (first + second + third) / 3 : positives === 2 ? (first + second) / 2 : first;
    row[AT.historySimilarity] = positives === 0 ? 0 : first;
    row[AT.historySimilarity + 1] = positives === 0 ? 0 : top;
    row[AT.historySimilarity + 2] = positives === 0 ? 0 : sum / positives;
    row[AT.historySimilarity + 3] = positives === 0 ? 0 : 1;
  }

  #duplicate(lo: number, hi: number): number {
    const { simhashes, simhashCount } = this.#request;
    if (simhashCount === 0 || (lo === 0 && hi === 0)) return 0;
    let smallest = UNRELATED_BITS;
    for (let i = 0; i < simhashCount; i++) {
      const bits = popcount(lo ^ simhashes[2 * i]) + popcount(hi ^ simhashes[2 * i + 1]);
      if (bits < smallest) smallest = bits;
    }
    return 1 - smallest / UNRELATED_BITS;
  }
}

/** Set bits of a 32-bit number. */
function popcount(x: number): number {
  let v = x - ((x >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
