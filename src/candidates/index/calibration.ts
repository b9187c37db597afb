// Measures the searches of a finished build on held-out user vectors and picks the cheapest that reaches the target.
import type { VectorIndex } from '../../contracts.ts';
import { DIM } from '../../vocabulary.ts';
import type { Calibration, Measured, SearchSetting, ShortSearch } from './artifact-manifest.ts';
import type { HnswIndex } from './hnsw-index.ts';
import type { InvertedIndex } from './inverted-index.ts';
import { measureSearch, nearestRows } from './measured-search.ts';
import { PlainScan } from './plain-scan.ts';
import type { PostTable } from './post-table.ts';
import { calibrateShortSearches } from './short-searches.ts';

/** ef as multiples of k; the first is the least that hnswlib accepts. */
const EF_FACTORS = [1, 1.25, 1.5, 2, 3, 4];
/** Inverted lists that are read, as shares of all. Beyond a quarter the whole scan is as cheap. */
const PROBE_SHARES = [
  1 / 512,
  1 / 360,
  1 / 256,
  1 / 128,
  1 / 64,
  1 / 45,
  1 / 32,
  1 / 22,
  1 / 16,
  1 / 11,
  1 / 8,
  1 / 4,
];
const MAX_QUERIES = 200;
/** Queries on which the scan itself is compared with plain float32 (about 100 ms each per million rows). */
const ORACLE_QUERIES = 10;

export interface CalibrationInput {
  table: PostTable;
  scan: VectorIndex;
  graph: HnswIndex | null;
  lists: InvertedIndex | null;
  /** Unit vectors [64], not posts of the index. */
  queries: readonly Float32Array[];
  queriesFrom: 'users' | 'posts';
  k: number;
  targetRecall: number;
  /** Only settings of this kind are chosen from; `auto` = all. */
  prefer: 'auto' | SearchSetting['kind'];
}

/**
 * Recall@k and time of the scan and of the graph at each ef; k is cut to the number of rows. When no setting
 * reaches the target, the one of highest recall is chosen.
 */
export function calibrate(input: CalibrationInput): { calibration: Calibration; search: SearchSetting } {
  const k = Math.min(input.k, input.table.rows);
  const queries = input.queries.slice(0, MAX_QUERIES);
  if (k === 0 || queries.length === 0) {
    const calibration = {
      k,
      targetRecall: input.targetRecall,
      queries: 0,
      queriesFrom: 'none' as const,
      measured: [],
      short: [],
    };
    return { calibration, search: { kind: 'exact', ef: null, probes: null } };
  }
  const measured: Measured[] = [measureScan(input.scan, new PlainScan(input.table), queries, k)];
  const { graph, lists } = input;
  const truth = graph || lists ? queries.map((query) => new Set(nearestRows(input.scan, query, k))) : [];
  if (graph) {
    for (const factor of EF_FACTORS) {
      const ef = Math.ceil(k * factor);
      graph.setEf(ef);
      measured.push({ kind: 'hnsw', ef, probes: null, ...measureSearch(graph, queries, k, truth) });
    }
  }
  if (lists) {
    for (const probes of probeCounts(lists.lists)) {
      lists.setProbes({ all: probes, short: [] });
      measured.push({ kind: 'ivf', ef: null, probes, ...measureSearch(lists, queries, k, truth) });
    }
  }
  const { kind, ef, probes } = cheapest(measured, input.targetRecall, input.prefer);
  const calibration = {
    k,
    targetRecall: input.targetRecall,
    queries: queries.length,
    queriesFrom: input.queriesFrom,
    measured,
    short: lists && probes !== null ? shortSearches(input, lists, queries, k, probes) : [],
  };
  return { calibration, search: { kind, ef, probes } };
}

function shortSearches(
  { table: { vectors, rows }, scan, targetRecall }: CalibrationInput,
  lists: InvertedIndex,
  readers: readonly Float32Array[],
  k: number,
  most: number,
): ShortSearch[] {
  return calibrateShortSearches({ scan, lists, readers, vectors, rows, most, k, targetRecall });
}

function probeCounts(lists: number): number[] {
  return [...new Set(PROBE_SHARES.map((share) => Math.max(1, Math.round(lists * share))))];
}

/** The fastest at or above the target; ties and misses go to the higher recall. */
export function cheapest(
  measured: readonly Measured[],
  target: number,
  prefer: CalibrationInput['prefer'],
): Measured {
  const preferred = measured.filter((one) => prefer === 'auto' || one.kind === prefer);
  const allowed = preferred.length > 0 ? preferred : measured;
  const good = allowed.filter((one) => one.recall >= target);
  if (good.length > 0) return good.reduce((best, one) => (one.p50Ms < best.p50Ms ? one : best));
  return allowed.reduce((best, one) => (one.recall > best.recall ? one : best));
}

/** Means of three random posts: stand-ins for users where there are none. Deterministic. */
export function syntheticQueries(table: PostTable, count: number): Float32Array[] {
  const { rows } = table;
  const queries: Float32Array[] = [];
  if (rows === 0) return queries;
  let state = 0x2545f491;
  for (let query = 0; query < count; query++) {
    const vector = new Float32Array(DIM);
    for (let part = 0; part < 3; part++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const at = Math.floor((state / 2 ** 32) * rows) * DIM;
      for (let i = 0; i < DIM; i++) vector[i] += table.vectors[at + i];
    }
    const norm = Math.hypot(...vector);
    if (norm > 1e-3) queries.push(vector.map((value) => value / norm));
  }
  return queries;
}

function measureScan(
  scan: VectorIndex,
  oracle: PlainScan,
  queries: readonly Float32Array[],
  k: number,
): Measured {
  const sample = queries.slice(0, ORACLE_QUERIES);
  const truth = sample.map((query) => new Set(nearestRows(oracle, query, k)));
  const { recall } = measureSearch(scan, sample, k, truth);
  const { p50Ms, p99Ms } = measureSearch(scan, queries, k, []);
  return { kind: 'exact', ef: null, probes: null, recall, p50Ms, p99Ms };
}
