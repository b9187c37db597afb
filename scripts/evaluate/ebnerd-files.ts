// The files of an EB-NeRD folder: lists of articles in view, and reads. Called by ebnerd-impressions.ts.
import { join } from 'node:path';
import { FeedrankError } from '../../src/errors.ts';
import { parquetGroups, toList, toNumber, toTime } from '../import/parquet-rows.ts';
import type { Codes } from './replay-as-of.ts';

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
/** A read of this long counts as a long one. */
const LONG_READ_S = 30;
const FOREVER = Number.POSITIVE_INFINITY;

export interface List {
  user: number;
  at: number;
  inView: number[];
  clicked: Set<number>;
  page: number;
  readSeconds: number;
  device: number;
  subscriber: number;
}

export interface Reads {
  user: Int32Array;
  item: Int32Array;
  at: Float64Array;
  /** When it was known how long the read was. */
  knownAt: Float64Array;
  seconds: Float64Array;
  long: Float32Array;
}

export async function readLists(dir: string, users: Codes, itemCode: (id: number) => number) {
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
export async function readReads(
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
    seconds: Float64Array.from(reads, (r) => Math.max(0, r.seconds)),
    knownAt: Float64Array.from(reads, (r) => r.at + 1000 * Math.max(0, r.seconds)),
    long: Float32Array.from(reads, (r) => (r.seconds >= LONG_READ_S ? 1 : 0)),
  };
}
