import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CARRIED_POSTS, type FeedCursor, FeedCursors } from '../../../src/api/feed-cursor.ts';
import { newRequestId } from '../../../src/api/request-id.ts';
import { Signer } from '../../../src/api/signer.ts';
import { TrackingTokens } from '../../../src/api/tracking-token.ts';
import { NOW, SECRET } from './world.ts';

const scope = { userId: 'u', query: 'q' };
const halves = fc
  .uint32Array({ minLength: 0, maxLength: 40 })
  .map((list) => list.subarray(0, list.length & ~1));

describe('a cursor', () => {
  const cursors = new FeedCursors(SECRET);

  it('comes back as it was', () => {
    const common = {
      expiresAtMs: fc.integer({ min: NOW + 1, max: 2 ** 47 }),
      position: fc.integer({ min: 0, max: 2 ** 31 }),
    };
    const cursor: fc.Arbitrary<FeedCursor> = fc.oneof(
      fc.record({
        kind: fc.constant('snapshot' as const),
        ...common,
        snapshotId: fc
          .uint8Array({ minLength: 16, maxLength: 16 })
          .map((id) => Buffer.from(id).toString('base64url')),
        offset: fc.nat(5000),
      }),
      fc.record({ kind: fc.constant('carried' as const), ...common, delivered: halves }),
    );
    fc.assert(
      fc.property(cursor, (given) => {
        expect(cursors.open(cursors.seal(given, scope), scope, NOW)).toEqual(given);
      }),
    );
  });

  it('carries the newest posts only, and fits a URL', () => {
    const delivered = Uint32Array.from({ length: 2000 }, (_, i) => i);
    const text = cursors.seal({ kind: 'carried', expiresAtMs: NOW + 1, position: 1000, delivered }, scope);
    expect(text.length).toBeLessThan(8192);
    const opened = cursors.open(text, scope, NOW);
    expect(opened).toMatchObject({ kind: 'carried', delivered: delivered.subarray(-2 * CARRIED_POSTS) });
  });

  it('of another secret, user or query is refused', () => {
    const text = cursors.seal(
      { kind: 'carried', expiresAtMs: NOW + 1, position: 0, delivered: new Uint32Array(2) },
      scope,
    );
    for (const open of [
      () => new FeedCursors(`${SECRET}!`).open(text, scope, NOW),
      () => cursors.open(text, { ...scope, userId: 'v' }, NOW),
      () => cursors.open(text, { ...scope, query: '' }, NOW),
      () => cursors.open(text, { userId: 'uq', query: '' }, NOW),
    ]) {
      expect(open).toThrowError(expect.objectContaining({ code: 'invalid_cursor' }));
    }
  });

  it('made of any text is refused and never anything else', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.string({ unit: 'binary' })), (text) => {
        expect(() => cursors.open(text, scope, NOW)).toThrowError(
          expect.objectContaining({ code: 'invalid_cursor' }),
        );
      }),
    );
  });
});

describe('a tracking token', () => {
  const tokens = new TrackingTokens(SECRET);

  it('gives request and position back for its user and post only', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.nat(1_000_000), (userId, postId, position) => {
        const requestId = newRequestId();
        const token = tokens.issue({ requestId, position }, userId, postId);
        expect(token.length).toBe(48);
        expect(tokens.read(token, userId, postId)).toEqual({ requestId, position });
        expect(tokens.read(token, `${userId}x`, postId)).toBeNull();
        expect(tokens.read(token, userId, `${postId}x`)).toBeNull();
      }),
    );
  });

  it('is no cursor and a cursor is none', () => {
    const payload = new Uint8Array(20);
    expect(new Signer(SECRET, 'a').open(new Signer(SECRET, 'b').seal(payload, []), [])).toBeNull();
  });

  it('does not verify with any bit of it changed', () => {
    const token = tokens.issue({ requestId: newRequestId(), position: 3 }, 'u', 'p');
    const bytes = Buffer.from(token, 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] ^= 1 << (bit & 7);
      expect(tokens.read(changed.toString('base64url'), 'u', 'p')).toBeNull();
    }
  });
});
