// Counters of impressions and outcomes as they stood at each impression: per key and half-life, from nothing but what was
// known strictly before. Called by kuairand.ts and ebnerd.ts; writes what scripts/train/evaluate_impressions.py reads.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DecayedCounts } from './replay-decayed-counts.ts';

/** One number a row. */
export type Column = Int32Array | Float32Array | Float64Array | Uint8Array;

export interface Key {
  name: string;
  /** [rows] code of the key at each row, below `size`; −1 = unknown: such a row is not counted and reads zeros. */
  codes: Int32Array;
  size: number;
  /** `Infinity` counts without forgetting. */
  halfLivesMs: readonly number[];
}

export interface Outcome {
  name: string;
  /** [rows] 0 or 1, or a part. */
  values: Float32Array;
}

/** Things that happened, earliest first. */
export interface EventTable {
  rows: number;
  at: Float64Array;
  /** When a row's outcomes are known, at or after `at`; absent = at once. */
  knownAt?: Float64Array;
  outcomes: readonly Outcome[];
}

/** Imagined impressions at the overall rate: what few impressions say is shrunk by. */
const PRIOR = 10;
const LEAST_RATE = 1e-5;

export interface AsOfColumns {
  names: string[];
  columns: Float32Array[];
}

/**
 * For each key and half-life: ln(1 + impressions), then ln(smoothed rate) of each outcome. A row reads rows whose
 * outcomes were known at a smaller time than its own `readAt`; `codes(key)` are the keys of the readers, in their order
 * (earliest first); one that no event has reads zeros. Rows of the
 * same time never see each other.
 */
export function asOfColumns(
  events: EventTable,
  keys: readonly Key[],
  readers: { rows: number; at: Float64Array; codes(key: Key): Int32Array },
  prefix: string,
  onProgress: (fraction: number) => void = () => {},
): AsOfColumns {
  const { outcomes } = events;
  const knownAt = events.knownAt ?? events.at;
  const order = Array.from({ length: events.rows }, (_, i) => i).sort(
    (a, b) => knownAt[a] - knownAt[b] || a - b,
  );
  const names: string[] = [];
  const columns: Float32Array[] = [];
  const groups = keys.flatMap((key) =>
    key.halfLivesMs.map((halfLifeMs) => {
      const label = `${prefix}${key.name}${Number.isFinite(halfLifeMs) ? `_${Math.round(halfLifeMs / 60_000)}m` : ''}`;
      const own = [`${label}_count`, ...outcomes.map(({ name }) => `${label}_${name}`)];
      names.push(...own);
      const written = own.map(() => new Float32Array(readers.rows));
      columns.push(...written);
      return {
        key,
        codes: readers.codes(key),
        counts: own.map(() => new DecayedCounts(key.size, halfLifeMs, 0)),
        written,
      };
    }),
  );
  const overall = outcomes.map(() => 0);
  let learned = 0;
  for (let row = 0; row < readers.rows; row++) {
    const at = readers.at[row];
    for (; learned < order.length && knownAt[order[learned]] < at; learned++) {
      const event = order[learned];
      for (let o = 0; o < outcomes.length; o++) overall[o] += outcomes[o].values[event];
      for (const { key, counts } of groups) {
        const code = key.codes[event];
        if (code < 0) continue;
        counts[0].add(code, knownAt[event]);
        for (let o = 0; o < outcomes.length; o++) {
          if (outcomes[o].values[event] !== 0)
            counts[o + 1].add(code, knownAt[event], outcomes[o].values[event]);
        }
      }
    }
    for (const { key, codes, counts, written } of groups) {
      const code = codes[row];
      const known = code >= 0 && code < key.size;
      const shown = known ? counts[0].value(code, at) : 0;
      written[0][row] = Math.log1p(shown);
      for (let o = 0; o < outcomes.length; o++) {
        const rate = (overall[o] + 1) / (learned + 20);
        const had = known ? counts[o + 1].value(code, at) : 0;
        written[o + 1][row] = Math.log((had + PRIOR * rate) / (shown + PRIOR) + LEAST_RATE);
      }
    }
    if (row % 4096 === 0) onProgress(row / readers.rows);
  }
  return { names, columns };
}

/** Numbers strings, or anything, by first appearance; −1 for null and empty. */
export class Codes {
  readonly #codes = new Map<string | number, number>();

  of(value: string | number | null | undefined): number {
    if (value === null || value === undefined || value === '' || Number.isNaN(value)) return -1;
    let code = this.#codes.get(value);
    if (code === undefined) this.#codes.set(value, (code = this.#codes.size));
    return code;
  }

  get size(): number {
    return Math.max(1, this.#codes.size);
  }
}

/** Both columns as one: a code for each pair that occurs; −1 where either is unknown. */
export function pairColumn(pairs: Codes, a: Int32Array, b: Int32Array): Int32Array {
  return Int32Array.from(a, (code, row) => (code < 0 || b[row] < 0 ? -1 : pairs.of(code * 2 ** 26 + b[row])));
}

export interface ImpressionSet {
  rows: number;
  at: Float64Array;
  /** Rows of one list share a number. */
  group: Int32Array;
  user: Int32Array;
  numbers: AsOfColumns;
  /** Columns embedded by the model; −1 = unknown. */
  ids: { name: string; codes: Int32Array; size: number }[];
  labels: { name: string; values: Uint8Array }[];
  validationFromMs: number;
  testFromMs: number;
}

/** Writes numbers.f32 [N, D], ids.i32 [N, K], labels.u8 [N, L], times.f64, groups.i32, users.i32 and meta.json, last. */
export async function writeImpressions(dir: string, set: ImpressionSet): Promise<void> {
  const { rows } = set;
  await writeFile(
    join(dir, 'numbers.f32'),
    rowMajor(set.numbers.columns, new Float32Array(rows * set.numbers.columns.length)),
  );
  await writeFile(
    join(dir, 'ids.i32'),
    rowMajor(
      set.ids.map(({ codes }) => codes),
      new Int32Array(rows * set.ids.length),
    ),
  );
  await writeFile(
    join(dir, 'labels.u8'),
    rowMajor(
      set.labels.map(({ values }) => values),
      new Uint8Array(rows * set.labels.length),
    ),
  );
  await writeFile(join(dir, 'times.f64'), set.at);
  await writeFile(join(dir, 'groups.i32'), set.group);
  await writeFile(join(dir, 'users.i32'), set.user);
  const meta = {
    rows,
    numbers: set.numbers.names,
    ids: set.ids.map(({ name, size }) => ({ name, size })),
    labels: set.labels.map(({ name }) => name),
    validationFromMs: set.validationFromMs,
    testFromMs: set.testFromMs,
  };
  await writeFile(join(dir, 'meta.json'), JSON.stringify(meta));
}

/** [columns][rows] into `out` [rows, columns]. */
export function rowMajor<T extends Column>(columns: readonly Column[], out: T): T {
  const width = columns.length;
  columns.forEach((column, c) => {
    for (let row = 0; row < column.length; row++) out[row * width + c] = column[row];
  });
  return out;
}
