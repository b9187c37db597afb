// Positions in PostgreSQL's write-ahead log (LSN, `16/B374D848`) and the ids of the change stream made from them:
// `<commit LSN>-<index in the transaction>`, so that the stream's order is commit order and a redelivery has the same id.

export type Lsn = bigint;

export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(text);
  if (!match) throw new Error(`not a log position: '${text}'`);
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

/** Indexes below it number the changes of a transaction; a mark and then a new start lie after all of them. */
export const MARK_INDEX = 2 ** 40;
export const START_INDEX = 2 ** 41;

export function streamId(lsn: Lsn, index: number): string {
  return `${lsn}-${index}`;
}

export function parseStreamId(id: string): { lsn: Lsn; index: number } | null {
  const match = /^(\d{1,20})-(\d{1,16})$/.exec(id);
  return match && { lsn: BigInt(match[1]), index: Number(match[2]) };
}

/** Negative, 0 or positive, as for sort; `''` is before every id. */
export function compareStreamIds(a: string, b: string): number {
  if (a === b) return 0;
  const left = parseStreamId(a);
  const right = parseStreamId(b);
  if (!left || !right) return left ? 1 : right ? -1 : 0;
  if (left.lsn !== right.lsn) return left.lsn < right.lsn ? -1 : 1;
  return left.index - right.index;
}
