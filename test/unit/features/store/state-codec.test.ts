import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Edge, HistoryEntry } from '../../../../src/contracts.ts';
import { decodeHistory, encodeHistory } from '../../../../src/features/store/history-codec.ts';
import {
  decodeEdges,
  decodeEmbedding,
  decodeSeen,
  decodeUser,
  encodeEdges,
  encodeEmbedding,
  encodeSeen,
  encodeUser,
} from '../../../../src/features/store/state-codec.ts';
import { packRecord, unpackHead, unpackRecord } from '../../../../src/features/store/state-record.ts';
import { DIM, EVENT_TYPES, HISTORY_LIMIT } from '../../../../src/vocabulary.ts';

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.uuid(),
  fc
    .tuple(fc.constantFrom('', 'p', 'post-'), fc.bigInt({ min: 0n, max: 2n ** 70n }))
    .map((parts) => parts.join('')),
  fc.constantFrom('p0', 'p00', 'p01', '0', 'p-1', 'p1\n2'),
);
const time = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer({ min: 0, max: 4_000_000_000_000 }),
);
const entry: fc.Arbitrary<HistoryEntry> = fc.record({
  postId: text,
  authorId: text,
  topic: text,
  type: fc.constantFrom(...EVENT_TYPES),
  at: time,
  dwellMs: time,
});
const edge: fc.Arbitrary<Edge> = fc.record({
  userId: fc.constant('u'),
  kind: fc.constantFrom('follow' as const, 'block' as const, 'mute_word' as const),
  target: text,
  createdAt: fc.integer(),
});
const vector = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), {
  minLength: DIM,
  maxLength: DIM,
});

const decoders: [string, (bytes: Uint8Array | null) => unknown][] = [
  ['embedding', decodeEmbedding],
  ['seen', decodeSeen],
  ['history', decodeHistory],
  ['user', decodeUser],
  ['edges', (bytes) => decodeEdges(bytes, 'u')],
  ['record', unpackRecord],
];

describe('state codec', () => {
  it('gives back what it encoded', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: HISTORY_LIMIT }), (history) => {
        expect(decodeHistory(encodeHistory(history))).toEqual(history);
      }),
    );
    fc.assert(
      fc.property(vector, (values) => {
        const original = Float32Array.from(values);
        const decoded = decodeEmbedding(encodeEmbedding(original))!;
        const largest = Math.max(...original.map(Math.abs));
        // Half a step of 16 bits, and the rounding of float32.
        const allowed = largest * (1 / 65_534 + 2 ** -23);
        decoded.forEach((value, i) => {
          expect(Math.abs(value - original[i])).toBeLessThanOrEqual(allowed);
        });
        // What was read and is written again does not drift.
        expect(decodeEmbedding(encodeEmbedding(decoded))).toEqual(decoded);
      }),
    );
    fc.assert(
      fc.property(fc.uint32Array({ maxLength: 300 }), (words) => {
        const entries = words.slice(0, words.length - (words.length % 3));
        // Oldest first.
        const seconds = entries.filter((_, i) => i % 3 === 2).sort();
        seconds.forEach((second, i) => {
          entries[i * 3 + 2] = i % 2 === 0 ? second : entries[i * 3 - 1];
        });
        expect(decodeSeen(encodeSeen(entries))).toEqual(entries);
      }),
    );
    fc.assert(
      fc.property(fc.array(edge, { maxLength: 30 }), (edges) => {
        const decoded = decodeEdges(encodeEdges(edges), 'u');
        expect(decoded).toHaveLength(edges.length);
        expect(decoded).toEqual(expect.arrayContaining(edges));
      }),
    );
    const user = { id: 'u', createdAt: 5, topics: ['é😀'], showSensitive: true };
    expect(decodeUser(encodeUser(user))).toEqual(user);
  });

  it('gives back named fields from a record', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ maxLength: 20 }), fc.uint8Array({ maxLength: 60 })), (fields) => {
        const record = { version: 2 ** 41, expiresAtMs: 2 ** 42, fields: new Map(Object.entries(fields)) };
        const decoded = unpackRecord(packRecord(record));
        expect(decoded).toMatchObject({ version: 2 ** 41, expiresAtMs: 2 ** 42 });
        expect(unpackHead(packRecord(record))).toEqual({ version: 2 ** 41, expiresAtMs: 2 ** 42 });
        expect([...(decoded?.fields ?? [])].map(([name, value]) => [name, [...value]])).toEqual(
          Object.entries(fields).map(([name, value]) => [name, [...value]]),
        );
      }),
    );
  });

  it.each(decoders)('takes any bytes as %s without an exception', (_, decode) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, ours) => {
        if (ours && bytes.length > 0) bytes[0] = 2;
        decode(bytes);
      }),
      { numRuns: 2_000 },
    );
    expect(decode(null)).toBeNull();
    expect(decode(new Uint8Array(0))).toBeNull();
  });

  it('reads a value of another format version as absent', () => {
    const values: [Uint8Array, (bytes: Uint8Array) => unknown][] = [
      [encodeEmbedding(new Float32Array(DIM)), decodeEmbedding],
      [encodeSeen(Uint32Array.of(1, 2, 3)), decodeSeen],
      [encodeHistory([]), decodeHistory],
      [encodeUser({ id: 'u', createdAt: 1 }), decodeUser],
      [encodeEdges([]), (bytes) => decodeEdges(bytes, 'u')],
      [packRecord({ version: 1, expiresAtMs: 1, fields: new Map() }), unpackRecord],
    ];
    for (const [bytes, decode] of values) {
      expect(decode(bytes)).not.toBeNull();
      bytes[0] = 1;
      expect(decode(bytes)).toBeNull();
    }
  });

  it('reads every torn history, and one with bytes to spare, as absent', () => {
    const history: HistoryEntry[] = [
      { postId: 'post', authorId: 'author', topic: 'topic', type: 'like', at: 1, dwellMs: 2 },
    ];
    const bytes = encodeHistory(history);
    for (let length = 0; length < bytes.length; length++) {
      expect(decodeHistory(bytes.subarray(0, length))).toBeNull();
    }
    expect(decodeHistory(Buffer.concat([bytes, Buffer.of(0)]))).toBeNull();
  });

  it('reads a vector that holds NaN as absent', () => {
    const bytes = encodeEmbedding(new Float32Array(DIM));
    bytes.writeFloatLE(Number.NaN, 1);
    expect(decodeEmbedding(bytes)).toBeNull();
  });
});
