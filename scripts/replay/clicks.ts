// Clicks of the Globo news data in time order, as columns: what a replay sends. Called by scripts/replay.ts.
import { join } from 'node:path';
import { FeedrankError } from '../../src/errors.ts';
import { parquetGroups, toNumber, toTime } from '../import/parquet-rows.ts';

/** Parallel arrays, by rising time. */
export interface Clicks {
  users: Uint32Array;
  articles: Uint32Array;
  /** Unix ms. */
  at: Float64Array;
  /** Rows left out: a missing user, article or time. */
  left: number;
}

const FILE = 'clicks.parquet';
const COLUMNS = ['user_id', 'click_article_id', 'click_timestamp'] as const;

/** @throws FeedrankError(invalid_input) when the folder has no readable clicks.parquet, or none with a click. */
export async function loadGloboClicks(dir: string, limit = Number.POSITIVE_INFINITY): Promise<Clicks> {
  const rows: { user: number; article: number; at: number }[] = [];
  let left = 0;
  for await (const { columns, rows: size } of parquetGroups(join(dir, FILE), COLUMNS, limit)) {
    for (let i = 0; i < size; i++) {
      const user = toNumber(columns.user_id[i]);
      const article = toNumber(columns.click_article_id[i]);
      const at = toTime(columns.click_timestamp[i]);
      if (user >= 0 && article >= 0 && Number.isFinite(at)) rows.push({ user, article, at });
      else left++;
    }
  }
  if (rows.length === 0) throw new FeedrankError('invalid_input', `${FILE}: holds no click`);
  rows.sort((a, b) => a.at - b.at);
  return {
    users: Uint32Array.from(rows, ({ user }) => user),
    articles: Uint32Array.from(rows, ({ article }) => article),
    at: Float64Array.from(rows, ({ at }) => at),
    left,
  };
}
