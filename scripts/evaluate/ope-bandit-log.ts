// Reads a logged-bandit folder in Open Bandit's layout: `<policy>/<campaign>/<campaign>.csv` with item_id, position,
// click and the probability of the item, and `item_context.csv` with one row an item.
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FeedrankError } from '../../src/errors.ts';
import { csvRows } from '../import/csv-rows.ts';

export interface BanditLog {
  /** [N] dense number of the item, as in `item_context.csv`. */
  items: Int32Array;
  /** [N] 0-based. */
  positions: Int32Array;
  clicks: Float64Array;
  /** [N] in (0, 1]: probability with which the policy put this item at this position. */
  propensities: Float64Array;
  itemCount: number;
  positionCount: number;
}

/** The published files say `propensity_score`, their description `action_prob`. */
const PROPENSITY_COLUMNS = ['propensity_score', 'action_prob'] as const;
const MAX_POSITIONS = 100;

/** Campaigns by policy, both sorted. Throws FeedrankError(invalid_input) when there is none. */
export async function findCampaigns(dir: string): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const policy of await folders(dir)) {
    const campaigns = (await folders(join(dir, policy))).filter((campaign) =>
      existsSync(join(dir, policy, campaign, `${campaign}.csv`)),
    );
    if (campaigns.length > 0) found.set(policy, campaigns);
  }
  if (found.size === 0) {
    throw new FeedrankError('invalid_input', `${dir}: holds no <policy>/<campaign>/<campaign>.csv`);
  }
  return found;
}

async function folders(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
}

/** @throws FeedrankError(invalid_input) naming file, row and field of the first thing that cannot be. */
export async function readBanditLog(
  dir: string,
  policy: string,
  campaign: string,
  onProgress: (fraction: number, rows: number) => void = () => {},
): Promise<BanditLog> {
  const folder = join(dir, policy, campaign);
  const file = join(folder, `${campaign}.csv`);
  const bad = (row: number, field: string, reason: string): never => {
    throw new FeedrankError('invalid_input', `${file}: row ${row}: ${field} ${reason}`);
  };
  const items: number[] = [];
  const positions: number[] = [];
  const clicks: number[] = [];
  const propensities: number[] = [];
  const known = await readItems(join(folder, 'item_context.csv'));
  let column: string | undefined;
  for await (const { row, values, fraction } of csvRows(
    file,
    ['item_id', 'position', 'click'],
    Number.POSITIVE_INFINITY,
    bad,
  )) {
    column ??= PROPENSITY_COLUMNS.find((name) => values[name] !== undefined);
    if (column === undefined) bad(row, PROPENSITY_COLUMNS.join(' or '), 'is missing');
    const item =
      known.get(values.item_id) ?? bad(row, 'item_id', `${values.item_id} is not in item_context.csv`);
    const position = Number(values.position);
    if (!Number.isInteger(position) || position < 1 || position > MAX_POSITIONS) {
      bad(row, 'position', `must be an integer from 1 to ${MAX_POSITIONS}, is ${values.position}`);
    }
    if (values.click !== '0' && values.click !== '1') bad(row, 'click', `must be 0 or 1, is ${values.click}`);
    const propensity = values[column!] === '' ? Number.NaN : Number(values[column!]);
    if (!(propensity > 0 && propensity <= 1))
      bad(row, column!, `must be above 0 and at most 1, is ${values[column!]}`);
    items.push(item);
    positions.push(position - 1);
    clicks.push(Number(values.click));
    propensities.push(propensity);
    if (items.length % 50_000 === 0) onProgress(fraction, items.length);
  }
  if (items.length === 0) throw new FeedrankError('invalid_input', `${file}: holds no rows`);
  onProgress(1, items.length);
  return {
    items: Int32Array.from(items),
    positions: Int32Array.from(positions),
    clicks: Float64Array.from(clicks),
    propensities: Float64Array.from(propensities),
    itemCount: known.size,
    positionCount: positions.reduce((most, position) => Math.max(most, position + 1), 0),
  };
}

async function readItems(file: string): Promise<Map<string, number>> {
  if (!existsSync(file)) throw new FeedrankError('invalid_input', `${file}: no such file`);
  const items = new Map<string, number>();
  const refuse = (row: number, field: string, reason: string): never => {
    throw new FeedrankError('invalid_input', `${file}: row ${row}: ${field} ${reason}`);
  };
  for await (const { values } of csvRows(file, ['item_id'], Number.POSITIVE_INFINITY, refuse)) {
    if (!items.has(values.item_id)) items.set(values.item_id, items.size);
  }
  if (items.size === 0) throw new FeedrankError('invalid_input', `${file}: holds no items`);
  return items;
}
