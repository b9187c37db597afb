// Encodes candidates into the matrix a model reads, for requests and for the training set alike. A row depends on its
// post, user and time only, never on the rows beside it. Called by rankers and by scripts/train/training-set.ts.
import type { Catalogue, PackedUser } from '../contracts.ts';
import { AUTHOR_WORDS, FIELD, RECORD_WORDS } from '../post-record.ts';
import { DIM } from '../vocabulary.ts';
import { type FeatureContext, logCount, POSITIVE_LANE, RequestFeatures } from './feature-request.ts';
import { type FeaturePlan, FULL_WIDTH, fullOffset } from './feature-schema.ts';
import { fillKind, fillLogs, LOG_COLUMNS, MAX_LOG_RATIO } from './post-features.ts';
import { BLOCK_ROWS, ROW_LOGS, SimilarityKernel } from './similarity-kernel.ts';

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
const COSINES = {
  user: AT.userSimilarity,
  negative: AT.negativeSimilarity,
  positive: AT.historySimilarity,
};
/** 4-byte words of a cache line. */
const LINE_WORDS = 16;

export class FeatureEncoder {
  readonly plan: FeaturePlan;
  /** D */
  readonly width: number;
  readonly #request: RequestFeatures;
  readonly #hadamard: boolean;
  /** Keeps the reads of `#beginBlock` from being optimised away. */
  readonly #touched = new Float64Array(1);

  constructor(plan: FeaturePlan) {
    this.plan = plan;
    this.#request = new RequestFeatures(new SimilarityKernel(plan, LOG_COLUMNS));
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
    this.#request.kernel.begin(this.#request.template);
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
    const { kernel, nowMs } = this.#request;
    const { full } = kernel;
    for (let block = from; block < to; block += BLOCK_ROWS) {
      const end = Math.min(to, block + BLOCK_ROWS);
      this.#beginBlock(catalogue, rows, block, end);
      for (let i = block, at = 0; i < end; i++, at += FULL_WIDTH) {
        fillKind(full, at, catalogue, rows[i], nowMs);
        this.#fillCross(full, at, catalogue, rows[i]);
        if (this.#hadamard) this.#fillHadamard(full, at, catalogue.vectors, rows[i]);
      }
      kernel.encode(end - block, out, (block - from) * this.width);
    }
  }

  /**
   * Reads a word of each cache line that rows `[from, to)` will need, so that their misses overlap, and computes their
   * logarithms and similarities.
   */
  #beginBlock(catalogue: Catalogue, rows: Uint32Array, from: number, to: number): void {
    const { vectors, authors, records } = catalogue;
    let sum = 0;
    for (let i = from; i < to; i++) {
      const record = rows[i] * RECORD_WORDS;
      sum += records.u32[record] + records.u32[record + LINE_WORDS];
      const vector = rows[i] * DIM;
      for (let at = 0; at < DIM; at += LINE_WORDS) sum += vectors[vector + at];
    }
    for (let i = from; i < to; i++) {
      sum += authors[records.u32[rows[i] * RECORD_WORDS + FIELD.authorSlot] * AUTHOR_WORDS];
    }
    this.#touched[0] = sum;
    const { kernel, positives, negatives, simhashCount, nowMs } = this.#request;
    for (let i = from; i < to; i++) fillLogs(kernel.logs, (i - from) * ROW_LOGS, catalogue, rows[i], nowMs);
    kernel.log(to - from);
    kernel.spread(to - from, MAX_LOG_RATIO);
    kernel.run(vectors, rows, from, to, positives === 0 ? POSITIVE_LANE : POSITIVE_LANE + positives);
    kernel.cosines(to - from, negatives, positives, COSINES);
    if (simhashCount === 0) return;
    for (let i = from, at = 0; i < to; i++) {
      const record = rows[i] * RECORD_WORDS;
      kernel.hashes[at++] = records.u32[record + FIELD.simhashLo];
      kernel.hashes[at++] = records.u32[record + FIELD.simhashHi];
    }
    kernel.duplicates(to - from, simhashCount, AT.historyDuplicate);
  }

  /** Columns of the full row at `to`. */
  #fillCross(full: Float32Array, to: number, catalogue: Catalogue, post: number): void {
    const request = this.#request;
    const { u32 } = catalogue.records;
    const at = post * RECORD_WORDS;
    const authorLo = u32[at + FIELD.authorLo];
    const authorHi = u32[at + FIELD.authorHi];
    const { authors, topics } = request;
    const author = authors.find(authorLo, authorHi);
    full[to + AT.authorAffinity] = author < 0 ? 0 : logCount(authors.positive[author]);
    full[to + AT.authorAffinity + 1] = author < 0 ? 0 : logCount(authors.count[author]);
    full[to + AT.authorAffinity + 2] = author < 0 ? 0 : logCount(authors.negative[author]);
    full[to + AT.followsAuthor] = request.follows.has(authorLo, authorHi) ? 1 : 0;

    const hash = u32[at + FIELD.topic];
    const topic = hash === 0 ? -1 : topics.find(hash, 0);
    full[to + AT.topicAffinity] = topic < 0 ? 0 : logCount(topics.positive[topic]);
    full[to + AT.topicAffinity + 1] =
      topic < 0 || topics.total === 0 ? 0 : topics.count[topic] / topics.total;
    full[to + AT.topicAffinity + 2] = topic < 0 ? 0 : logCount(topics.negative[topic]);
    full[to + AT.topicAffinity + 3] = hash === 0 ? 1 : 0;
    full[to + AT.interestTopic] = hash !== 0 && request.interestTopics.includes(hash) ? 1 : 0;

    const language = (u32[at + FIELD.flags] >>> 8) & 0xff;
    const reads = request.reads[language];
    full[to + AT.languageMatch] = language !== 0 && request.readsAny ? reads : 0;
    full[to + AT.languageMatch + 1] = language !== 0 && request.readsAny ? 1 - reads : 0;
  }

  #fillHadamard(full: Float32Array, to: number, vectors: Float32Array, post: number): void {
    const { embedding } = this.#request;
    const at = post * DIM;
    for (let d = 0; d < DIM; d++) full[to + AT.hadamard + d] = embedding[d] * vectors[at + d];
  }
}
