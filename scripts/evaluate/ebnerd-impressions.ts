// An EB-NeRD folder as lists of articles in view with what was known at each list: counters, what is read together,
// and how each article stands within its list. Called by ebnerd.ts.
import { join } from 'node:path';
import { FeedrankError } from '../../src/errors.ts';
import { parquetGroups, toList, toNumber, toTime } from '../import/parquet-rows.ts';
import {
  type AsOfColumns,
  asOfColumns,
  Codes,
  type EventTable,
  type ImpressionSet,
  type Key,
  pairColumn,
} from './replay-as-of.ts';
import { ItemEdges } from './replay-item-edges.ts';
import { ItemVectors } from './replay-item-vectors.ts';

const BEHAVIOR_COLUMNS = [
  'impression_id',
  'user_id',
  'impression_time',
  'article_ids_inview',
  'article_ids_clicked',
  'article_id',
  'next_read_time',
  'device_type',
  'is_subscriber',
] as const;
const HISTORY_COLUMNS = ['user_id', 'impression_time_fixed', 'article_id_fixed', 'read_time_fixed'] as const;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const FOREVER = Number.POSITIVE_INFINITY;
/** A read of this long counts as a long one. */
const LONG_READ_S = 30;
const EDGE_SLOTS = 64;
const RECENT_READS = 8;
const VECTOR_DIM = 24;

interface List {
  user: number;
  at: number;
  inView: number[];
  clicked: Set<number>;
  page: number;
  readSeconds: number;
  device: number;
  subscriber: number;
}

interface Reads {
  user: Int32Array;
  item: Int32Array;
  at: Float64Array;
  /** When it was known how long the read was. */
  knownAt: Float64Array;
  long: Float32Array;
}

export interface EbnerdData {
  set: ImpressionSet;
  lists: number;
  rejected: number;
  /** Column of the strongest single counter, for the floor: clicks decayed over 2 h. */
  counter: Float32Array;
  age: Float32Array;
}

export async function readEbnerd(
  dir: string,
  seed: number,
  onProgress: (fraction: number) => void,
): Promise<EbnerdData> {
  const users = new Codes();
  const items = new Codes();
  const numbers: number[] = [];
  const itemCode = (id: number) => {
    const code = items.of(id);
    if (code === numbers.length) numbers.push(id);
    return code;
  };
  const { lists, rejected } = await readLists(dir, users, itemCode);
  const reads = await readReads(dir, users, itemCode, lists);
  const rows = lists.reduce((sum, list) => sum + list.inView.length, 0);

  const at = new Float64Array(rows);
  const group = new Int32Array(rows);
  const user = new Int32Array(rows);
  const item = new Int32Array(rows);
  const page = new Int32Array(rows);
  const device = new Int32Array(rows);
  const subscriber = new Int32Array(rows);
  const size = new Float32Array(rows);
  const clicked = new Uint8Array(rows);
  const pages = new Codes();
  const devices = new Codes();
  const subscribers = new Codes();
  let row = 0;
  lists.forEach((list, g) => {
    for (const code of list.inView) {
      at[row] = list.at;
      group[row] = g;
      user[row] = list.user;
      item[row] = code;
      page[row] = pages.of(list.page);
      device[row] = devices.of(list.device);
      subscriber[row] = subscribers.of(list.subscriber);
      size[row] = Math.log(list.inView.length);
      clicked[row++] = list.clicked.has(code) ? 1 : 0;
    }
  });

  const shown: EventTable = { rows, at, outcomes: [{ name: 'click', values: Float32Array.from(clicked) }] };
  const userItems = new Codes();
  const pageItems = new Codes();
  const deviceItems = new Codes();
  const key = (name: string, codes: Int32Array, count: number, ...halfLivesMs: number[]): Key => ({
    name,
    codes,
    size: count,
    halfLivesMs,
  });
  const userItem = pairColumn(userItems, user, item);
  const pageItem = pairColumn(pageItems, page, item);
  const deviceItem = pairColumn(deviceItems, device, item);
  const shownKeys = [
    key('item', item, items.size, FOREVER, 30 * MINUTE_MS, 2 * HOUR_MS, 12 * HOUR_MS),
    key('user', user, users.size, FOREVER),
    key('user_item', userItem, userItems.size, FOREVER),
    key('page_item', pageItem, pageItems.size, FOREVER),
    key('device_item', deviceItem, deviceItems.size, 4 * HOUR_MS),
  ];
  const asOf = asOfColumns(shown, shownKeys, { rows, at, codes: (k) => k.codes }, '', (f) =>
    onProgress(0.4 * f),
  );

  const readPairs = new Codes();
  const readUserItem = pairColumn(readPairs, reads.user, reads.item);
  const readKeys = new Map<Key, Int32Array>([
    [key('item', reads.item, items.size, 15 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS, 24 * HOUR_MS, FOREVER), item],
    [key('user', reads.user, users.size, FOREVER), user],
  ]);
  const both = pairColumn(readPairs, user, item);
  readKeys.set(key('user_item', readUserItem, readPairs.size, FOREVER), both);
  const readEvents: EventTable = {
    rows: reads.at.length,
    at: reads.at,
    knownAt: reads.knownAt,
    outcomes: [{ name: 'long', values: reads.long }],
  };
  const read = asOfColumns(
    readEvents,
    [...readKeys.keys()],
    { rows, at, codes: (k) => readKeys.get(k)! },
    'read_',
    (f) => onProgress(0.4 + 0.4 * f),
  );
  const together = sequenceColumns(lists, reads, rows, items.size, users.size, numbers, seed, (f) =>
    onProgress(0.8 + 0.2 * f),
  );

  const ofItem = (name: string) => /^(read_)?(item|user_item|page_item|device_item)/.test(name);
  const own: AsOfColumns = {
    names: [...asOf.names, ...read.names, ...together.names],
    columns: [...asOf.columns, ...read.columns, ...together.columns],
  };
  const listed = own.names.flatMap((name, c) => (ofItem(name) || together.names.includes(name) ? [c] : []));
  const within = withinLists(
    listed.map((c) => own.names[c]),
    listed.map((c) => own.columns[c]),
    group,
  );
  const hours = new Codes();
  return {
    set: {
      rows,
      at,
      group,
      user,
      numbers: {
        names: [...own.names, ...within.names, 'list_size'],
        columns: [...own.columns, ...within.columns, size],
      },
      ids: [
        { name: 'user', codes: user, size: users.size },
        { name: 'item', codes: item, size: items.size },
        { name: 'device', codes: device, size: devices.size },
        { name: 'subscriber', codes: subscriber, size: subscribers.size },
        {
          name: 'hour',
          codes: Int32Array.from(at, (ms) => hours.of(Math.floor((ms % DAY_MS) / HOUR_MS))),
          size: 24,
        },
      ],
      labels: [{ name: 'click', values: clicked }],
      ...splitLists(at),
    },
    lists: lists.length,
    rejected,
    counter: clickCounter(shown, item, items.size),
    age: together.columns[together.names.indexOf('age')],
  };
}

/** Clicks of each row's article decayed over 2 h, as of the row: the protocol's counter. */
function clickCounter(shown: EventTable, item: Int32Array, items: number): Float32Array {
  const clicked = shown.outcomes[0].values;
  const picked = Array.from({ length: shown.rows }, (_, i) => i).filter((i) => clicked[i] === 1);
  const clicks: EventTable = {
    rows: picked.length,
    at: Float64Array.from(picked, (i) => shown.at[i]),
    outcomes: [],
  };
  const codes = Int32Array.from(picked, (i) => item[i]);
  const only: Key = { name: 'item', codes, size: items, halfLivesMs: [2 * HOUR_MS] };
  return asOfColumns(clicks, [only], { rows: shown.rows, at: shown.at, codes: () => item }, '').columns[0];
}

/** The last 48 hours are the test, the 24 before choose; of less than five days, the last two fifths and the fifth before. */
export function splitLists(at: Float64Array): { validationFromMs: number; testFromMs: number } {
  const first = at[0];
  const last = at[at.length - 1];
  if (last - first >= 5 * DAY_MS) {
    return { validationFromMs: last - 3 * DAY_MS, testFromMs: last - 2 * DAY_MS };
  }
  return { validationFromMs: last - 0.45 * (last - first), testFromMs: last - 0.3 * (last - first) };
}

/** Each column less its largest value in the list, and the share of the list that lies below. Rows of a list are side by side. */
export function withinLists(names: string[], columns: Float32Array[], group: Int32Array): AsOfColumns {
  const out: AsOfColumns = { names: [], columns: [] };
  columns.forEach((column, c) => {
    const below = new Float32Array(column.length);
    const place = new Float32Array(column.length);
    for (let start = 0; start < column.length; ) {
      let end = start + 1;
      while (end < column.length && group[end] === group[start]) end++;
      let largest = column[start];
      for (let i = start; i < end; i++) largest = Math.max(largest, column[i]);
      for (let i = start; i < end; i++) {
        below[i] = column[i] - largest;
        let lower = 0;
        for (let j = start; j < end; j++)
          lower += column[j] < column[i] ? 1 : column[j] === column[i] ? 0.5 : 0;
        place[i] = lower / (end - start);
      }
      start = end;
    }
    out.names.push(`${names[c]}_below`, `${names[c]}_place`);
    out.columns.push(below, place);
  });
  return out;
}

/** What the reader's last reads and the page they are on lead to, and how new an article is; by reads strictly before. */
function sequenceColumns(
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

async function readLists(dir: string, users: Codes, itemCode: (id: number) => number) {
  const lists: List[] = [];
  let rejected = 0;
  for await (const { rows, columns } of parquetGroups(
    join(dir, 'behaviors.parquet'),
    BEHAVIOR_COLUMNS,
    FOREVER,
  )) {
    for (let i = 0; i < rows; i++) {
      const at = toTime(columns.impression_time[i]);
      const user = toNumber(columns.user_id[i]);
      const inView = [...new Set(toList(columns.article_ids_inview[i]).map(toNumber))].filter(
        Number.isFinite,
      );
      const clicked = toList(columns.article_ids_clicked[i]).map(toNumber).filter(Number.isFinite);
      if (!Number.isFinite(at) || !Number.isFinite(user) || inView.length === 0) {
        rejected++;
        continue;
      }
      const page = toNumber(columns.article_id[i]);
      lists.push({
        user: users.of(user),
        at,
        inView: inView.map(itemCode),
        clicked: new Set(clicked.map(itemCode)),
        page: Number.isFinite(page) ? itemCode(page) : -1,
        readSeconds: toNumber(columns.next_read_time[i]) || 0,
        device: toNumber(columns.device_type[i]),
        subscriber: columns.is_subscriber[i] === true ? 1 : 0,
      });
    }
  }
  if (lists.length === 0) throw new FeedrankError('invalid_input', 'behaviors.parquet: holds no impression');
  lists.sort((a, b) => a.at - b.at);
  return { lists, rejected };
}

/** The histories and the clicks of the lists, earliest first. */
async function readReads(
  dir: string,
  users: Codes,
  itemCode: (id: number) => number,
  lists: List[],
): Promise<Reads> {
  const reads: { user: number; item: number; at: number; seconds: number }[] = [];
  for await (const { rows, columns } of parquetGroups(
    join(dir, 'history.parquet'),
    HISTORY_COLUMNS,
    FOREVER,
  )) {
    for (let i = 0; i < rows; i++) {
      const user = toNumber(columns.user_id[i]);
      const times = toList(columns.impression_time_fixed[i]);
      const seconds = toList(columns.read_time_fixed[i]);
      toList(columns.article_id_fixed[i]).forEach((article, k) => {
        const at = toTime(times[k]);
        if (!Number.isFinite(at) || !Number.isFinite(user)) return;
        const item = itemCode(toNumber(article));
        reads.push({ user: users.of(user), item, at, seconds: toNumber(seconds[k]) || 0 });
      });
    }
  }
  for (const list of lists) {
    for (const item of list.clicked) {
      reads.push({ user: list.user, item, at: list.at, seconds: list.readSeconds });
    }
  }
  reads.sort((a, b) => a.at - b.at);
  return {
    user: Int32Array.from(reads, (r) => r.user),
    item: Int32Array.from(reads, (r) => r.item),
    at: Float64Array.from(reads, (r) => r.at),
    knownAt: Float64Array.from(reads, (r) => r.at + 1000 * Math.max(0, r.seconds)),
    long: Float32Array.from(reads, (r) => (r.seconds >= LONG_READ_S ? 1 : 0)),
  };
}
