// What a reader's last reads lead to, and how new an article is, as of each list. Called by ebnerd-impressions.ts.
import type { List, Reads } from './ebnerd-files.ts';
import type { AsOfColumns } from './replay-as-of.ts';
import { ItemEdges } from './replay-item-edges.ts';
import { ItemVectors } from './replay-item-vectors.ts';

const HOUR_MS = 3_600_000;
const EDGE_SLOTS = 64;
const RECENT_READS = 8;
const VECTOR_DIM = 24;

/** What the reader's last reads and the page they are on lead to, and how new an article is; by reads strictly before. */
export function sequenceColumns(
  lists: List[],
  reads: Reads,
  rows: number,
  items: number,
  users: number,
  numbers: number[],
  seed: number,
  onProgress: (fraction: number) => void,
): AsOfColumns {
  const edges = new ItemEdges({
    itemCount: items,
    slots: EDGE_SLOTS,
    fastHalfLifeMs: 6 * HOUR_MS,
    slowHalfLifeMs: 72 * HOUR_MS,
  });
  const vectors = new ItemVectors(items, VECTOR_DIM, seed);
  const recent: number[][] = Array.from({ length: users }, () => []);
  const firstAt = new Float64Array(items).fill(Number.NaN);
  const names = ['history_edges', 'page_edges', 'history_vector', 'age', 'number_age'];
  const columns = names.map(() => new Float32Array(rows));
  const vector = new Float32Array(VECTOR_DIM);
  let read = 0;
  let row = 0;
  let newest = 0;
  let noted = 0;
  lists.forEach((list, g) => {
    for (; read < reads.at.length && reads.at[read] < list.at; read++) {
      const item = reads.item[read];
      const history = recent[reads.user[read]];
      for (const earlier of history) if (earlier !== item) edges.add(earlier, item, reads.at[read]);
      vectors.learn(history, item);
      history.push(item);
      if (history.length > RECENT_READS) history.shift();
      if (Number.isNaN(firstAt[item])) firstAt[item] = reads.at[read];
      newest = Math.max(newest, numbers[item]);
    }
    // Lists of an earlier time have shown their articles to somebody.
    for (; noted < g && lists[noted].at < list.at; noted++) {
      for (const item of lists[noted].inView) {
        if (!(firstAt[item] <= lists[noted].at)) firstAt[item] = lists[noted].at;
        newest = Math.max(newest, numbers[item]);
      }
    }
    const history = recent[list.user];
    vectors.readerVector(history, vector);
    const led = edgeRates(edges, history);
    const fromPage = edgeRates(edges, list.page < 0 ? [] : [list.page]);
    for (const item of list.inView) {
      columns[0][row] = Math.log((led.get(item) ?? 0) + 1e-3);
      columns[1][row] = Math.log((fromPage.get(item) ?? 0) + 1e-3);
      columns[2][row] = vectors.score(vector, item);
      columns[3][row] = Math.log1p(Number.isNaN(firstAt[item]) ? 0 : (list.at - firstAt[item]) / HOUR_MS);
      columns[4][row++] = Math.log1p(Math.max(0, newest - numbers[item]));
    }
    if (g % 1024 === 0) onProgress(g / lists.length);
  });
  return { names, columns };
}

function edgeRates(edges: ItemEdges, from: readonly number[]): Map<number, number> {
  const rates = new Map<number, number>();
  for (const item of from) {
    const degree = edges.slowDegree[item];
    for (let slot = item * edges.slots; slot < (item + 1) * edges.slots && edges.to[slot] >= 0; slot++) {
      rates.set(edges.to[slot], (rates.get(edges.to[slot]) ?? 0) + edges.slow[slot] / degree / from.length);
    }
  }
  return rates;
}
