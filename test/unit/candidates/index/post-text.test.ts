import { describe, expect, it } from 'vitest';
import { sketchText, wordsOf } from '../../../../src/candidates/index/post-text.ts';

function bitsApart(a: string, b: string): number {
  const [x, y] = [sketchText(a), sketchText(b)];
  const ones = (value: number) => value.toString(2).replaceAll('0', '').length;
  return ones((x.simhashLo ^ y.simhashLo) >>> 0) + ones((x.simhashHi ^ y.simhashHi) >>> 0);
}

describe('text sketch', () => {
  it('splits words of any script, lower-cased, two letters or more', () => {
    expect(wordsOf("It's a Großer ДЕНЬ, ok? नमस्ते 東京 7 42")).toEqual([
      'it',
      'großer',
      'день',
      'ok',
      'नमस्ते',
      '東京',
      '42',
    ]);
  });

  it('gives near texts a near simhash and other texts a far one', () => {
    const text =
      'the city council voted on tuesday to approve the new bridge across the northern river this summer';
    expect(bitsApart(text, text.toUpperCase())).toBe(0);
    const other =
      'my sourdough starter smells of acetone after two days in the fridge what am i doing wrong here';
    expect(bitsApart(text, `${text} again`)).toBeLessThan(12);
    expect(bitsApart(text, other)).toBeGreaterThan(16);
  });

  it('is all zero without words, and bounded for a very long text', () => {
    expect(sketchText('… ! ?')).toEqual({ words: new Uint16Array(16), simhashLo: 0, simhashHi: 0 });
    expect(wordsOf('word '.repeat(100_000))).toHaveLength(256);
  });
});
