// The clicks of a globo folder in the order of time, ids made dense. Called by globo.ts.
import { join } from 'node:path';
import { FeedrankError } from '../../src/errors.ts';
import { parquetGroups, toNumber, toTime } from '../import/parquet-rows.ts';

const FILE = 'clicks.parquet';
const KEYS = ['user_id', 'session_id', 'click_article_id', 'click_timestamp'] as const;
/** What is known of the device and place a click comes from. */
const CONTEXT = [
  'click_environment',
  'click_deviceGroup',
  'click_os',
  'click_country',
  'click_region',
  'click_referrer_type',
] as const;

/** Columns by click, earliest first; clicks of the same millisecond stay in the file's order. */
export interface ClickStream {
  readonly clicks: number;
  readonly users: number;
  readonly sessions: number;
  readonly articles: number;
  readonly at: Float64Array;
  readonly user: Int32Array;
  readonly session: Int32Array;
  readonly article: Int32Array;
  /** [clicks] for each kind of context: a number for each value, no two kinds sharing one. */
  readonly context: readonly Int32Array[];
  /** Clicks left out because an id or a time was missing. */
  readonly rejected: number;
}

/** @throws FeedrankError(invalid_input) for a file that cannot be read or holds no click. */
export async function readClickStream(dir: string, limit = Number.POSITIVE_INFINITY): Promise<ClickStream> {
  const rows: number[][] = KEYS.map(() => []);
  const contexts: number[][] = CONTEXT.map(() => []);
  let rejected = 0;
  for await (const group of parquetGroups(join(dir, FILE), [...KEYS, ...CONTEXT], limit)) {
    const { columns } = group;
    for (let i = 0; i < group.rows; i++) {
      const values = KEYS.map((key) =>
        key === 'click_timestamp' ? toTime(columns[key][i]) : toNumber(columns[key][i]),
      );
      if (!values.every(Number.isFinite)) {
        rejected++;
        continue;
      }
      for (let k = 0; k < values.length; k++) rows[k].push(values[k]);
      for (let k = 0; k < CONTEXT.length; k++) contexts[k].push(toNumber(columns[CONTEXT[k]][i]));
    }
  }
  return clickStream(rows, contexts, rejected);
}

/** The same from columns in memory: `keys` are user, session, article, time in ms; each [clicks], any order. */
export function clickStream(keys: number[][], contexts: number[][], rejected = 0): ClickStream {
  const clicks = keys[0].length;
  if (clicks === 0) throw new FeedrankError('invalid_input', `${FILE}: holds no click`);
  const order = Array.from({ length: clicks }, (_, i) => i);
  const times = keys[3];
  order.sort((a, b) => times[a] - times[b] || a - b);
  const [user, users] = dense(keys[0], order, 0);
  const [session, sessions] = dense(keys[1], order, 0);
  const [article, articles] = dense(keys[2], order, 0);
  const context: Int32Array[] = [];
  let next = 0;
  for (const column of contexts) {
    const [values, count] = dense(column, order, next);
    context.push(values);
    next += count;
  }
  const at = Float64Array.from(order, (i) => times[i]);
  return { clicks, users, sessions, articles, at, user, session, article, context, rejected };
}

/** Numbers the values by first appearance in `order`, from `first` on. */
function dense(values: number[], order: number[], first: number): [Int32Array, number] {
  const codes = new Map<number, number>();
  const column = Int32Array.from(order, (i) => {
    let code = codes.get(values[i]);
    if (code === undefined) codes.set(values[i], (code = first + codes.size));
    return code;
  });
  return [column, codes.size];
}

export interface ReplaySplit {
  /** Clicks from this time on choose between settings. */
  validationFromMs: number;
  /** Clicks from this time on are the test. */
  testFromMs: number;
}

const DAY_MS = 24 * 3_600_000;
/** A last day with fewer clicks than this part of a usual day is taken together with the one before. */
const THIN_DAY = 0.25;
const SHORT_TEST = 0.2;

/** The test is the last UTC day, validation the 24 h before it; of less than three days: the last fifth and the one before. */
export function splitStream(at: Float64Array): ReplaySplit {
  const first = at[0];
  const last = at[at.length - 1];
  const days = (last - first) / DAY_MS;
  let testFromMs = Math.floor(last / DAY_MS) * DAY_MS;
  const inTest = at.length - firstFrom(at, testFromMs);
  if (inTest < (THIN_DAY * at.length) / Math.max(days, 1)) testFromMs -= DAY_MS;
  if (days >= 2 && testFromMs - 1.2 * DAY_MS > first) {
    return { validationFromMs: testFromMs - DAY_MS, testFromMs };
  }
  const part = (last - first) * SHORT_TEST;
  return { validationFromMs: last - 2 * part, testFromMs: last - part };
}

/** Index of the first time ≥ `fromMs` in times that never go back. */
export function firstFrom(at: Float64Array, fromMs: number): number {
  let low = 0;
  let high = at.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at[middle] < fromMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
