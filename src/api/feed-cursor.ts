// The cursor of a feed page. Normally it names a stored snapshot and an offset; while the session store is down it
// carries the hashes of what was delivered. Bound to user and query by its signature.
import { FeedrankError } from '../errors.ts';
import { Signer } from './signer.ts';

/** Delivered posts that a carrying cursor holds, newest; older ones are in the user's seen posts. 4 kB of text. */
export const CARRIED_POSTS = 384;
const VERSION = 1;
const HEADER_BYTES = 12;
const SNAPSHOT_ID_BYTES = 16;

export type FeedCursor = {
  expiresAtMs: number;
  /** Position in the feed of the next post. */
  position: number;
} & (
  | { kind: 'snapshot'; snapshotId: string; offset: number }
  /** hash64 pairs, oldest first. */
  | { kind: 'carried'; delivered: Uint32Array }
);

/** What must be the same on every page of one feed. */
export interface CursorScope {
  userId: string;
  /** Canonical text of the query parameters that shape the feed. */
  query: string;
}

export class FeedCursors {
  readonly #signer: Signer;

  constructor(secret: string) {
    this.#signer = new Signer(secret, 'feed-cursor');
  }

  seal(cursor: FeedCursor, scope: CursorScope): string {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt8(VERSION, 0);
    header.writeUInt8(cursor.kind === 'snapshot' ? 0 : 1, 1);
    header.writeUIntBE(cursor.expiresAtMs, 2, 6);
    header.writeUInt32BE(cursor.position, 8);
    return this.#signer.seal(Buffer.concat([header, bodyOf(cursor)]), [scope.userId, scope.query]);
  }

  /** @throws FeedrankError `invalid_cursor`, or `expired_cursor` when it was good once. */
  open(text: string, scope: CursorScope, nowMs: number): FeedCursor {
    const payload = this.#signer.open(text, [scope.userId, scope.query]);
    if (payload === null || payload.length < HEADER_BYTES || payload.readUInt8(0) !== VERSION) {
      throw invalidCursor();
    }
    const expiresAtMs = payload.readUIntBE(2, 6);
    if (expiresAtMs <= nowMs) throw expiredCursor();
    const common = { expiresAtMs, position: payload.readUInt32BE(8) };
    const body = payload.subarray(HEADER_BYTES);
    if (payload.readUInt8(1) === 0) {
      if (body.length !== SNAPSHOT_ID_BYTES + 4) throw invalidCursor();
      const snapshotId = body.subarray(0, SNAPSHOT_ID_BYTES).toString('base64url');
      return { kind: 'snapshot', ...common, snapshotId, offset: body.readUInt32BE(SNAPSHOT_ID_BYTES) };
    }
    const delivered = new Uint32Array(Math.floor(body.length / 8) * 2);
    for (let i = 0; i < delivered.length; i++) delivered[i] = body.readUInt32BE(4 * i);
    return { kind: 'carried', ...common, delivered };
  }
}

function bodyOf(cursor: FeedCursor): Buffer {
  if (cursor.kind === 'snapshot') {
    const body = Buffer.alloc(SNAPSHOT_ID_BYTES + 4);
    body.write(cursor.snapshotId, 0, SNAPSHOT_ID_BYTES, 'base64url');
    body.writeUInt32BE(cursor.offset, SNAPSHOT_ID_BYTES);
    return body;
  }
  const kept = cursor.delivered.subarray(Math.max(0, cursor.delivered.length - 2 * CARRIED_POSTS));
  const body = Buffer.alloc(kept.length * 4);
  kept.forEach((half, i) => {
    body.writeUInt32BE(half, 4 * i);
  });
  return body;
}

function invalidCursor(): FeedrankError {
  const reason = 'was changed, or belongs to another user or to other parameters (exclude, explain)';
  return new FeedrankError('invalid_cursor', `cursor: ${reason}`, { fields: [{ field: 'cursor', reason }] });
}

export function expiredCursor(): FeedrankError {
  const reason = 'has expired; ask for the feed without a cursor';
  return new FeedrankError('expired_cursor', `cursor: ${reason}`, { fields: [{ field: 'cursor', reason }] });
}
