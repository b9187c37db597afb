// An EB-NeRD folder as lists of articles in view with what was known at each list: counters, what is read together,
// and how each article stands within its list. Called by ebnerd.ts.
import { type List, type Reads, readLists, readReads } from './ebnerd-files.ts';
import { sequenceColumns } from './ebnerd-sequence.ts';
import {
  type AsOfColumns,
  asOfColumns,
  Codes,
  type EventTable,
  type ImpressionSet,
  type Key,
  pairColumn,
} from './replay-as-of.ts';
import { withinLists } from './replay-within-lists.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const FOREVER = Number.POSITIVE_INFINITY;

export interface EbnerdData {
  set: ImpressionSet;
  lists: List[];
  reads: Reads;
  /** Articles by number, as in lists and reads. */
  articles: number[];
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
    lists,
    reads,
    articles: numbers,
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
