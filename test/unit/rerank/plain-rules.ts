// The greedy rules written plainly, every item looked at for every position: what the fast ones must equal bit for bit.
import { RIDGE } from '../../../src/rerank/dpp-diversity.ts';
import { rowDot } from '../../../src/rerank/row-dot.ts';
import type { CapConfig } from '../../../src/rerank/rules-config.ts';

/** As dppOrder: all Cholesky rows after every pick. */
export function plainDppOrder(
  relevance: Float64Array,
  vectors: Float32Array,
  dim: number,
  picks: number,
  theta: number,
): number[] {
  const n = relevance.length;
  const variance = new Float64Array(n).fill(1);
  const rows = Array.from({ length: n }, (): number[] => []);
  const picked: number[] = [];
  while (picked.length < Math.min(picks, n)) {
    let best = -1;
    let bestGain = Number.NEGATIVE_INFINITY;
    for (let item = 0; item < n; item++) {
      const gain = (theta / (1 - theta)) * relevance[item] + Math.log(variance[item]);
      if (picked.includes(item) || gain <= bestGain) continue;
      best = item;
      bestGain = gain;
    }
    const scale = 1 / Math.sqrt(variance[best]);
    for (let item = 0; item < n; item++) {
      if (picked.includes(item) || item === best) continue;
      let residual = (1 - RIDGE) * 0.5 * (1 + rowDot(vectors, best, item, dim));
      for (let k = 0; k < picked.length; k++) residual -= rows[best][k] * rows[item][k];
      const coefficient = residual * scale;
      rows[item].push(coefficient);
      variance[item] = Math.max(RIDGE, variance[item] - coefficient * coefficient);
    }
    picked.push(best);
  }
  return picked;
}

export interface PlainList {
  /** By item. */
  utility: Float64Array;
  authors: Int32Array;
  topics: Int32Array;
  order: Uint32Array;
}

/** As decayRepetition: the order of the items; changes utilities as it does. */
export function plainDecay(list: PlainList, author: CapConfig, topic: CapConfig, depth: number): number[] {
  const { utility, authors, topics } = list;
  const left = [...list.order];
  const placed: number[] = [];
  const factor = (keys: Int32Array, item: number, { window, decay, floor }: CapConfig): number => {
    const recent = window > 1 && keys[item] >= 0 ? placed.slice(-(window - 1)) : [];
    const before = recent.filter((other) => keys[other] === keys[item]).length;
    return before === 0 ? 1 : Math.max(floor, decay ** before);
  };
  while (placed.length < Math.min(depth, list.order.length)) {
    const values = left.map(
      (item) => utility[item] * factor(authors, item, author) * factor(topics, item, topic),
    );
    const value = Math.max(...values);
    const [item] = left.splice(values.indexOf(value), 1);
    utility[item] = value;
    placed.push(item);
  }
  return [...placed, ...left];
}
