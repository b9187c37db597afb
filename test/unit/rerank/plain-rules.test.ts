import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
// @ts-expect-error: the build is plain JavaScript, so that it runs before anything is typed
import { compileKernel, DPP_KERNEL } from '../../../scripts/setup/build-kernels.mjs';
import { dppOrder } from '../../../src/rerank/dpp-diversity.ts';
import { byUtility, type Draft } from '../../../src/rerank/draft.ts';
import { decayRepetition } from '../../../src/rerank/repetition-decay.ts';
import { seededRandom } from '../../../src/rerank/seeded-random.ts';
import { NOW, randomUnit } from '../candidates/test-world.ts';
import { plainDecay, plainDppOrder } from './plain-rules.ts';
import { rerankPosts } from './test-ranked.ts';

const DIM = 64;
/** Few different values, so that ties are common. */
const coarse = fc.integer({ min: 1, max: 12 }).map((x) => x / 12);
const fine = fc.double({ min: 1e-6, max: 1, noNaN: true });
const cap = fc.record({
  window: fc.integer({ min: 1, max: 8 }),
  perWindow: fc.constant(null),
  decay: fc.constantFrom(0, 0.5, 0.7, 0.92, 1),
  floor: fc.constantFrom(0, 0.2, 0.5, 1),
});

/** Numbered by first appearance; negative ones stay. */
function dense(keys: readonly number[]): Int32Array {
  const distinct = [...new Set(keys.filter((key) => key >= 0))];
  return Int32Array.from(keys, (key) => (key < 0 ? -1 : distinct.indexOf(key)));
}

describe('the DPP kernel', () => {
  it('is built from the committed source', async () => {
    const path = new URL('../../../src/rerank/dpp-kernel/dpp.wasm', import.meta.url);
    expect(Buffer.compare(await compileKernel(DPP_KERNEL), await readFile(path))).toBe(0);
  });

  it('leads to the same picks as all Cholesky rows computed in JavaScript', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(coarse, fine), { minLength: 1, maxLength: 60 }),
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 20 }),
        (relevance, theta, picks, kinds) => {
          const n = relevance.length;
          const table = new Float32Array(2 * n * DIM);
          const rows = Uint32Array.from({ length: n }, (_, i) => 2 * (n - 1 - i));
          const vectors = new Float32Array(n * DIM);
          // Some are copies of each other.
          rows.forEach((row, i) => {
            vectors.set(randomUnit(1 + (i % kinds)), i * DIM);
            table.set(vectors.subarray(i * DIM, (i + 1) * DIM), row * DIM);
          });
          const values = Float64Array.from(relevance);
          expect([...dppOrder(values, table, rows, DIM, picks, theta)]).toEqual(
            plainDppOrder(values, vectors, DIM, picks, theta),
          );
        },
      ),
      { numRuns: 150 },
    );
  });

  it('takes a vector that is not finite for zeros', () => {
    const relevance = Float64Array.of(0.9, 0.8, 0.7, 0.6);
    const vectors = new Float32Array(4 * DIM);
    for (let i = 0; i < 4; i++) vectors.set(randomUnit(i + 1), i * DIM);
    const rows = Uint32Array.of(0, 1, 2, 3);
    const zeroed = vectors.slice().fill(0, DIM, 2 * DIM);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      vectors[DIM + 63] = bad;
      expect(dppOrder(relevance, vectors, rows, DIM, 4, 0.3)).toEqual(
        dppOrder(relevance, zeroed, rows, DIM, 4, 0.3),
      );
    }
  });
});

describe('decayRepetition', () => {
  it('orders as a look at every item for every position does, and leaves the same utilities', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            utility: fc.oneof(coarse, fine),
            author: fc.nat({ max: 6 }),
            topic: fc.integer({ min: -1, max: 4 }),
          }),
          { minLength: 1, maxLength: 40 },
        ),
        cap,
        cap,
        fc.integer({ min: 0, max: 45 }),
        (items, author, topic, depth) => {
          const listOf = () => {
            const utility = Float64Array.from(items, (item) => item.utility);
            return {
              size: items.length,
              utility,
              authors: dense(items.map((item) => item.author)),
              topics: dense(items.map((item) => item.topic)),
              order: byUtility(utility),
              explained: false,
            };
          };
          const fast = listOf() as unknown as Draft;
          const plain = listOf();
          decayRepetition(fast, author, topic, depth);
          // Nothing decays: it is left out.
          if (author.decay === 1 && topic.decay === 1) return;
          expect([...fast.order]).toEqual(plainDecay(plain, author, topic, depth));
          expect(fast.utility).toEqual(plain.utility);
        },
      ),
      { numRuns: 400 },
    );
  });
});

describe('a slate', () => {
  it('is the same whether its explanations are asked for or not', () => {
    const random = seededRandom(5);
    const posts = Array.from({ length: 120 }, () => ({
      authorId: `a${Math.floor(random() * 30)}`,
      topic: random() < 0.2 ? '' : `t${Math.floor(random() * 6)}`,
      ageHours: Math.floor(random() * 100),
      impressions: Math.floor(random() * 100),
    }));
    const rules = {
      diversity: {},
      authorCap: {},
      topicCap: {},
      network: { minFollowedShare: 0.1 },
      freshSlots: {},
    };
    for (let seed = 0; seed < 20; seed++) {
      const query = { seed, explore: seed % 4 === 3, nowMs: NOW, slateSize: 60 };
      const explained = rerankPosts(posts, rules, { ...query, explain: 1 }).slate;
      const plain = rerankPosts(posts, rules, { ...query, explain: 0 }).slate;
      expect(plain).toEqual(explained.map((entry) => ({ ...entry, rules: [] })));
      expect(explained.some((entry) => entry.rules.length > 0)).toBe(true);
    }
  });
});
