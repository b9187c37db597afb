import { describe, expect, it } from 'vitest';
import { RankerLadder } from '../../../src/ranking/ranker-ladder.ts';
import { RetrievalRanker } from '../../../src/ranking/retrieval-ranker.ts';
import { ValueModel } from '../../../src/ranking/value-model.ts';
import { rowRange, testCatalogue } from '../features/catalogue.ts';
import { CANDIDATES, CATALOGUE, candidatesOf, FailingRanker, inTime, QUERY } from './ranking-world.ts';

const VALUE = new ValueModel();

describe('ranker ladder', () => {
  it('stops at the first model that answers', async () => {
    const light = new FailingRanker('unavailable');
    const ladder = new RankerLadder({ main: new RetrievalRanker(), light });
    const { ranked, degraded } = await ladder.rank(QUERY, CATALOGUE, CANDIDATES, inTime(), VALUE);
    expect(ranked.model).toBe('retrieval');
    expect(degraded).toEqual([]);
    expect(light.calls).toBe(0);
  });

  it('asks the light model when the main one is late', async () => {
    const ladder = new RankerLadder({ main: new FailingRanker('timeout'), light: new RetrievalRanker() });
    const { ranked, degraded } = await ladder.rank(QUERY, CATALOGUE, CANDIDATES, inTime(), VALUE);
    expect(ranked.size).toBe(600);
    expect(degraded).toEqual(['ranker_late']);
  });

  it('ranks by retrieval when both models fail, and names both causes', async () => {
    const ladder = new RankerLadder({
      main: new FailingRanker('unavailable'),
      light: new FailingRanker('timeout'),
    });
    const { ranked, degraded, errors } = await ladder.rank(QUERY, CATALOGUE, CANDIDATES, inTime(), VALUE);
    expect(ranked.model).toBe('retrieval');
    expect(ranked.probabilities).toBeNull();
    expect(ranked.size).toBe(600);
    expect(degraded).toEqual(['ranker_failed', 'light_ranker_late']);
    expect(errors).toEqual(['the unavailable model', 'the timeout model']);
  });

  it('names models that could not be loaded', async () => {
    const ladder = new RankerLadder({ main: null, light: null });
    const { ranked, degraded } = await ladder.rank(QUERY, CATALOGUE, CANDIDATES, inTime(), VALUE);
    expect(ranked.size).toBe(600);
    expect(degraded).toEqual(['ranker_missing', 'light_ranker_missing']);
  });

  it('leaves the light model the time that it needs', async () => {
    const deadlines: number[] = [];
    const main = Object.assign(new FailingRanker('timeout'), {
      score: async (_query: unknown, _catalogue: unknown, _candidates: unknown, deadlineAtMs: number) => {
        deadlines.push(deadlineAtMs);
        throw new Error('late');
      },
    });
    const light = Object.assign(new RetrievalRanker(), { expectedMs: (rows: number) => rows / 100 });
    await new RankerLadder({ main, light }).rank(QUERY, CATALOGUE, CANDIDATES, 50_000, VALUE);
    expect(deadlines).toEqual([50_000 - 6]);
  });
});

describe('retrieval ranker', () => {
  it('orders by similarity, and equally near posts by their heat', async () => {
    const catalogue = testCatalogue(10);
    for (let row = 0; row < 10; row++) catalogue.set(row, 'slowEngagement', 0);
    const candidates = candidatesOf(rowRange(0, 10));
    candidates.similarity.fill(0.5);
    candidates.similarity[2] = 0.9;
    catalogue.set(6, 'slowEngagement', 500);
    catalogue.set(6, 'countersAtSec', QUERY.nowMs / 1000);
    const { rows } = await new RetrievalRanker().score(QUERY, catalogue, candidates);
    expect([...rows.slice(0, 3)]).toEqual([2, 6, 0]);
  });

  it('ranks candidates whose numbers are not finite last, not first', async () => {
    const catalogue = testCatalogue(10);
    const candidates = candidatesOf(rowRange(0, 10));
    candidates.similarity[4] = Number.NaN;
    catalogue.set(4, 'slowEngagement', Number.NaN);
    const { rows, scores } = await new RetrievalRanker().score(QUERY, catalogue, candidates);
    expect(rows[9]).toBe(4);
    expect(scores.every(Number.isFinite)).toBe(true);
  });
});
