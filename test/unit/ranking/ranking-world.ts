// A query over a small catalogue for tests of rankers, and rankers that misbehave on purpose.
import type { CandidateSet, FeedQuery } from '../../../src/contracts.ts';
import { FeedrankError } from '../../../src/errors.ts';
import type { Ranker, Scored } from '../../../src/ranking/ranker.ts';
import { ENGAGEMENT_CODES, SOURCES } from '../../../src/vocabulary.ts';
import { NOW_MS, rowRange, testCatalogue, testUser } from '../features/catalogue.ts';

export const CATALOGUE = testCatalogue(1200);

export const QUERY: FeedQuery = {
  requestId: 'r1',
  user: testUser([
    { post: 7, type: ENGAGEMENT_CODES.like },
    { post: 12, type: ENGAGEMENT_CODES.negative },
  ]),
  nowMs: NOW_MS,
  seed: 1,
  candidates: 1000,
  slateSize: 300,
  exclude: new Uint32Array(0),
  explain: 0,
  explore: false,
  deadlineAtMs: 0,
};

/** Rows with room behind them, as the retriever's reused buffers have; similarity falls with the row. */
export function candidatesOf(rows: Uint32Array): CandidateSet {
  const size = rows.length;
  const room = new Uint32Array(size + 7).fill(3);
  room.set(rows);
  return {
    rows: room,
    similarity: Float32Array.from({ length: size + 7 }, (_, i) =>
      i < size ? 1 - rows[i] / 2000 : Number.NaN,
    ),
    sources: new Uint8Array(size + 7),
    sourceRanks: new Uint16Array((size + 7) * SOURCES.length),
    size,
  };
}

export const CANDIDATES = candidatesOf(rowRange(0, 600));

export function inTime(): number {
  return Date.now() + 60_000;
}

export class FailingRanker implements Ranker {
  readonly model = 'failing@1';
  calls = 0;
  readonly #code: 'timeout' | 'unavailable';

  constructor(code: 'timeout' | 'unavailable') {
    this.#code = code;
  }

  expectedMs(): number {
    return 0;
  }

  async score(): Promise<Scored> {
    this.calls++;
    throw new FeedrankError(this.#code, `the ${this.#code} model`);
  }
}
