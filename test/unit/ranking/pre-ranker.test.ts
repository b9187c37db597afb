import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CandidateSet } from '../../../src/contracts.ts';
import { type Ranker, rankedSet, type Scored } from '../../../src/ranking/ranker.ts';
import { RankerLadder } from '../../../src/ranking/ranker-ladder.ts';
import { ValueModel } from '../../../src/ranking/value-model.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { rowRange } from '../features/catalogue.ts';
import { CATALOGUE, candidatesOf, FailingRanker, inTime, QUERY } from './ranking-world.ts';

const VALUE = new ValueModel();

/** Scores a row by a formula, and says which rows it was given. */
class FormulaRanker implements Ranker {
  readonly model: string;
  readonly #scoreOf: (row: number) => number;
  seen: number[] = [];

  constructor(model: string, scoreOf: (row: number) => number) {
    this.model = model;
    this.#scoreOf = scoreOf;
  }

  expectedMs(): number {
    return 0;
  }

  async score(_query: unknown, _catalogue: unknown, candidates: CandidateSet): Promise<Scored> {
    const rows = [...candidates.rows.subarray(0, candidates.size)];
    this.seen = rows;
    const scores = Float32Array.from(rows, this.#scoreOf);
    const probabilities = Float32Array.from({ length: rows.length * HEADS.length }, (_, i) => {
      return (rows[Math.floor(i / HEADS.length)] % 97) / 97;
    });
    return { ...rankedSet(this.model, candidates, scores, probabilities), encodeMs: 1, runMs: 2 };
  }
}

function rank(main: Ranker | null, light: Ranker | null, preRank: number, candidates: CandidateSet) {
  const ladder = new RankerLadder({ main, light, preRank });
  return ladder.rank(QUERY, CATALOGUE, candidates, inTime(), VALUE);
}

describe('pre-ranking', () => {
  it('gives the main model the best of the light one, and leaves the rest its score', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 400 }),
        fc.integer({ min: 1, max: 400 }),
        fc.integer({ min: 1, max: 1000 }),
        async (size, keep, salt) => {
          const light = new FormulaRanker('ranker-light@1', (row) => Math.sin(row * salt));
          const main = new FormulaRanker('ranker@1', (row) => Math.cos(row * 3 * salt) * 5);
          const rows = rowRange(0, size).map((row) => (row * 7) % 1200);
          const candidates = candidatesOf(rows);
          const { ranked, degraded } = await rank(main, light, keep, candidates);
          expect(degraded).toEqual([]);
          expect(ranked.size).toBe(size);
          expect(new Set(ranked.rows)).toEqual(new Set(rows));
          const byLight = [...rows].sort((a, b) => Math.sin(b * salt) - Math.sin(a * salt));
          if (keep >= size) {
            expect(ranked.preRanked).toBeUndefined();
            return;
          }
          expect(new Set(main.seen)).toEqual(new Set(byLight.slice(0, keep)));
          expect(ranked.preRanked).toMatchObject({ model: 'ranker-light@1', kept: keep, ms: 3 });
          for (let i = 0; i < size; i++) {
            if (i > 0) expect(ranked.scores[i]).toBeLessThanOrEqual(ranked.scores[i - 1]);
            const row = ranked.rows[i];
            expect(candidates.rows[ranked.candidate[i]]).toBe(row);
            const isMain = byLight.indexOf(row) < keep;
            expect(ranked.preRanked!.byMain[ranked.candidate[i]]).toBe(isMain ? 1 : 0);
            const score = isMain ? Math.cos(row * 3 * salt) * 5 : Math.sin(row * salt);
            expect(ranked.scores[i]).toBeCloseTo(score, 5);
            expect(ranked.probabilities![i * HEADS.length]).toBeCloseTo((ranked.rows[i] % 97) / 97, 6);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('keeps the light order when the main model is late or fails, without asking the light one again', async () => {
    const light = new FormulaRanker('ranker-light@1', (row) => -row);
    const { ranked, degraded } = await rank(
      new FailingRanker('timeout'),
      light,
      100,
      candidatesOf(rowRange(0, 300)),
    );
    expect(degraded).toEqual(['ranker_late']);
    expect(ranked.model).toBe('ranker-light@1');
    expect([...ranked.rows]).toEqual([...rowRange(0, 300)]);
  });

  it('lets the main model rank everything when the light one fails', async () => {
    const main = new FormulaRanker('ranker@1', (row) => row);
    const candidates = candidatesOf(rowRange(0, 300));
    const { ranked, degraded } = await rank(main, new FailingRanker('unavailable'), 100, candidates);
    expect(degraded).toEqual(['prerank_failed']);
    expect(main.seen).toHaveLength(300);
    expect(ranked.rows[0]).toBe(299);
  });

  it('is left out where there are few candidates or one of the models is missing', async () => {
    const main = new FormulaRanker('ranker@1', (row) => row);
    const few = candidatesOf(rowRange(0, 80));
    const light = new FormulaRanker('ranker-light@1', (row) => row);
    expect((await rank(main, light, 100, few)).ranked.preRanked).toBeUndefined();
    expect((await rank(main, null, 10, few)).ranked.preRanked).toBeUndefined();
    expect((await rank(null, light, 10, few)).degraded).toEqual(['ranker_missing']);
  });
});
