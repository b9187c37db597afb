import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type HashConfig, hashKey, TextHasher } from '../../../src/features/text-hash.ts';

interface Golden {
  hash: HashConfig;
  texts: { text: string; rows: number[] }[];
  keys: { key: string; row: number }[];
}

const goldens = JSON.parse(
  readFileSync(new URL('./text-hash.golden.json', import.meta.url), 'utf8'),
) as Golden[];

describe('text hashing', () => {
  it.each(goldens)('gives the rows that the Python trainer wrote (configuration %#)', ({ hash, texts }) => {
    const hasher = new TextHasher(hash);
    for (const { text, rows } of texts) expect([...hasher.rows(text)], JSON.stringify(text)).toEqual(rows);
  });

  it('gives the key rows that the Python trainer wrote', () => {
    for (const { key, row } of goldens[0].keys) expect(hashKey(key, 1000), key).toBe(row);
  });

  it('keeps every row inside its table and leaves the rest of the buffer alone', () => {
    const { hash } = goldens[0];
    const hasher = new TextHasher(hash);
    const unit = fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code));
    const buckets = 1 + hash.wordRows + hash.bigramRows + hash.charRows;
    const out = new Int32Array(hash.maxTokens + 2);
    fc.assert(
      fc.property(
        fc.array(unit, { maxLength: 100 }).map((units) => units.join('')),
        (text) => {
          out.fill(-1);
          const used = hasher.write(text, out, 1, hash.maxTokens);
          expect(out.subarray(1, 1 + used).every((row) => row >= 1 && row < buckets)).toBe(true);
          expect(out[0]).toBe(-1);
          expect(out.subarray(1 + used).every((row) => row === -1)).toBe(true);
        },
      ),
    );
  });

  it('reads a megabyte as fast as its first 2,000 units', () => {
    const hasher = new TextHasher(goldens[0].hash);
    const long = 'lorem ipsum dolor '.repeat(60_000);
    expect(hasher.rows(long)).toEqual(hasher.rows(long.slice(0, 2000)));
  });

  it('does not see case, width or punctuation', () => {
    const hasher = new TextHasher(goldens[0].hash);
    expect(hasher.rows('ＨＥＬＬＯ, World!!')).toEqual(hasher.rows('hello world'));
  });

  it('gives no row for an absent text, and row 0 for an absent key or an absent table', () => {
    const hasher = new TextHasher(goldens[0].hash);
    for (const text of [undefined, '', '   ', '\ud800', '?!']) expect(hasher.rows(text)).toHaveLength(0);
    expect(hashKey(undefined, 10)).toBe(0);
    expect(hashKey('', 10)).toBe(0);
    expect(hashKey('author', 0)).toBe(0);
  });
});
