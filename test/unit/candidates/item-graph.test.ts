import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Interactions,
  ItemGraph,
  type ItemGraphOptions,
  transpose,
} from '../../../src/candidates/item-graph.ts';

function interactions(rows: number[][], itemCount: number): Interactions {
  const start = new Uint32Array(rows.length + 1);
  rows.forEach((row, user) => {
    start[user + 1] = start[user] + row.length;
  });
  return { userCount: rows.length, itemCount, start, items: Uint32Array.from(rows.flat()) };
}

/** Three users, three items of degree 2 and one (3) that nobody has. */
const TINY = interactions([[0, 1], [0, 1, 2], [2]], 4);
const LINEAR: ItemGraphOptions = { neighbours: 10, user: 1, source: 0.5, target: 0.5, power: 1 };

describe('ItemGraph', () => {
  it('gives the hand-computed weights of the linear graph filter', () => {
    const { items, weights } = ItemGraph.build(TINY, LINEAR).neighbours(0);
    // (1/2 + 1/3) / (√2 · √2) to item 1, (1/3) / 2 to item 2
    expect([...items]).toEqual([1, 2]);
    expect(weights[0]).toBeCloseTo(5 / 12, 6);
    expect(weights[1]).toBeCloseTo(1 / 6, 6);
  });

  it('raises the whole normalised weight to the power', () => {
    const { weights } = ItemGraph.build(TINY, { ...LINEAR, power: 0.5 }).neighbours(0);
    expect(weights[0]).toBeCloseTo(Math.sqrt(5 / 12), 6);
  });

  it('has no edge from an item to itself and none at an item that nobody shares', () => {
    const graph = ItemGraph.build(TINY, LINEAR);
    for (let item = 0; item < 4; item++) expect([...graph.neighbours(item).items]).not.toContain(item);
    expect(graph.neighbours(3).items).toHaveLength(0);
    expect(graph.neighbours(99).items).toHaveLength(0);
    expect(graph.edgeCount).toBe(6);
  });

  it('keeps exactly the allowed number of neighbours when all weights tie', () => {
    const graph = ItemGraph.build(interactions([[0, 1, 2, 3]], 4), { ...LINEAR, neighbours: 2 });
    for (let item = 0; item < 4; item++) expect(graph.neighbours(item).items).toHaveLength(2);
  });

  it('limits the neighbours that are asked for, strongest first', () => {
    expect([...ItemGraph.build(TINY, LINEAR).neighbours(0, 1).items]).toEqual([1]);
    expect(ItemGraph.build(TINY, LINEAR).neighbours(0, 0).items).toHaveLength(0);
  });

  it('adds up the edges of a history and names what it reached', () => {
    const graph = ItemGraph.build(TINY, LINEAR);
    const scores = new Float32Array(4);
    const reached = new Uint32Array(4);
    const count = graph.score([0, 1], scores, reached);
    expect([...reached.subarray(0, count)].sort()).toEqual([0, 1, 2]);
    expect(scores[2]).toBeCloseTo(1 / 3, 6);
    expect(scores[1]).toBeCloseTo(5 / 12, 6);
    expect(scores[3]).toBe(0);
    const weighted = new Float32Array(4);
    graph.score([0, 1], weighted, reached, [1, 0.5]);
    const first = new Float32Array(4);
    graph.score([0], first, reached);
    for (let item = 0; item < 4; item++)
      expect(weighted[item]).toBeCloseTo((scores[item] + first[item]) / 2, 6);
  });

  it('refuses settings that have no meaning', () => {
    expect(() => ItemGraph.build(TINY, { ...LINEAR, neighbours: 0 })).toThrow(/neighbours/);
    expect(() => ItemGraph.build(TINY, { ...LINEAR, power: 0 })).toThrow(/power/);
    expect(() => ItemGraph.build(TINY, { ...LINEAR, user: Number.NaN })).toThrow(/exponents/);
  });

  const random = fc
    .array(fc.uniqueArray(fc.nat(11), { maxLength: 6 }), { minLength: 1, maxLength: 12 })
    .map((rows) => ({ rows, data: interactions(rows, 12) }));

  it('equals the dense product, cut to the strongest', () => {
    fc.assert(
      fc.property(random, fc.integer({ min: 1, max: 12 }), ({ rows, data }, neighbours) => {
        const options = { neighbours, user: 0.7, source: 0.3, target: 0.6, power: 0.8 };
        const graph = ItemGraph.build(data, options);
        for (let i = 0; i < 12; i++) {
          const dense = denseRow(rows, i, options)
            .sort((a, b) => b - a)
            .slice(0, neighbours);
          const { items, weights } = graph.neighbours(i);
          expect(new Set(items).size).toBe(items.length);
          expect(weights.length).toBe(dense.length);
          weights.forEach((weight, rank) => {
            expect(weight).toBeCloseTo(dense[rank], 5);
          });
        }
      }),
    );
  });

  it('is symmetric where both ends are normalised alike', () => {
    fc.assert(
      fc.property(random, ({ data }) => {
        const graph = ItemGraph.build(data, { ...LINEAR, neighbours: 12 });
        for (let i = 0; i < 12; i++) {
          const { items, weights } = graph.neighbours(i);
          items.forEach((j, at) => {
            const back = graph.neighbours(j);
            expect(back.weights[back.items.indexOf(i)]).toBeCloseTo(weights[at], 5);
          });
        }
      }),
    );
  });

  it('does not depend on the order of the users', () => {
    fc.assert(
      fc.property(random, ({ rows, data }) => {
        const turned = ItemGraph.build(interactions([...rows].reverse(), 12), { ...LINEAR, neighbours: 12 });
        const graph = ItemGraph.build(data, { ...LINEAR, neighbours: 12 });
        expect(turned.edgeCount).toBe(graph.edgeCount);
      }),
    );
  });

  it('gives the strongest neighbours from an item on as its whole list does', () => {
    const rows = fc.array(fc.uniqueArray(fc.nat(19), { maxLength: 8 }), { maxLength: 30 });
    fc.assert(
      fc.property(
        rows,
        fc.nat(19),
        fc.nat(19),
        fc.integer({ min: 1, max: 12 }),
        (users, item, first, limit) => {
          const graph = ItemGraph.build(interactions(users, 20), { ...LINEAR, neighbours: 15 });
          const all = graph.neighbours(item);
          const wanted = [...all.items].map((other, i) => [other, all.weights[i]]);
          const items = new Uint32Array(limit);
          const weights = new Float32Array(limit);
          const size = graph.strongest(item, first, limit, items, weights);
          const expected = wanted.filter(([other]) => other >= first).slice(0, limit);
          expect([...items.subarray(0, size)].map((other, i) => [other, weights[i]])).toEqual(expected);
        },
      ),
    );
  });
});

describe('transpose', () => {
  it('lists the users of each item, and twice is the start again', () => {
    const turned = transpose(TINY);
    expect([...turned.items]).toEqual([0, 1, 0, 1, 1, 2]);
    expect([...turned.start]).toEqual([0, 2, 4, 6, 6]);
    expect(transpose(turned)).toEqual(TINY);
  });
});

/** Weights from item i to every other that shares a user with it, by the formula. */
function denseRow(rows: number[][], i: number, { user, source, target, power }: ItemGraphOptions): number[] {
  const degree = (item: number) => rows.filter((row) => row.includes(item)).length;
  const weights: number[] = [];
  for (let j = 0; j < 12; j++) {
    const shared = rows.filter((row) => row.includes(i) && row.includes(j));
    if (j === i || shared.length === 0) continue;
    const sum = shared.reduce((total, row) => total + row.length ** -user, 0);
    weights.push((sum / (degree(i) ** source * degree(j) ** target)) ** power);
  }
  return weights;
}
