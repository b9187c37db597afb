import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dppOrder, RIDGE } from '../../../src/rerank/dpp-diversity.ts';
import { mmrOrder } from '../../../src/rerank/mmr-diversity.ts';

const DIM = 4;
const unit = fc
  .array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: DIM, maxLength: DIM })
  .map((values) => {
    const norm = Math.hypot(...values);
    return norm > 1e-3 ? values.map((value) => value / norm) : [1, 0, 0, 0];
  });
const sets = fc.array(fc.record({ vector: unit, relevance: fc.double({ min: 0, max: 1, noNaN: true }) }), {
  minLength: 1,
  maxLength: 8,
});

const inOrder = (n: number) => Uint32Array.from({ length: n }, (_, i) => i);
const cosine = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** log det of the kernel of a subset, by Gaussian elimination. */
function logDet(vectors: number[][]): number {
  const m = vectors.map((a, i) =>
    vectors.map((b, j) => (1 - RIDGE) * 0.5 * (1 + (i === j ? 1 : cosine(a, b))) + (i === j ? RIDGE : 0)),
  );
  let sum = 0;
  for (let k = 0; k < m.length; k++) {
    sum += Math.log(m[k][k]);
    for (let i = k + 1; i < m.length; i++) {
      const factor = m[i][k] / m[k][k];
      for (let j = k; j < m.length; j++) m[i][j] -= factor * m[k][j];
    }
  }
  return sum;
}

describe('dppOrder', () => {
  it('takes at each step the item that maximises the objective over the set picked so far', () => {
    fc.assert(
      fc.property(sets, fc.double({ min: 0, max: 0.99, noNaN: true }), (items, theta) => {
        const vectors = items.map(({ vector }) => [...Float32Array.from(vector)]);
        const relevance = Float64Array.from(items, (item) => item.relevance);
        const order = dppOrder(
          relevance,
          Float32Array.from(vectors.flat()),
          inOrder(items.length),
          DIM,
          items.length,
          theta,
        );
        expect([...order].sort()).toEqual(items.map((_, i) => i));
        const objective = (picked: number[]) =>
          picked.reduce((sum, i) => sum + (theta / (1 - theta)) * relevance[i], 0) +
          logDet(picked.map((i) => vectors[i]));
        for (let pick = 0; pick < order.length; pick++) {
          const before = [...order.slice(0, pick)];
          const chosen = objective([...before, order[pick]]);
          for (const other of order.slice(pick + 1)) {
            expect(chosen).toBeGreaterThanOrEqual(objective([...before, other]) - 1e-5);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it('orders any number of equal vectors by relevance', () => {
    const n = 200;
    const relevance = Float64Array.from({ length: n }, (_, i) => i / n);
    const vectors = new Float32Array(n * DIM).fill(0.5);
    expect([...dppOrder(relevance, vectors, inOrder(n), DIM, n, 0.5)]).toEqual(
      Array.from({ length: n }, (_, i) => n - 1 - i),
    );
  });
});

describe('mmrOrder', () => {
  it('takes at each step the largest λ · relevance − (1 − λ) · nearest cosine', () => {
    fc.assert(
      fc.property(sets, fc.double({ min: 0, max: 1, noNaN: true }), (items, lambda) => {
        const vectors = items.map(({ vector }) => [...Float32Array.from(vector)]);
        const relevance = Float64Array.from(items, (item) => item.relevance);
        const order = [
          ...mmrOrder(
            relevance,
            Float32Array.from(vectors.flat()),
            inOrder(items.length),
            DIM,
            items.length,
            lambda,
          ),
        ];
        const gain = (item: number, before: number[]) =>
          lambda * relevance[item] -
          (1 - lambda) * Math.max(-1, ...before.map((other) => cosine(vectors[item], vectors[other])));
        order.forEach((item, pick) => {
          for (const other of order.slice(pick + 1)) {
            expect(gain(item, order.slice(0, pick))).toBeGreaterThanOrEqual(
              gain(other, order.slice(0, pick)) - 1e-6,
            );
          }
        });
      }),
    );
  });
});
