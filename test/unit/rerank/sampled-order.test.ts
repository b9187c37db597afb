import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  poolLogits,
  readExploration,
  stepProbabilities,
} from '../../../scripts/evaluate/ope-exploration-record.ts';
import type { RankedSet, ServingRecord } from '../../../src/contracts.ts';
import { ValueModel } from '../../../src/ranking/value-model.ts';
import { explorationRecord } from '../../../src/rerank/sampled-order.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { rerankPosts } from './test-ranked.ts';

const SIZE = 24;
const POSTS = Array.from({ length: SIZE }, (_, i) => ({ authorId: `a${i % 5}`, topic: `t${i % 3}` }));
const WEIGHTS = { click: 1, like: 2, reply: 0, share: 0, dwell: 0, negative: -1 };
const VALUE = new ValueModel(WEIGHTS);
const PROBABILITIES = POSTS.map((_, i) =>
  Float32Array.of(0.5 - i / 60, 0.1 + (i % 7) / 40, 0, 0, 0, i / 300),
);
const SCORES = PROBABILITIES.map((p) => VALUE.scoreAt(p, 0));

const PINNED = rerankPosts(POSTS).table.keyOf(3);

/** Re-ranks as an explored request and reads the record of it back as the evaluation does. */
function explored(rules: object, seed: number) {
  const { slate, sampled, table } = rerankPosts(
    POSTS,
    rules,
    { explore: true, seed, slateSize: SIZE },
    SCORES,
  );
  const order = [...SCORES.keys()].sort((a, b) => SCORES[b] - SCORES[a] || a - b);
  const probabilities = new Float32Array(SIZE * HEADS.length);
  order.forEach((row, item) => void probabilities.set(PROBABILITIES[row], item * HEADS.length));
  const ranked = { rows: Uint32Array.from(order), probabilities } as RankedSet;
  const record = explorationRecord(sampled!, ranked, WEIGHTS, table)!;
  const exploration = readExploration({ exploration: JSON.parse(JSON.stringify(record)) } as ServingRecord);
  return { slate, record, exploration: exploration!, table };
}

describe('the record of a sampled order', () => {
  it('gives every pick the probability that the request gave it, whatever the rules left open', () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.integer({ min: 0, max: 1e6 }),
          temperature: fc.constantFrom(0.3, 1, 3),
          pool: fc.integer({ min: 1, max: SIZE }),
          depth: fc.integer({ min: 1, max: SIZE }),
          perWindow: fc.constantFrom(null, 1, 2),
          minAuthorDistance: fc.constantFrom(1, 3),
          pin: fc.option(fc.integer({ min: 0, max: 5 })),
        }),
        ({ seed, temperature, pool, depth, perWindow, minAuthorDistance, pin }) => {
          const { slate, exploration, table } = explored(
            {
              exploration: { temperature, pool, depth },
              topicCap: { window: 4, perWindow, decay: 1 },
              network: { minAuthorDistance },
              pins: pin === null ? [] : [{ postId: PINNED, position: pin }],
            },
            seed,
          );
          const logits = poolLogits(exploration, exploration.weights);
          expect(exploration.steps).toHaveLength(Math.min(depth, SIZE));
          exploration.steps.forEach(({ postId, pick, propensity, eligible }, k) => {
            expect(postId).toBe(table.keyOf(slate[k].row));
            expect(propensity).toBe(slate[k].propensity);
            if (pick === null) expect(propensity).toBe(1);
            else expect(stepProbabilities(logits, eligible)[pick]).toBeCloseTo(propensity, 4);
          });
        },
      ),
      { numRuns: 60 },
    );
  });

  it('carries the boosts that were sampled by', () => {
    const boosts = [{ name: 'half', when: { topics: ['t1'] }, multiply: 0.5 }];
    const { exploration, slate } = explored({ boosts, exploration: { pool: SIZE, temperature: 1 } }, 4);
    expect(new Set(exploration.boosts)).toEqual(new Set([1, 0.5]));
    const logits = poolLogits(exploration, exploration.weights);
    exploration.steps.forEach(({ pick, eligible }, k) => {
      expect(stepProbabilities(logits, eligible)[pick!]).toBeCloseTo(slate[k].propensity, 4);
    });
  });

  it('is bounded: fifty steps of a thousand posts stay below 50 kB', () => {
    const many = Array.from({ length: 1000 }, (_, i) => ({ authorId: `a${i % 9}` }));
    const rules = { exploration: { pool: 1000, depth: 1000 }, authorCap: { perWindow: 1, decay: 1 } };
    const { sampled, table } = rerankPosts(many, rules, { explore: true });
    const rows = Uint32Array.from(many.keys());
    const ranked = { rows, probabilities: new Float32Array(1000 * HEADS.length).fill(0.5) } as RankedSet;
    const record = explorationRecord(sampled!, ranked, WEIGHTS, table)!;
    expect(record.steps).toHaveLength(50);
    expect(JSON.stringify(record).length).toBeLessThan(50_000);
  });

  it('is not made where a request is not explored, or ranked without probabilities', () => {
    expect(rerankPosts(POSTS, {}, {}).sampled).toBeNull();
    const { sampled, table } = rerankPosts(POSTS, {}, { explore: true });
    const ranked = { rows: new Uint32Array(SIZE), probabilities: null } as RankedSet;
    expect(explorationRecord(sampled!, ranked, WEIGHTS, table)).toBeUndefined();
  });
});
