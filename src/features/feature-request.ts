// What the encoder knows of one request before it sees a post: the user and context columns, and small tables over
// the user's history, follows and interests. Reused from request to request; allocates only when a table must grow.
import type { Catalogue, PackedUser } from '../contracts.ts';
import { invalid } from '../errors.ts';
import { FIELD, RECORD_WORDS } from '../post-record.ts';
import { DIM, ENGAGEMENT_CODES, HISTORY_LIMIT } from '../vocabulary.ts';
import { FULL_WIDTH, fullOffset } from './feature-schema.ts';
import { HashSet64, HistoryTally } from './history-tally.ts';
import type { SimilarityKernel } from './similarity-kernel.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Slots of the similarity kernel: the user, rejected posts, liked posts; in blocks of four. */
const NEGATIVE_LANE = 1;
const NEGATIVE_LANES = 3;
export const POSITIVE_LANE = 4;
export const POSITIVE_LANES = 8;

export interface FeatureContext {
  nowMs: number;
  /** 0-based position at which the post was shown; training only, absent when serving. */
  position?: number;
}

/** A count as it should be: 0 for what is negative or not a number, bounded for what is absurd. */
export function cleanCount(x: number): number {
  return x > 0 ? Math.min(x, 1e12) : 0;
}

/** ln(1 + x) of a count. */
export function logCount(x: number): number {
  return Math.log(1 + cleanCount(x));
}

export class RequestFeatures {
  /** Full row with the user and context columns filled in, all others 0. */
  readonly template = new Float32Array(FULL_WIDTH);
  readonly authors = new HistoryTally(HISTORY_LIMIT);
  readonly topics = new HistoryTally(HISTORY_LIMIT);
  readonly follows = new HashSet64();
  /** Its lanes hold the vectors that posts are compared with. */
  readonly kernel: SimilarityKernel;
  /** [256] 1 for languages the user reads. */
  readonly reads = new Uint8Array(256);
  interestTopics: Uint32Array = new Uint32Array(0);
  embedding: Float32Array = new Float32Array(DIM);
  positives = 0;
  negatives = 0;
  simhashCount = 0;
  readsAny = false;
  nowMs = 0;
  readonly #rows = new Int32Array(POSITIVE_LANES + NEGATIVE_LANES);

  constructor(kernel: SimilarityKernel) {
    this.kernel = kernel;
  }

  /** @throws FeedrankError(invalid_input) on a time that is not finite or a vector of wrong length. */
  begin(user: PackedUser, catalogue: Catalogue, nowMs: number): void {
    if (!Number.isFinite(nowMs)) throw invalid('nowMs', 'must be a finite unix time in milliseconds');
    if (user.embedding.length !== DIM) throw invalid('user.embedding', `must have ${DIM} numbers`);
    this.nowMs = nowMs;
    this.embedding = user.embedding;
    this.interestTopics = user.interestTopics;
    this.follows.fill(user.follows);
    this.reads.fill(0);
    for (const code of user.languages) this.reads[code] = 1;
    this.readsAny = user.languages.length > 0;
    this.#readHistory(user, catalogue);
    this.#fillUser(user);
    this.#fillContext(nowMs);
  }

  /** Position columns: known only in training. */
  setPosition(position: number | undefined): void {
    const at = fullOffset('context_position@1');
    this.template[at] = position === undefined ? 0 : logCount(position);
    this.template[at + 1] = position === undefined ? 0 : 1;
  }

  #readHistory(user: PackedUser, catalogue: Catalogue): void {
    const size = Math.min(user.historyTypes.length, HISTORY_LIMIT);
    this.authors.clear();
    this.topics.clear();
    const { lanes } = this.kernel;
    lanes.fill(0);
    for (let d = 0; d < DIM; d++) lanes[4 * d] = user.embedding[d];
    this.positives = this.negatives = this.simhashCount = 0;
    for (let i = 0; i < size; i++) {
      const negative = user.historyTypes[i] === ENGAGEMENT_CODES.negative;
      const ageMs = this.nowMs - user.historyAtMs[i];
      this.authors.add(user.historyAuthors[2 * i], user.historyAuthors[2 * i + 1], negative, ageMs);
      if (user.historyTopics[i] !== 0) this.topics.add(user.historyTopics[i], 0, negative, ageMs);
      if (negative ? this.negatives < NEGATIVE_LANES : this.positives < POSITIVE_LANES) {
        const row = catalogue.rowOf(user.historyKeys[2 * i], user.historyKeys[2 * i + 1]);
        if (row >= 0) this.#addVector(catalogue, row, negative);
      }
    }
  }

  #addVector(catalogue: Catalogue, row: number, negative: boolean): void {
    const from = negative ? POSITIVE_LANES : 0;
    const count = negative ? this.negatives : this.positives;
    for (let i = from; i < from + count; i++) if (this.#rows[i] === row) return;
    this.#rows[from + count] = row;
    const lane = (negative ? NEGATIVE_LANE : POSITIVE_LANE) + count;
    const base = (lane >> 2) * DIM * 4 + (lane & 3);
    for (let d = 0; d < DIM; d++) this.kernel.lanes[base + 4 * d] = catalogue.vectors[row * DIM + d];
    if (negative) {
      this.negatives++;
      return;
    }
    this.positives++;
    const { u32 } = catalogue.records;
    const lo = u32[row * RECORD_WORDS + FIELD.simhashLo];
    const hi = u32[row * RECORD_WORDS + FIELD.simhashHi];
    if (lo === 0 && hi === 0) return;
    this.kernel.historyHashes[2 * this.simhashCount] = lo;
    this.kernel.historyHashes[2 * this.simhashCount + 1] = hi;
    this.simhashCount++;
  }

  #fillUser(user: PackedUser): void {
    const row = this.template;
    const size = Math.min(user.historyTypes.length, HISTORY_LIMIT);
    row[fullOffset('user_history_size@1')] = Math.log(1 + size) / Math.log(1 + HISTORY_LIMIT);
    const mix = fullOffset('user_mix@1');
    row.fill(0, mix, mix + 6);
    let newestMs = -Infinity;
    for (let i = 0; i < size; i++) {
      const type = user.historyTypes[i];
      if (type >= 1 && type <= 6) row[mix + type - 1] += 1 / size;
      if (user.historyAtMs[i] > newestMs) newestMs = user.historyAtMs[i];
    }
    row[fullOffset('user_recency@1')] = size > 0 ? logCount((this.nowMs - newestMs) / HOUR_MS) : 0;
    const { accountCreatedAtMs } = user;
    const accountDays = accountCreatedAtMs > 0 ? (this.nowMs - accountCreatedAtMs) / DAY_MS : 0;
    row[fullOffset('user_account_age@1')] = logCount(accountDays);
    row[fullOffset('user_follows@1')] = logCount(user.follows.length / 2);
    row[fullOffset('user_cold@1')] = user.embeddingKind === 'cold' ? 1 : 0;
  }

  #fillContext(nowMs: number): void {
    const day = (2 * Math.PI * (nowMs % DAY_MS)) / DAY_MS;
    const week = (2 * Math.PI * Math.floor(nowMs / DAY_MS)) / 7;
    const hourAt = fullOffset('context_hour@1');
    const weekdayAt = fullOffset('context_weekday@1');
    this.template[hourAt] = Math.sin(day);
    this.template[hourAt + 1] = Math.cos(day);
    this.template[weekdayAt] = Math.sin(week);
    this.template[weekdayAt + 1] = Math.cos(week);
  }
}
