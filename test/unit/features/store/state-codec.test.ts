import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Edge, HistoryEntry } from '../../../../src/contracts.ts';
import { decodeHistory, encodeHistory, keptDwellMs } from '../../../../src/features/store/history-codec.ts';
import {
  decodeEdges,
  decodeEmbedding,
  decodeSeen,
  decodeUser,
  EMBEDDING_BYTES,
  encodeEdges,
  encodeEmbedding,
  encodeSeen,
  encodeUser,
} from '../../../../src/features/store/state-codec.ts';
import {
  packRecord,
  unpackHead,
  unpackRecord,
  VERSIONS_A_MS,
} from '../../../../src/features/store/state-record.ts';
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
  topic: fc.oneof(fc.constantFrom(0, 7, 2 ** 32 - 1), fc.nat({ max: 2 ** 32 - 1 })),
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

const WRITTEN_MS = 1_750_000_000_000;
const VERSION = WRITTEN_MS * VERSIONS_A_MS + 7;
const EXPIRY = WRITTEN_MS + 30 * 2 ** 26;
const partName = fc.oneof(
  fc.constantFrom('h', 's', 'u', 'g'),
  fc.nat({ max: 2 ** 32 - 1 }).map((hash) => `e${hash}`),
);
/** A vector's part has one length. */
const vectorOf = (bytes: Uint8Array) =>
  Buffer.concat([bytes, Buffer.alloc(EMBEDDING_BYTES)], EMBEDDING_BYTES);

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
        const kept = history.map((one) => ({ ...one, dwellMs: keptDwellMs(one.dwellMs) }));
        expect(decodeHistory(encodeHistory(history))).toEqual(kept);
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

  it('keeps the time to live of a record, longer by .1 % at most', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 31 }), fc.integer({ min: 0, max: 1000 }), (ttlMs, factor) => {
        const wanted = ttlMs * (factor % 100);
        const bytes = packRecord({ version: VERSION, expiresAtMs: WRITTEN_MS + wanted, fields: new Map() });
        const kept = unpackHead(bytes)!.expiresAtMs - WRITTEN_MS;
        expect(kept).toBeGreaterThanOrEqual(wanted);
        expect(kept).toBeLessThanOrEqual(wanted * 1.001 + 1);
      }),
    );
  });

  it('gives back named fields from a record', () => {
    fc.assert(
      fc.property(fc.dictionary(partName, fc.uint8Array({ maxLength: 60 })), (parts) => {
        const fields = Object.fromEntries(
          Object.entries(parts).map(([name, value]) => [name, name[0] === 'e' ? vectorOf(value) : value]),
        );
        const record = { version: VERSION, expiresAtMs: EXPIRY, fields: new Map(Object.entries(fields)) };
        const decoded = unpackRecord(packRecord(record));
        expect(decoded).toMatchObject({ version: VERSION, expiresAtMs: EXPIRY });
        expect(unpackHead(packRecord(record))).toEqual({ version: VERSION, expiresAtMs: EXPIRY });
        expect([...(decoded?.fields ?? [])].map(([name, value]) => [name, [...value]])).toEqual(
          Object.entries(fields).map(([name, value]) => [name, [...value]]),
        );
      }),
    );
  });

  it.each(decoders)('takes any bytes as %s without an exception', (_, decode) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, ours) => {
        if (ours && bytes.length > 0) bytes[0] = 3;
        decode(bytes);
      }),
      { numRuns: 2_000 },
    );
    expect(decode(null)).toBeNull();
    expect(decode(new Uint8Array(0))).toBeNull();
  });

  it('reads a value of another format version as absent', () => {
    const values: [Uint8Array, (bytes: Uint8Array) => unknown][] = [
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
      { postId: 'post', authorId: 'author', topic: 5, type: 'like', at: 1, dwellMs: 2000 },
    ];
    const bytes = encodeHistory(history);
    for (let length = 0; length < bytes.length; length++) {
      expect(decodeHistory(bytes.subarray(0, length))).toBeNull();
    }
    expect(decodeHistory(Buffer.concat([bytes, Buffer.of(0)]))).toBeNull();
  });

  it('reads a vector that holds NaN as absent', () => {
    const bytes = encodeEmbedding(new Float32Array(DIM));
    bytes.writeFloatLE(Number.NaN, 0);
    expect(decodeEmbedding(bytes)).toBeNull();
  });
});
