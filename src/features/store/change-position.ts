// Positions of the SQL change feed: `<txid>-<seq>`, 16 hexadecimal digits each, so that string order is commit order.
import type { Position } from '../../contracts.ts';
import { invalid } from '../../errors.ts';

export function encodePosition(txid: bigint, seq: bigint): Position {
  return `${txid.toString(16).padStart(16, '0')}-${seq.toString(16).padStart(16, '0')}`;
}

/** `''` is the beginning. Throws FeedrankError(invalid_input) for anything that encodePosition did not make. */
export function decodePosition(position: Position): { txid: bigint; seq: bigint } {
  if (position === '') return { txid: 0n, seq: 0n };
  const match = /^([0-9a-f]{16})-([0-7][0-9a-f]{15})$/.exec(position);
  if (!match) throw invalid('position', 'must be a position that this feed gave');
  return { txid: BigInt(`0x${match[1]}`), seq: BigInt(`0x${match[2]}`) };
}
